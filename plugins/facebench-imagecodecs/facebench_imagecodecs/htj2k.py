"""High-throughput JPEG 2000 (HTJ2K, ITU-T T.814): a bare codestream of one tile-part."""

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


class Htj2k(FileCodec):
    """Lossy HTJ2K by OpenJPH: JPEG 2000's transforms, a block coder made for speed, no rate control.

    A codestream without boxes and without the comment that names the encoder.
    """

    def __init__(self, size: tuple[int, int], *, step: float, levels: int, headerless: bool) -> None:
        """``step`` is the base quantiser step for samples in [0, 1]; ``levels`` those of the 9/7 wavelet."""
        self._step, self._levels = step, levels
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        file = imagecodecs.htj2k_encode(image, level=self._step, reversible=False, resolutions=self._levels)
        return _without_comment(bytes(file))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        # OpenJPH may stop at damage without an error: then what is missing is black, not what the memory held.
        return imagecodecs.htj2k_decode(file, out=np.zeros((*self.size, 3), np.uint8))

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
            raise CodecError("the encoder wrote a JPEG 2000 codestream without a tile")
        position += 2 + length
    return position


def _without_comment(file: bytes) -> bytes:
    """Return ``file`` without the comment that names the encoder: bytes of no use to a decoder."""
    end = _main_header_end(file)
    kept, position = _SOC, len(_SOC)
    while position < end:
        stop = position + 2 + int.from_bytes(file[position + 2 : position + 4], "big")
        if file[position : position + 2] != _COM:
            kept += file[position:stop]
        position = stop
    return kept + file[end:]
