"""JPEG XR (ITU-T T.832): a codestream in a TIFF-like file."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError, UnsupportedSize
from facebench_imagecodecs.file_codec import FileCodec

_BYTE_COUNT = b"\xc1\xbc\x04\x00\x01\x00\x00\x00"  # the directory's entry IMAGE_BYTE_COUNT: one number of 32 bits
_CODESTREAM = b"WMPHOTO\x00"
_TILE_PACKET = b"\x00\x00\x01"  # what a tile's packet starts with
_TILE_PACKET_HEADER = len(_TILE_PACKET) + 1
# Below this quality chroma is subsampled, and a picture needs two macroblocks of 16 pixels.
_FULL_CHROMA, _LEAST_WIDTH = 50, 17


class JpegXr(FileCodec):
    """Lossy JPEG XR by jxrlib, which picks chroma subsampling by quality: 4:2:0 below 50."""

    def __init__(self, size: tuple[int, int], *, quality: float, headerless: bool) -> None:
        """``quality`` is jxrlib's, here from 0.1 (0 would be its default) to 99 (100 would be lossless).

        Raises UnsupportedSize for narrow pictures at qualities with subsampled chroma.
        """
        if quality < _FULL_CHROMA and size[1] < _LEAST_WIDTH:  # jxrlib would print its own line before it refuses
            raise UnsupportedSize(
                f"JPEG XR below quality {_FULL_CHROMA} needs a width of {_LEAST_WIDTH} pixels, not {size[1]}x{size[0]}"
            )
        self._quality = quality
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        return bytes(imagecodecs.jpegxr_encode(image, level=self._quality / 100))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.jpegxr_decode(file)

    def _learn_headers(self, blank: bytes) -> None:
        count, codestream = blank.find(_BYTE_COUNT) + len(_BYTE_COUNT), blank.find(_CODESTREAM)
        tile = blank.find(_TILE_PACKET, codestream + len(_CODESTREAM))
        length = (len(blank) - codestream).to_bytes(4, "little")
        if not len(_BYTE_COUNT) <= count < codestream < tile or blank[count : count + 4] != length:
            raise CodecError("this release of jxrlib writes files of another structure")
        self._before = blank[:count]
        self._between = blank[count + 4 : codestream]
        self._image_header = blank[codestream : tile + _TILE_PACKET_HEADER]
        self._body_start = tile + _TILE_PACKET_HEADER

    def _strip(self, file: bytes) -> bytes:
        return file[self._body_start :]

    def _wrap(self, body: bytes) -> bytes:
        codestream = self._image_header + body
        return self._before + len(codestream).to_bytes(4, "little") + self._between + codestream
