"""PNG at its smallest: the lossless anchor."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError
from facebench_codecs.image_file import decode_file

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 9
#: zlib strategies worth trying: each is the smallest for some pictures.
_STRATEGIES = (
    cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
    cv2.IMWRITE_PNG_STRATEGY_FILTERED,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
)


class Png(Codec):
    """8-bit RGB PNG by OpenCV (libpng): the smallest that zlib's strategies give at level 9, row filters by libpng."""

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the PNG file of ``image``, (height, width, 3) uint8 RGB."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        files = []
        for strategy in _STRATEGIES:
            options = (cv2.IMWRITE_PNG_COMPRESSION, _LEVEL, cv2.IMWRITE_PNG_STRATEGY, strategy)
            done, buffer = cv2.imencode(".png", bgr, options)
            if not done:
                raise CodecError("OpenCV could not encode the picture as PNG")
            files.append(buffer.tobytes())
        return min(files, key=len)

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError on any damage."""
        _check(payload, self.size)
        return decode_file(payload, self.size)


def _check(data: bytes, size: tuple[int, int]) -> None:
    """Raise CodecError unless ``data`` is a whole, undamaged 8-bit RGB PNG of ``size`` without other chunks.

    What OpenCV would make of other chunks (animation, profiles that unpack to megabytes) is then of no concern.
    """
    if data[:8] != _SIGNATURE:
        raise CodecError("the payload is no PNG")
    position, expected = 8, b"IHDR"
    while expected:
        length = int.from_bytes(data[position : position + 4], "big")
        body, end = data[position + 4 : position + 8 + length], position + 12 + length
        kind = body[:4]
        if end > len(data) or int.from_bytes(data[end - 4 : end], "big") != zlib.crc32(body):
            raise CodecError("the PNG is damaged")
        if kind not in (expected, b"IEND" if expected == b"IDAT" else expected):
            raise CodecError(f"the PNG has a chunk {kind!r}, not {expected!r}")
        if kind == b"IHDR":
            _check_header(body[4:], size)
        expected = b"" if kind == b"IEND" else b"IDAT"
        position = end
    if position != len(data):
        raise CodecError("the payload goes on after the PNG's end")


def _check_header(header: bytes, size: tuple[int, int]) -> None:
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if (height, width) != size:
        raise CodecError(f"the PNG is {width}x{height}, not {size[1]}x{size[0]}")
    if header[8:] != b"\x08\x02\x00\x00\x00":  # 8 bits, RGB, deflate, adaptive filters, not interlaced
        raise CodecError("the PNG is not a plain 8-bit RGB one")
