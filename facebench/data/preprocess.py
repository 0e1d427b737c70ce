"""Crop, size and resize filter: how a picture of an image set becomes one that codecs are given."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.errors import DataError

FILTERS = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
DEFAULT_SIZE = 64
DEFAULT_FILTER = "area"
MAX_SIZE = 4096


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are prepared; part of an image set's digest.

    ``crop`` is ``full`` (the whole frame, squashed to a square as in the paper), ``square`` (the largest
    centred square) or ``centre-N`` (the centred N x N pixels; CelebA's usual crop is ``centre-148``).
    ``size`` is the side in pixels afterwards, ``filter`` one of :data:`FILTERS` (OpenCV's of those names).
    """

    crop: str
    size: int = DEFAULT_SIZE
    filter: str = DEFAULT_FILTER

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise DataError(f"unknown resize filter '{self.filter}': use one of {', '.join(FILTERS)}")
        if not 8 <= self.size <= MAX_SIZE:
            raise DataError(f"picture size {self.size} is out of range: use 8 to {MAX_SIZE}")
        if self.crop not in ("full", "square") and self._centre_side() is None:
            raise DataError(f"unknown crop '{self.crop}': use full, square or centre-N, such as centre-148")

    def _centre_side(self) -> int | None:
        kind, _, side = self.crop.partition("-")
        usable = kind == "centre" and side.isascii() and side.isdecimal() and len(side) < 10
        return int(side) or None if usable else None

    def describe(self) -> str:
        """Return the preprocessing in words, as printed with every table."""
        return f"crop {self.crop}, {self.size}x{self.size}, {self.filter} filter"

    def _box(self, height: int, width: int, name: str) -> tuple[slice, slice]:
        if self.crop == "full":
            return slice(0, height), slice(0, width)
        side = min(height, width) if self.crop == "square" else self._centre_side()
        assert side is not None
        if side > min(height, width):
            raise DataError(f"{name} is {width}x{height}, too small for crop {self.crop}; use --crop square or full")
        top, left = (height - side) // 2, (width - side) // 2
        return slice(top, top + side), slice(left, left + side)

    def picture(self, image: NDArray[np.uint8], name: str = "picture") -> NDArray[np.uint8]:
        """Return ``image``, (H, W, 3) uint8, as (size, size, 3) uint8."""
        cropped = image[self._box(image.shape[0], image.shape[1], name)]
        if cropped.shape[:2] == (self.size, self.size):
            return cropped
        resized = cv2.resize(cropped, (self.size, self.size), interpolation=FILTERS[self.filter])
        return np.asarray(resized, np.uint8)

    def points(self, points: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Return ``points``, (..., 2) x and y in pixels of a (height, width) picture, in pixels of the prepared one.

        Pixel centres are at whole numbers before and after, as OpenCV's resize has them.
        """
        rows, columns = self._box(height, width, "picture")
        start = np.array([columns.start, rows.start], np.float32)
        side = np.array([columns.stop - columns.start, rows.stop - rows.start], np.float32)
        return np.asarray((points - start + 0.5) * (self.size / side) - 0.5, np.float32)

    def mask(self, mask: NDArray[np.bool_], name: str = "mask") -> NDArray[np.bool_]:
        """Return ``mask``, (H, W) bool, as (size, size) bool: true where the face covers at least half a pixel."""
        cropped = mask[self._box(mask.shape[0], mask.shape[1], name)]
        if cropped.shape == (self.size, self.size):
            return cropped
        coverage = cv2.resize(cropped.astype(np.float32), (self.size, self.size), interpolation=cv2.INTER_AREA)
        return coverage >= 0.5
