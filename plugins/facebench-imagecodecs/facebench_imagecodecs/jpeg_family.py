"""Better encoders of baseline JPEG (ITU-T T.81), which every decoder reads: mozjpeg and jpegli."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Any

import ajpegli
import imagecodecs
import numpy as np
import pyvips  # type: ignore[import-untyped]
from numpy.typing import NDArray

from facebench import Codec, CodecError
from facebench_imagecodecs.file_codec import blank_file, decompressed
from facebench_imagecodecs.jpeg_scan import EOI, JpegFile, put_together, tables_of, take_apart, transcode

_QUALITY_OF_TABLES = 50
#: SOS: three components, luma under tables 0 and chroma under tables 1, all coefficients.
_SCAN_HEADER = bytes.fromhex("ffda000c03010002110311003f00")
_OWN_TABLES = b"\xff"
_MOZJPEG_TABLE = 3  # ImageMagick's quantiser table, mozjpeg's own default

pyvips.concurrency_set(1)
pyvips.cache_set_max(0)


class _BaselineJpeg(Codec):
    """A baseline JPEG file with Huffman tables of its own.

    Without headers it is the scan alone, under annex K's tables. Where that takes more bytes, as for big pictures,
    it is a mark and all that follows the frame header. No scan under annex K's tables has to start with the mark.
    """

    def __init__(self, size: tuple[int, int], *, headerless: bool) -> None:
        """Make a codec for pictures of ``size`` = (height, width); call it last in a subclass's constructor.

        Raises UnsupportedSize if the library does not encode a picture of this size.
        """
        super().__init__(size)
        self._headerless = headerless
        self._head = take_apart(blank_file(self._compress, size)).head

    @abstractmethod
    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        """Return ``image``, (height, width, 3) uint8 RGB, as a file."""

    @abstractmethod
    def _decompress(self, file: bytes) -> NDArray[Any]:
        """Return the picture in ``file``; any exception means that it is damaged."""

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the file of ``image``, (height, width, 3) uint8 RGB, or its scan."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        file = self._compress(np.ascontiguousarray(image))
        parts = take_apart(file)
        if parts.head != self._head:
            raise CodecError("the encoder wrote other headers than for a blank picture")
        return self._without_headers(file, parts) if self._headerless else file

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError."""
        if not payload or not (self._headerless or payload.startswith(self._head)):
            raise CodecError("the payload's headers are not those of a file of these settings and size")
        file = self._with_headers(payload) if self._headerless else payload
        return decompressed(self._decompress, file, self.size)

    def _without_headers(self, file: bytes, parts: JpegFile) -> bytes:
        own_tables = _OWN_TABLES + file[len(self._head) : -len(EOI)]
        try:
            scan = transcode(parts, self.size, tables_of(_annex_k()))
        except KeyError:  # a symbol that annex K has no code for, at the highest qualities
            return own_tables
        return scan if len(scan) < len(own_tables) and not scan.startswith(_OWN_TABLES) else own_tables

    def _with_headers(self, payload: bytes) -> bytes:
        if payload.startswith(_OWN_TABLES):
            return self._head + payload[len(_OWN_TABLES) :] + EOI
        return put_together(JpegFile(self._head, _annex_k(), _SCAN_HEADER, payload))


class Mozjpeg(_BaselineJpeg):
    """Baseline JPEG by mozjpeg (in libvips): trellis quantisation, deringing; decoded by libjpeg-turbo."""

    def __init__(self, size: tuple[int, int], *, quality: int, chroma: str, headerless: bool) -> None:
        """``quality`` is libjpeg's, 1 to 100; ``chroma`` "420" or "444"."""
        self._quality, self._subsampled = quality, chroma == "420"
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        # Sequential: progressive scans cost more than they save in files this small.
        file = pyvips.Image.new_from_array(image, interpretation="srgb").jpegsave_buffer(
            Q=self._quality,
            optimize_coding=True,
            interlace=False,
            trellis_quant=True,
            overshoot_deringing=True,
            quant_table=_MOZJPEG_TABLE,
            subsample_mode="on" if self._subsampled else "off",
            keep="none",
        )
        return bytes(file)

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.jpeg8_decode(file)


class Jpegli(_BaselineJpeg):
    """Baseline JPEG by jpegli: quantisation by a model of vision; decoded by jpegli."""

    def __init__(self, size: tuple[int, int], *, distance: float, chroma: str, headerless: bool) -> None:
        """``distance`` is butteraugli's (1 is hardly visible); ``chroma`` "420" or "444"."""
        self._distance, self._chroma = distance, chroma
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        return bytes(
            ajpegli.encode(image, distance=self._distance, subsampling=self._chroma, progressive=0, optimize=True)
        )

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return np.asarray(ajpegli.decode(file, max_height=self.size[0], max_width=self.size[1]))


@cache
def _annex_k() -> bytes:
    """Return the DHT segments of the Huffman tables that annex K gives, as libjpeg writes them."""
    blank = np.zeros((8, 8, 3), np.uint8)
    return take_apart(bytes(imagecodecs.jpeg8_encode(blank, level=_QUALITY_OF_TABLES, optimize=False))).tables
