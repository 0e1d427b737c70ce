"""PNG with few colours (as pngquant makes it): a palette by libimagequant, packed by libdeflate."""

from __future__ import annotations

import zlib
from typing import Any

import imagecodecs
import imagequant  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import FileCodec

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER, _CHECKSUM_BYTES = b"\x78\xda", 4
_PALETTE_START = 41  # signature, IHDR with its checksum, length and name of PLTE
_CHUNK_BYTES = 12  # length, name and checksum of a chunk
_OPAQUE = 255
_EFFORT = 12  # the most that libdeflate has; Zopfli saves 2 bytes more in ten times the time


class PalettePng(FileCodec):
    """An indexed PNG without row filters, whose palette has only colours that are used."""

    def __init__(self, size: tuple[int, int], *, colours: int, dither: float, headerless: bool) -> None:
        """``colours`` is the most there may be, 2 to 256; ``dither`` the strength of error diffusion, 0 to 1."""
        self._colours, self._dither = colours, dither
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        height, width = self.size
        rgba = np.dstack([image, np.full(self.size, _OPAQUE, np.uint8)])
        indices, palette = imagequant.quantize_raw_rgba_bytes(
            rgba.tobytes(), width, height, dithering_level=self._dither, max_colors=self._colours
        )
        colours = np.array(list(palette), np.uint8).reshape(-1, 4)[:, :3]
        used, compact = np.unique(np.frombuffer(indices, np.uint8), return_inverse=True)
        rows = _packed(compact.reshape(self.size).astype(np.uint8), _depth(len(used)))
        return self._file(colours[used].tobytes(), bytes(imagecodecs.deflate_encode(rows, level=_EFFORT)))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        return imagecodecs.png_decode(file)

    def _learn_headers(self, blank: bytes) -> None:
        """Do nothing: what a PNG's headers say follows from the size and the number of colours."""

    def _strip(self, file: bytes) -> bytes:
        colours = int.from_bytes(file[_PALETTE_START - 8 : _PALETTE_START - 4], "big") // 3
        if not 1 <= colours <= 256:
            return b""
        end = _PALETTE_START + 3 * colours
        packed = file[end + _CHUNK_BYTES + len(_ZLIB_HEADER) : -_CHUNK_BYTES - 4 - _CHECKSUM_BYTES]
        return bytes([colours - 1]) + file[_PALETTE_START:end] + packed

    def _wrap(self, body: bytes) -> bytes:
        end = 1 + 3 * (body[0] + 1) if body else 0
        row = -(-self.size[1] * _depth(end // 3) // 8)
        pixels = _inflated(body[end:], self.size[0] * (1 + row))
        return self._file(body[1:end], _ZLIB_HEADER + body[end:] + zlib.adler32(pixels).to_bytes(4, "big"))

    def _file(self, palette: bytes, packed: bytes) -> bytes:
        """Return the PNG with the colours ``palette``, three bytes each, and the zlib stream ``packed``."""
        height, width = self.size
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((_depth(len(palette) // 3), 3, 0, 0, 0))
        chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", packed), (b"IEND", b""))
        return _SIGNATURE + b"".join(
            len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
            for name, data in chunks
        )


def _depth(colours: int) -> int:
    """Return the bits of a pixel that tell so many colours apart, of those that PNG has."""
    return next(depth for depth in (1, 2, 4, 8) if colours <= 1 << depth)


def _packed(indices: NDArray[np.uint8], depth: int) -> bytes:
    """Return the rows of ``indices``, (height, width), ``depth`` bits a pixel, each behind its filter type, 0."""
    bits = np.unpackbits(indices[..., None], axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(len(indices), -1), axis=1)
    return np.pad(rows, ((0, 0), (1, 0))).tobytes()


def _inflated(packed: bytes, length: int) -> bytes:
    """Return the ``length`` bytes that the raw deflate stream ``packed`` holds; raises CodecError."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = stream.decompress(packed, length + 1)
    except zlib.error as error:
        raise CodecError(f"the payload is damaged: {error}") from error
    if len(data) != length or not stream.eof or stream.unused_data:
        raise CodecError("the payload is damaged: it has not as many pixels as the picture")
    return data
