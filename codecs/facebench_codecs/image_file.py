"""Decoding of picture files by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError


def decode_file(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture in a file that OpenCV reads, ``size`` = (height, width), as uint8 RGB.

    OpenCV takes the memory that the file's headers ask for: check them before. Raises CodecError if the file
    cannot be decoded or has another size.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.shape != (*size, 3):
        raise CodecError("the payload is damaged: OpenCV cannot decode it")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
