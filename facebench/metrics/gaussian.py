"""The Gaussian window of SSIM, applied as products with small banded matrices, at which BLAS is fast."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Side of the window in pixels, and its standard deviation (Wang et al. 2004).
WINDOW = 11
SIGMA = 1.5
#: Pixels between a window's centre and its edge.
MARGIN = WINDOW // 2

# Longest run of outputs made by one product: its matrix has WINDOW - 1 more columns than rows, so longer ones
# waste multiplications on zeros and shorter ones on overlap.
_LONGEST = 32


def window() -> NDArray[np.float64]:
    """Return the 1-D window, (11,) float64, of sum 1."""
    offsets = np.arange(WINDOW) - MARGIN
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return np.asarray(weights / weights.sum(), np.float64)


def valid_spans(length: int) -> list[tuple[int, int]]:
    """Return [start, stop) runs of about equal size that cover the window positions inside ``length`` >= 11 pixels."""
    positions = length - WINDOW + 1
    count = -(-positions // _LONGEST)
    return [(positions * i // count, positions * (i + 1) // count) for i in range(count)]


@lru_cache(maxsize=64)
def band_matrix(positions: int) -> NDArray[np.float32]:
    """Return the (positions, positions + 10) float32 matrix whose product with a column of pixels filters it."""
    matrix = np.zeros((positions, positions + WINDOW - 1), np.float32)
    for row in range(positions):
        matrix[row, row : row + WINDOW] = window()
    matrix.flags.writeable = False
    return matrix


def filter_rows(values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Filter down the first axis of ``values`` (rows + 10, ...) into ``out`` (rows, ...), both C-contiguous."""
    rows = len(out)
    np.matmul(band_matrix(rows), values.reshape(len(values), -1), out=out.reshape(rows, -1))


def filter_columns(values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Filter along the last axis of ``values`` (..., W) into ``out`` (..., W - 10), both C-contiguous."""
    width = values.shape[-1]
    lines, filtered = values.reshape(-1, width), out.reshape(-1, width - WINDOW + 1)
    for start, stop in valid_spans(width):
        band = band_matrix(stop - start)
        np.matmul(lines[:, start : stop + WINDOW - 1], band.T, out=filtered[:, start:stop])
