"""Checkpoints of a training run: networks, optimisers and counters in one safetensors file, replaced at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facebench import WeightsError


def save_checkpoint(
    path: Path,
    networks: Sequence[nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    extra: Mapping[str, Tensor],
    counters: Mapping[str, Any],
) -> None:
    """Write ``path``; ``counters`` must fit JSON and hold "identity", which says what run it belongs to."""
    tensors: dict[str, Tensor] = {f"extra.{name}": t.contiguous() for name, t in extra.items()}
    for number, network in enumerate(networks):
        tensors |= {f"network{number}.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"adam{number}.{index}.{k}": v.contiguous() for k, v in state.items()}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary, metadata={"run": json.dumps(dict(counters))})
    temporary.replace(path)


def load_checkpoint(
    path: Path, networks: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer], identity: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore the networks and optimisers, and return what :func:`save_checkpoint` was given besides.

    Raises :class:`facebench.WeightsError` on a damaged file, or one of another run.
    """
    try:
        with safe_open(path, "pt") as file:
            counters = json.loads((file.metadata() or {})["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise WeightsError(f"checkpoint {path} is damaged ({error}); remove it to start again") from error
    if counters["identity"] != identity:
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
