"""AVIF: one AV1 key frame in an ISO base media file, most of whose headers are the same for every picture."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import FileCodec

_SEQUENCE_HEADER = 1  # OBU type
_LENGTH_IN_ILOC = 22  # from the box's name to the length of the only extent of the only item


class Avif(FileCodec):
    """Lossy AVIF by libavif with libaom."""

    def __init__(self, size: tuple[int, int], *, quality: int, speed: int, chroma: str, headerless: bool) -> None:
        """``quality`` is libavif's, 0 to 99; ``speed`` libaom's, 0 to 10; ``chroma`` "420" or "444"."""
        self._quality, self._speed, self._chroma = quality, speed, chroma
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        file = imagecodecs.avif_encode(
            image, level=self._quality, speed=self._speed, pixelformat=self._chroma, codec="aom", numthreads=1
        )
        return bytes(file)

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.avif_decode(file, numthreads=1)

    def _learn_headers(self, blank: bytes) -> None:
        media = blank.find(b"mdat") + 4
        length = (len(blank) - media).to_bytes(4, "big")
        location = blank.find(b"iloc") + _LENGTH_IN_ILOC
        box = (len(blank) - media + 8).to_bytes(4, "big")
        if blank[location : location + 4] != length or blank[media - 8 : media - 4] != box:
            raise CodecError("this release of libavif writes files of another structure")
        # The item's length stands in its location box, and again, with eight bytes more, in the media box.
        self._before, self._between = blank[:location], blank[location + 4 : media - 8]
        self._sequence = blank[media : media + _first_obus_length(blank[media:])]
        self._body_start = media + len(self._sequence)

    def _strip(self, file: bytes) -> bytes:
        return file[self._body_start :]

    def _wrap(self, body: bytes) -> bytes:
        item = self._sequence + body
        length, box = len(item).to_bytes(4, "big"), (len(item) + 8).to_bytes(4, "big")
        return self._before + length + self._between + box + b"mdat" + item


def _first_obus_length(item: bytes) -> int:
    """Return how far the OBUs up to and with the sequence header reach; theirs are sizes below 128."""
    position = 0
    while position + 2 <= len(item):
        kind = item[position] >> 3 & 15
        position += 2 + item[position + 1]
        if kind == _SEQUENCE_HEADER:
            return position
    raise CodecError("libavif wrote a file without a sequence header")
