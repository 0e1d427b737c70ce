"""JPEG XL (ISO/IEC 18181): a bare codestream."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import FileCodec

_SIGNATURE_BYTES = 2


class JpegXl(FileCodec):
    """Lossy JPEG XL by libjxl, without a container."""

    def __init__(self, size: tuple[int, int], *, distance: float, effort: int, headerless: bool) -> None:
        """``distance`` is butteraugli's (1 is hardly visible, 25 the most); ``effort`` 1 to 10."""
        self._distance, self._effort = distance, effort
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        file = imagecodecs.jpegxl_encode(
            image, distance=self._distance, effort=self._effort, lossless=False, usecontainer=False, numthreads=1
        )
        return bytes(file)

    def _decompress(self, file: bytes) -> NDArray[Any]:
        # The size header need not end at a byte's end, so _known does not hold all of it.
        if _bits(file) & self._size_mask != self._size_header:
            raise CodecError("it is of another size")
        return imagecodecs.jpegxl_decode(file, numthreads=1)

    def _learn_headers(self, blank: bytes) -> None:
        length = _size_header_length(_bits(blank))
        self._size_mask = (1 << length) - 1
        self._size_header = _bits(blank) & self._size_mask
        self._known = blank[: _SIGNATURE_BYTES + length // 8]

    def _strip(self, file: bytes) -> bytes:
        return file[len(self._known) :]

    def _wrap(self, body: bytes) -> bytes:
        return self._known + body


def _bits(file: bytes) -> int:
    """Return the first bits after the signature; JPEG XL counts them from the lowest."""
    return int.from_bytes(file[_SIGNATURE_BYTES : _SIGNATURE_BYTES + 16], "little")


def _size_header_length(bits: int) -> int:
    """Return the length in bits of the SizeHeader that ``bits`` start with (18181-1, D.2)."""
    small = bits & 1

    def side_length(at: int) -> int:
        return 5 if small else 2 + (9, 13, 18, 30)[bits >> at & 3]

    length = 1 + side_length(1)
    ratio = bits >> length & 7
    length += 3
    return length if ratio else length + side_length(length)
