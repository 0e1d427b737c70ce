"""JPEG as people use it, as small as it gets for small faces: without headers, or downsampled first."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError, UnsupportedSize
from facebench_codecs.image_file import decode_file
from facebench_codecs.jpeg_file import MAX_SIDE, encode_jpeg
from facebench_codecs.jpeg_stream import (
    MAX_MCU_BYTES,
    ScanReader,
    ScanWriter,
    Tables,
    check_size,
    mcus_of,
    put_together,
    take_apart,
)
from facebench_codecs.jpeg_tables import load_tables, shipped_tables

#: The side in pixels below which ``scale`` does not go.
SMALLEST_SIDE = 8
#: Zero bytes at a scan's end that are not sent; more would let damaged payloads pass for flat pictures.
IMPLIED_ZEROS = 32


class Jpeg(Codec):
    """Baseline JPEG by OpenCV (libjpeg-turbo), 4:2:0, optimised Huffman tables."""

    def __init__(
        self, size: tuple[int, int], *, quality: int, headerless: bool, scale: float, weights: str = "shipped"
    ) -> None:
        """Make a codec for pictures of ``size`` = (height, width).

        ``quality`` is libjpeg's, 1 to 100. ``scale`` below 1 downsamples before encoding (area filter) and
        upsamples after decoding (cubic), to no less than 8 pixels a side. ``headerless`` sends the entropy-coded
        scan alone, under Huffman tables fixed per quality; ``weights`` says which: "shipped" or a file that
        ``facebench train jpeg`` wrote. Raises UnsupportedSize and WeightsError.
        """
        super().__init__(size)
        if not 0 < min(size) <= max(size) <= MAX_SIDE:
            raise UnsupportedSize(f"JPEG has sides of 1 to {MAX_SIDE} pixels, not {size[1]}x{size[0]}")
        self._quality = quality
        self._coded = size if scale == 1 else (_scaled(size[0], scale), _scaled(size[1], scale))
        self._bare: _BareScan | None = None
        if headerless:
            path = shipped_tables() if weights == "shipped" else Path(weights)
            fitted = load_tables(path, quality, self._coded)
            self._bare = _BareScan(quality, self._coded, fitted.tables)
            self.weights_bytes = len(fitted.data)
            self.weights_digest = fitted.digest
            self.trained_on = fitted.trained_on

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the JPEG file of ``image``, (height, width, 3) uint8 RGB, or its scan alone."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        if self._coded != self.size:
            image = _resized(image, self._coded, cv2.INTER_AREA)
        file = encode_jpeg(image, self._quality)
        return self._bare.strip(file) if self._bare else file

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError."""
        file = self._bare.restore(payload) if self._bare else payload
        check_size(file, self._coded)
        image = decode_file(file, self._coded)
        if self._coded != self.size:
            image = _resized(image, self.size, cv2.INTER_CUBIC)
        return image


def _scaled(side: int, scale: float) -> int:
    return max(min(side, SMALLEST_SIDE), round(side * scale))


def _resized(image: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), np.uint8)


class _BareScan:
    """Between a JPEG file and its scan under tables that the decoder knows: no headers, stuffing or padding."""

    def __init__(self, quality: int, size: tuple[int, int], tables: Tables) -> None:
        # All headers but the Huffman tables are the same for every picture of one size and quality.
        blank = take_apart(encode_jpeg(np.zeros((*size, 3), np.uint8), quality))
        self._before, self._after = blank.before, blank.after
        self._tables = tables
        self._mcus = mcus_of(size)
        self._reader, self._writer = ScanReader(tables), ScanWriter(tables)

    def strip(self, file: bytes) -> bytes:
        """Return the payload of a JPEG file: the same symbols under the fixed tables."""
        parts = take_apart(file)
        if (parts.before, parts.after) != (self._before, self._after):
            raise CodecError("OpenCV wrote other JPEG headers than for a blank picture")
        scan = self._writer.write(ScanReader(parts.tables).read(parts.scan, self._mcus))
        # The contract gives the empty payload no meaning: one byte stays.
        kept = max(len(scan.rstrip(b"\0")), len(scan) - IMPLIED_ZEROS, 1)
        return scan[:kept]

    def restore(self, payload: bytes) -> bytes:
        """Return a JPEG file of the picture that ``payload`` stands for; raises CodecError."""
        if not payload:
            raise CodecError("the payload is empty")
        if len(payload) > MAX_MCU_BYTES * self._mcus:
            raise CodecError("the payload is longer than any picture's of this size")
        scan = payload + bytes(IMPLIED_ZEROS)
        used = -(-self._reader.end(scan, self._mcus) // 8)
        if used < len(payload):
            raise CodecError("the payload goes on after the picture's end")
        return put_together(self._before, self._tables, self._after, scan[:used])
