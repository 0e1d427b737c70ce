"""JPEG 2000 (ITU-T T.800): a bare codestream of one tile-part."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import FileCodec

_SOC, _COM, _SOT, _SOD, _EOC = b"\xff\x4f", b"\xff\x64", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_SOT_HEAD = _SOT + b"\x00\x0a\x00\x00"  # length of the segment, number of the tile
_SOT_TAIL = b"\x00\x01"  # tile-part 0 of 1
_TILE_PART_HEADER = len(_SOT_HEAD) + 4 + len(_SOT_TAIL) + len(_SOD)


class Jpeg2000(FileCodec):
    """Lossy JPEG 2000 by OpenJPEG: irreversible colour transform and 9/7 wavelet, no boxes, no comment."""

    def __init__(self, size: tuple[int, int], *, psnr: int, headerless: bool) -> None:
        """``psnr`` in dB is what the encoder's rate control aims at."""
        self._psnr = psnr
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        file = imagecodecs.jpeg2k_encode(
            image, level=self._psnr, codecformat="J2K", mct=True, reversible=False, numthreads=1
        )
        return _without_comment(bytes(file))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.jpeg2k_decode(file, numthreads=1)

    def _learn_headers(self, blank: bytes) -> None:
        self._main_header = blank[: _main_header_end(blank)]

    def _strip(self, file: bytes) -> bytes:
        return file[len(self._main_header) + _TILE_PART_HEADER : -len(_EOC)]

    def _wrap(self, body: bytes) -> bytes:
        length = (_TILE_PART_HEADER + len(body)).to_bytes(4, "big")
        return self._main_header + _SOT_HEAD + length + _SOT_TAIL + _SOD + body + _EOC


def _main_header_end(file: bytes) -> int:
    position = len(_SOC)
    while file[position : position + 2] != _SOT:
        length = int.from_bytes(file[position + 2 : position + 4], "big")
        if length < 2:
            raise CodecError("OpenJPEG wrote a codestream without a tile")
        position += 2 + length
    return position


def _without_comment(file: bytes) -> bytes:
    """Return ``file`` without the comment that names the encoder: 39 bytes of no use to a decoder."""
    end = _main_header_end(file)
    kept, position = _SOC, len(_SOC)
    while position < end:
        stop = position + 2 + int.from_bytes(file[position + 2 : position + 4], "big")
        if file[position : position + 2] != _COM:
            kept += file[position:stop]
        position = stop
    return kept + file[end:]
