"""Euclidean distances between embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distances(ones: Floats, others: Floats) -> Floats:
    """Return the distance of each of ``ones``, (N, D), to each of ``others``, (M, D); (N, M)."""
    squared = (ones**2).sum(1)[:, None] + (others**2).sum(1) - 2 * ones @ others.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))  # rounding may make a zero negative
