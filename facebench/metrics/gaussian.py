"""The Gaussian window of SSIM, applied as two one-dimensional filters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Side of the window in pixels, and its standard deviation (Wang et al. 2004).
WINDOW = 11
SIGMA = 1.5
#: Pixels between a window's centre and its edge.
MARGIN = WINDOW // 2

# Rows of windows in a strip, so that what is computed from them stays in cache: measured; shorter ones pay for the
# MARGIN rows that neighbouring strips share.
_LONGEST = 64


def window() -> NDArray[np.float64]:
    """Return the 1-D window, (11,) float64, of sum 1."""
    offsets = np.arange(WINDOW) - MARGIN
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return np.asarray(weights / weights.sum(), np.float64)


_WEIGHTS = window()


def valid_spans(length: int) -> list[tuple[int, int]]:
    """Return [start, stop) runs of about equal size that cover the window positions inside ``length`` >= 11 pixels."""
    positions = length - WINDOW + 1
    count = -(-positions // _LONGEST)
    return [(positions * i // count, positions * (i + 1) // count) for i in range(count)]


def window_means(values: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filter ``values`` (rows + 10, ..., W) along its first and last axis into ``out``, of the same shape.

    Both are C-contiguous. Returns the part of ``out`` whose windows lie inside the rows, (rows, ..., W). In it the
    first and last 5 columns mean nothing: all axes but the first are one long line to the filter, so windows there
    reach into the neighbours.
    """
    rows = len(values)
    cv2.sepFilter2D(values.reshape(rows, -1), -1, _WEIGHTS, _WEIGHTS, dst=out.reshape(rows, -1))
    return out[MARGIN : rows - MARGIN]
