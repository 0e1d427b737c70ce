"""JPEG-LS (ITU-T T.87), near-lossless: no sample is off by more than a bound."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import PrefixedFileCodec

_SOS = b"\xff\xda"


class JpegLs(PrefixedFileCodec):
    """Near-lossless JPEG-LS by CharLS, samples interleaved by pixel and without a colour transform."""

    _suffix = b"\xff\xd9"  # end of image

    def __init__(self, size: tuple[int, int], *, near: int, headerless: bool) -> None:
        """``near`` is the most that a sample may be off, 1 to 64 grey levels (files grow again beyond)."""
        self._near = near
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        return bytes(imagecodecs.jpegls_encode(image, level=self._near))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.jpegls_decode(file)

    def _prefix_length(self, blank: bytes) -> int:
        scan = blank.find(_SOS)
        if scan < 0 or not blank.endswith(self._suffix):
            raise CodecError("this release of CharLS writes files of another structure")
        return scan + 2 + int.from_bytes(blank[scan + 2 : scan + 4], "big")
