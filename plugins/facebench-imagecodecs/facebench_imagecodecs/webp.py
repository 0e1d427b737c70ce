"""WebP (RFC 9649): a VP8 key frame in a RIFF file."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench_imagecodecs.file_codec import FileCodec

_CHUNK = 20  # where the VP8 frame begins: RIFF, size, WEBP, "VP8 ", size
_TAG = 3  # the frame's own first bytes; start code and dimensions follow
_START_CODE_AND_SIZE = 7


class Webp(FileCodec):
    """Lossy WebP by libwebp."""

    def __init__(self, size: tuple[int, int], *, quality: int, method: int, headerless: bool) -> None:
        """``quality`` is libwebp's, 0 to 100; ``method`` the effort, 0 to 6."""
        self._quality, self._method = quality, method
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        file = imagecodecs.webp_encode(image, level=self._quality, lossless=False, method=self._method, numthreads=1)
        return bytes(file)

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.webp_decode(file, hasalpha=False)

    def _learn_headers(self, blank: bytes) -> None:
        start = _CHUNK + _TAG
        self._dimensions = blank[start : start + _START_CODE_AND_SIZE]

    def _strip(self, file: bytes) -> bytes:
        size = int.from_bytes(file[_CHUNK - 4 : _CHUNK], "little")
        frame = file[_CHUNK : _CHUNK + size]
        return frame[:_TAG] + frame[_TAG + _START_CODE_AND_SIZE :]

    def _wrap(self, body: bytes) -> bytes:
        frame = body[:_TAG] + self._dimensions + body[_TAG:]
        padded = frame + bytes(len(frame) % 2)
        chunk = b"WEBPVP8 " + len(frame).to_bytes(4, "little") + padded
        return b"RIFF" + len(chunk).to_bytes(4, "little") + chunk
