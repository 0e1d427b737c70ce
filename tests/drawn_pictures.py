"""Pictures that tests draw: no photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def smooth_picture(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A picture with structure at several scales, more like a photograph than noise is."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3), np.float32)
    for cells in (2, 5, 11, 23):
        coarse = rng.normal(size=(cells, cells, 3)).astype(np.float32) * 120 / cells
        total += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 128, 0, 255).astype(np.uint8)
