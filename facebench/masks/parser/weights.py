"""The face parser's weights file: float16 tensors as safetensors, and a readable card beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from facebench.errors import WeightsError
from facebench.masks.parser import NAME
from facebench.paths import atomic_paths

#: The file in this package, and where it lies.
FILE = "weights.safetensors"
SHIPPED = Path(__file__).with_name(FILE)


def save_weights(path: Path, tensors: Mapping[str, NDArray[np.float16]], card: Mapping[str, Any]) -> None:
    """Write ``path`` and, beside it with the suffix .json, the card with the file's digest.

    Raises :class:`WeightsError` if a value is not finite in float16 or the disk does not take both files.
    """
    for name, tensor in tensors.items():
        if tensor.dtype != np.float16 or not np.isfinite(tensor).all():
            raise WeightsError(f"{name} is not finite in float16: such weights cannot be kept")
    data = save(dict(tensors))
    whole = {"kind": NAME, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **card}
    try:
        with atomic_paths(path, card_of(path)) as (file, card_file):
            file.write_bytes(data)
            card_file.write_text(json.dumps(whole, indent=1) + "\n")
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror}; choose another place with --out") from error


def load_weights(path: Path) -> dict[str, NDArray[np.float16]]:
    """Return the tensors in ``path`` by name.

    Raises :class:`WeightsError` if they or their card are missing or damaged: the file must have the digest in the
    card, and all tensors must be float16.
    """
    try:
        card = json.loads(card_of(path).read_bytes())
        if card["kind"] != NAME:
            raise ValueError(f"their card is of '{card['kind']}'")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != card["sha256"]:
            raise ValueError(f"their SHA-256 is not the one in {card_of(path).name}")
        tensors = load(data)
        if other := [name for name, tensor in tensors.items() if tensor.dtype != np.float16]:
            raise ValueError(f"{other[0]} is {tensors[other[0]].dtype}, not float16")
    except Exception as error:  # safetensors raises what it likes
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise WeightsError(f"the face parser's weights {path} are damaged ({why}); install facebench again") from error
    return tensors


def card_of(path: Path) -> Path:
    """Return the card's file of the weights ``path``."""
    return path.with_suffix(".json")
