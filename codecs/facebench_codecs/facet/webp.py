"""WebP through OpenCV without the bytes that the decoder can imply (RFC 9649): what facet falls back to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError

_FRAME = 20  # where the VP8 frame begins: RIFF, size, WEBP, "VP8 ", size
_TAG = 3  # the frame's own first bytes; start code and dimensions follow
_START_CODE = b"\x9d\x01\x2a"


def largest_webp(image: NDArray[np.uint8], limit: int) -> bytes | None:
    """Return the WebP body, of the highest quality that fits ``limit`` bytes, of (H, W, 3) uint8; None if none does."""
    best, low, high = None, 1, 100
    while low <= high:
        quality = (low + high) // 2
        body = _body(image, quality)
        if len(body) <= limit:
            best, low = body, quality + 1
        else:
            high = quality - 1
    return best


def read_webp(body: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture, (H, W, 3) uint8 RGB, of a WebP body; raises CodecError if it is none of ``size``."""
    if len(body) <= _TAG:
        raise CodecError("payload is cut: it holds no picture")
    height, width = size
    dimensions = _START_CODE + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    frame = body[:_TAG] + dimensions + body[_TAG:]
    chunk = b"WEBPVP8 " + len(frame).to_bytes(4, "little") + frame + bytes(len(frame) % 2)
    file = np.frombuffer(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk, np.uint8)
    picture = cv2.imdecode(file, cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (height, width, 3):
        raise CodecError("payload is damaged: its WebP picture cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _body(image: NDArray[np.uint8], quality: int) -> bytes:
    done, file = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])
    assert done
    size = int.from_bytes(file[_FRAME - 4 : _FRAME].tobytes(), "little")
    frame = file[_FRAME : _FRAME + size].tobytes()
    return frame[:_TAG] + frame[_TAG + len(_START_CODE) + 4 :]
