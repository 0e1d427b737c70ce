"""HEIC (ISO/IEC 23008-12): one HEVC key frame in an ISO base media file, most of which is headers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import FileCodec

_LENGTH_IN_ILOC = 26  # from the box's name to the length of the only extent of the only item
_NAL_LENGTH = 4  # bytes of the number in front of each NAL unit
_NAL_HEADER = 2

pillow_heif.options.DECODE_THREADS = 1


class Heic(FileCodec):
    """Lossy HEIC by libheif with x265; decoded by libde265."""

    def __init__(
        self, size: tuple[int, int], *, quality: int, preset: str, tune: str, chroma: str, headerless: bool
    ) -> None:
        """``quality`` is libheif's, 0 to 99; ``preset`` and ``tune`` are x265's; ``chroma`` "420" or "444"."""
        self._quality, self._chroma = quality, chroma
        # One worker and no wavefronts: the bytes must not hang on the number of processors.
        self._parameters = {"preset": preset, "tune": tune, "x265:pools": "1", "x265:wpp": "0"}
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        height, width = self.size
        file = io.BytesIO()
        pillow_heif.encode(
            "RGB",
            (width, height),
            image.tobytes(),
            file,
            quality=self._quality,
            chroma=self._chroma,
            enc_params=dict(self._parameters),
            save_nclx_profile=False,
            tile_size=0,
        )
        return file.getvalue()

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return np.array(pillow_heif.open_heif(io.BytesIO(file)))

    def _learn_headers(self, blank: bytes) -> None:
        media = blank.find(b"mdat") + 4
        length = (len(blank) - media).to_bytes(4, "big")
        location = blank.find(b"iloc") + _LENGTH_IN_ILOC
        box = (len(blank) - media + 8).to_bytes(4, "big")
        unit = (len(blank) - media - _NAL_LENGTH).to_bytes(_NAL_LENGTH, "big")
        starts = (blank[location : location + 4], blank[media - 8 : media - 4], blank[media : media + _NAL_LENGTH])
        if starts != (length, box, unit):
            raise CodecError("this release of libheif writes files of another structure")
        # The length stands in the location box; with eight bytes more in the media box; with four less in its data.
        self._before, self._between = blank[:location], blank[location + 4 : media - 8]
        self._nal_header = blank[media + _NAL_LENGTH : media + _NAL_LENGTH + _NAL_HEADER]
        self._body_start = media + _NAL_LENGTH + _NAL_HEADER

    def _strip(self, file: bytes) -> bytes:
        return file[self._body_start :]

    def _wrap(self, body: bytes) -> bytes:
        unit = self._nal_header + body
        item = len(unit).to_bytes(_NAL_LENGTH, "big") + unit
        length, box = len(item).to_bytes(4, "big"), (len(item) + 8).to_bytes(4, "big")
        return self._before + length + self._between + box + b"mdat" + item
