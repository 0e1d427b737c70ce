"""Networks in a weights file: kernels as 8-bit integers with a scale per row, tables over the rate as float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SCALE = "/scale"


def pack(state: Mapping[str, Tensor], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dict under ``prefix``.

    "weight" and "place" tensors become int8 (O, ...) and scales (O,), other matrices float16, vectors stay float32.
    """
    packed: dict[str, NDArray[Any]] = {}
    for name, tensor in state.items():
        values = tensor.detach().float().cpu().contiguous().numpy()
        if name.endswith(("weight", "place")):
            packed |= pack_rows(values, prefix + name)
        else:
            packed[prefix + name] = values.astype(np.float16) if values.ndim == 2 else values
    return packed


def pack_rows(values: NDArray[np.float32], name: str) -> dict[str, NDArray[Any]]:
    """Return ``values``, (O, ...), as int8 rows ``name`` with their float32 scales ``name``/scale."""
    rows = values.reshape(len(values), -1)
    scale = np.maximum(np.abs(rows).max(axis=1), 1e-12) / 127
    integers = np.rint(rows / scale[:, None]).astype(np.int8)
    return {name: integers.reshape(values.shape), name + _SCALE: scale.astype(np.float32)}


def unpack(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    """Return the state dict that :func:`pack` stored under ``prefix``; raises KeyError on a missing scale."""
    return {
        name.removeprefix(prefix): torch.from_numpy(unpack_rows(tensors, name))
        for name in tensors
        if name.startswith(prefix) and not name.endswith(_SCALE)
    }


def unpack_rows(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """Return the float32 values of one tensor, packed or not."""
    values = tensors[name]
    if values.dtype != np.int8:
        return values.astype(np.float32)
    scale = tensors[name + _SCALE]
    return values.astype(np.float32) * scale.reshape(-1, *[1] * (values.ndim - 1))
