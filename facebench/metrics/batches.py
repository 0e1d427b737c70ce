"""What all built-in metrics do with their arguments: check them, cut them into chunks, work on each chunk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Masks = NDArray[np.bool_]


def check_batch(originals: Pictures, decoded: Pictures, masks: Masks | None) -> None:
    """Raise ValueError unless these are two (N, H, W, 3) uint8 arrays and, if not None, an (N, H, W) bool one."""
    for name, pictures in (("originals", originals), ("decoded", decoded)):
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
            raise ValueError(f"{name} must be (N, H, W, 3) uint8, not {_kind(pictures)}")
    if originals.shape != decoded.shape:
        raise ValueError(f"originals {originals.shape} and decoded {decoded.shape} differ in shape")
    if masks is not None and (masks.dtype != np.bool_ or masks.shape != originals.shape[:3]):
        raise ValueError(f"masks must be {originals.shape[:3]} bool, not {_kind(masks)}")


def _kind(array: NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"


def chunks(pictures: Pictures, bytes_per_pixel: int, budget: int) -> Iterator[slice]:
    """Yield slices of pictures whose working memory, ``bytes_per_pixel`` a pixel, is within ``budget`` bytes.

    A slice has at least one picture, however large that is.
    """
    count, height, width, _ = pictures.shape
    step = max(1, budget // max(1, height * width * bytes_per_pixel))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


class Scratch:
    """Working memory for one chunk after another: memory fresh from the system costs more than the arithmetic on it."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.float32]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a C-contiguous float32 array of arbitrary content, valid until ``name`` is asked for again."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, np.float32)
        return buffer[:size].reshape(shape)
