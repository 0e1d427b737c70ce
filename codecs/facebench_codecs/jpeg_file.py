"""JPEG files by OpenCV: baseline, 4:2:0, Huffman tables optimised for the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError

#: The longest side that libjpeg accepts.
MAX_SIDE = 65500


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return ``image``, (H, W, 3) uint8 RGB, as a JPEG file of ``quality`` 1 to 100."""
    options = (
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, 0),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    )
    done, buffer = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise CodecError("OpenCV could not encode the picture as JPEG")
    return buffer.tobytes()
