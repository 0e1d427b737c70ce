"""Pictures in parts that a metric takes at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def parts(pictures: NDArray[np.uint8], pixels: int) -> Iterator[slice]:
    """Yield slices that cover ``pictures``, (N, H, W, 3), each of at most ``pixels`` pixels or of one picture."""
    count, height, width, _ = pictures.shape
    step = max(1, pixels // (height * width))
    for start in range(0, count, step):
        yield slice(start, start + step)
