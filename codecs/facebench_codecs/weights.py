"""Weights files: safetensors with what a codec needs to use them, and a readable card beside them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from facebench import TrainedOn, WeightsError, kept_weights_dir


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    ``tensors`` by name; ``meta`` is the file's own description: ``kind`` (which codec class it is for),
    ``side`` (picture size), ``trained_on`` and what the codec needs besides (``recipe``). ``digest`` is the
    SHA-256 of the file.
    """

    tensors: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    digest: str
    trained_on: TrainedOn

    def bytes_of(self, *prefixes: str) -> int:
        """Return the bytes of the tensors whose names start with one of ``prefixes``."""
        return sum(t.nbytes for name, t in self.tensors.items() if name.startswith(prefixes))


def shipped_weights(name: str) -> Path:
    """Return the path of weights that come with the codecs; the file need not exist."""
    return Path(str(resources.files("facebench_codecs").joinpath("weights", f"{name}.safetensors")))


def find_weights(name: str, side: int) -> Path | None:
    """Return the weights called ``name`` for pictures of ``side`` pixels, shipped or kept by training, or None."""
    file = f"{name}-{side}"
    kept = kept_weights_dir() / f"{file}.safetensors"
    return next((path for path in (shipped_weights(file), kept) if path.is_file()), None)


def save_weights(path: Path, tensors: dict[str, NDArray[Any]], meta: dict[str, Any], card: dict[str, Any]) -> None:
    """Write ``path`` and, beside it with the suffix .json, the card: ``meta``, the digest and how it was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary, {"facebench": json.dumps(meta)})
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    temporary.chmod(0o644)
    temporary.replace(path)
    whole = {"sha256": digest, "bytes": path.stat().st_size, **meta, **card}
    temporary = path.with_name(f".{path.stem}.json.tmp")
    temporary.write_text(json.dumps(whole, indent=1) + "\n")
    temporary.replace(path.with_suffix(".json"))


def load_weights(path: Path, kind: str) -> Weights:
    """Read ``path``; raises :class:`facebench.WeightsError` if it is missing, damaged or not of ``kind``."""
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; make one with 'facebench train'")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "numpy") as file:
            meta = json.loads((file.metadata() or {})["facebench"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, told = meta["kind"], meta["trained_on"]
        trained_on = TrainedOn(
            told["image_set"],
            told["split"],
            told["data_digest"],
            told.get("watched", ""),
            frozenset(told.get("pictures", ())),
            frozenset(told.get("identities", ())),
        )
    except Exception as error:
        raise WeightsError(
            f"weights {path} are damaged or not facebench's ({error}); train or copy them again"
        ) from None
    if found != kind:
        raise WeightsError(f"weights {path} are for '{found}', not for '{kind}'")
    return Weights(tensors, meta, digest, trained_on)
