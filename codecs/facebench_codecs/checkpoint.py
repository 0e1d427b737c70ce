"""Checkpoints of a training run: networks, optimisers and counters in one safetensors file, replaced at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from facebench import SettingError, WeightsError
from facebench_codecs.parallel import ALONE, Processes
from facebench_codecs.weights import write_files

#: Stands where a checkpoint's digest goes, while that is computed.
_NO_DIGEST = "0" * 64


def make_room(path: Path, resume: bool) -> None:
    """Make the folder of ``path``; raises :class:`facebench.SettingError` if it is there and not to be resumed."""
    if path.is_file() and not resume:
        raise SettingError(f"{path} is there: --resume continues it, or remove it to start again")
    path.parent.mkdir(parents=True, exist_ok=True)


def save_checkpoint(
    path: Path,
    networks: Sequence[nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    extra: Mapping[str, Tensor],
    counters: Mapping[str, Any],
) -> None:
    """Write ``path``; ``counters`` must fit JSON and hold "identity", which says what run it belongs to.

    Raises :class:`facebench.WeightsError` if the disk does not take it; the checkpoint before is then still there.
    """
    tensors: dict[str, Tensor] = {f"extra.{name}": t.contiguous() for name, t in extra.items()}
    for number, network in enumerate(networks):
        tensors |= {f"network{number}.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"adam{number}.{index}.{k}": v.contiguous() for k, v in state.items()}
    content = save(tensors, {"run": json.dumps(dict(counters)), "sha256": _NO_DIGEST})
    digest = hashlib.sha256(content).hexdigest()
    write_files({path: content.replace(_NO_DIGEST.encode(), digest.encode(), 1)})


def load_checkpoint(
    path: Path,
    networks: Sequence[nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    identity: str,
    processes: Processes = ALONE,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore the networks and optimisers, and return what :func:`save_checkpoint` was given besides.

    Only the first of the ``processes`` reads the file, and tells the others: they may be on machines that do not
    have it. Raises :class:`facebench.WeightsError` on a damaged file, or one of another run.
    """
    content = processes.bytes_of_first(path.read_bytes() if processes.first else b"")
    try:
        # A safetensors file: the length of a JSON header in 8 bytes, the header, the tensors.
        told = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        digest = told.get("sha256")  # older ones have none
        if digest and hashlib.sha256(content.replace(digest.encode(), _NO_DIGEST.encode(), 1)).hexdigest() != digest:
            raise ValueError("its content does not fit its SHA-256")
        counters = json.loads(told["run"])
        tensors = load(content)
    except Exception as error:
        raise WeightsError(f"checkpoint {path} is damaged ({error}); remove it to start again") from error
    if processes.first and counters["identity"] != identity:
        raise WeightsError(f"checkpoint {path} is of another recipe, seed or data; remove it or train to another --out")
    for number, network in enumerate(networks):
        network.load_state_dict(_below(tensors, f"network{number}."))
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, f"adam{number}.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return _below(tensors, "extra."), counters


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
