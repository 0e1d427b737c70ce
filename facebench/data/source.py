"""What an image set gives before preparation: an ordered list of pictures that can be read one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.errors import DataError


@dataclass(frozen=True)
class PictureSource:
    """An ordered list of pictures of one split.

    ``read(i)`` returns picture ``i`` as (H, W, 3) uint8 RGB and ``read_mask(i)`` its face mask as (H, W)
    bool, both at the source's own size. ``fingerprint`` changes whenever the files behind it do.
    ``ids`` and ``identities`` are unique across image sets ("celeba:182638", "celeba:7760").
    ``attributes`` maps an attribute's name to (N,) bool; ``landmarks`` is (N, points, 2), x and y in pixels of the
    source's own pictures, the first pixel's centre at 0. Where there are five points they are in CelebA's order (see
    :mod:`facebench.data.pose`).
    ``default_crop`` is the crop used unless the user names another (see :mod:`facebench.data.preprocess`).
    """

    name: str
    split: str
    ids: tuple[str, ...]
    fingerprint: str
    read: Callable[[int], NDArray[np.uint8]]
    read_mask: Callable[[int], NDArray[np.bool_]] | None = None
    identities: tuple[str, ...] | None = None
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    landmarks: NDArray[np.float32] | None = None
    default_crop: str = "square"
    synthetic: bool = False
    no_mask_reason: str = "the image set has no face masks"


def _decoded(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # such as a header that claims more pixels than OpenCV takes
        return None


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a picture file's bytes to (H, W, 3) uint8 RGB; ``name`` is for the error message."""
    image = _decoded(data, cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{name} is not a readable picture; remove or replace it")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_mask(data: bytes, name: str) -> NDArray[np.bool_]:
    """Decode a mask file's bytes to (H, W) bool, true on the face; ``name`` is for the error message."""
    mask = _decoded(data, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError(f"{name} is not a readable mask; remove or replace it")
    return mask > 127


def file_fingerprint(path: Path) -> str:
    """Return a string that changes when the file is replaced: its absolute path, size and time of change."""
    stat = path.stat()
    return f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
