"""JPEG 2000 (ITU-T T.800) by OpenCV (OpenJPEG) at byte targets, as files and without headers.

OpenCV's encoder has the reversible 5/3 wavelet of five levels, one quality layer, and one setting: the file's size in
thousandths of the raw picture. OpenJPEG's rate control keeps to that by leaving coding passes out (T.800, annex J).
OpenCV codes the three components as they come, without T.800's colour transform: red, green and blue take twice the
bytes for the same 1-SSIM. So they are Y, Cb and Cr here (BT.601), and the file's colour box says so.

OpenJPEG's irreversible 9/7 wavelet, its colour transform and fewer levels, which OpenCV does not offer, are better at
low rates: on 60 CelebA test faces at 64x64, 40 to 2,000 bytes without headers, this codec takes 22 % more bytes for the
same 1-SSIM than they do in three levels, and 29 % more for the same squared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError, UnsupportedSize
from facebench_codecs.image_file import decode_file

#: The side in pixels that five levels of the wavelet need.
SMALLEST_SIDE = 32
#: The highest of OpenCV's settings, thousandths of the raw picture: no rate control, nothing is lost.
_HIGHEST = 1000
_COM, _SOT, _SOD, _EOC = b"\xff\x64", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_SOT_HEAD = _SOT + b"\x00\x0a\x00\x00"  # length of the segment, number of the tile
_SOT_TAIL = b"\x00\x01" + _SOD  # tile-part 0 of 1, then its data
_TILE_PART_HEADER = len(_SOT_HEAD) + 4 + len(_SOT_TAIL)
#: Packets without content at a tile's end, which are not sent without headers: six resolutions of three components.
_IMPLIED = b"\x80" * 18
#: The end of the colour box before the codestream (T.800, annex I.5.3.3): an enumerated colour space.
_SRGB, _SYCC = b"colr\x01\x00\x00\x00\x00\x00\x10", b"colr\x01\x00\x00\x00\x00\x00\x12"


class Jpeg2000(Codec):
    """JPEG 2000 by OpenCV: one tile, reversible 5/3 wavelet, YCbCr, rate control by truncation."""

    def __init__(self, size: tuple[int, int], *, bytes: int, headerless: bool) -> None:
        """Make a codec for pictures of ``size`` = (height, width).

        A payload is the longest of at most ``bytes`` bytes that OpenCV's settings give for the picture, headers
        counted. The settings lie 0.1 % of the raw picture apart (12 bytes at 64x64, 49 at 128x128), so it may be
        that much shorter. Below OpenJPEG's least, some 30 bytes beside the headers or 0.1 % of a large raw picture,
        it is the shortest that was tried: longer than ``bytes``. With bytes enough, only the change of colours loses.

        ``headerless`` sends the tile's data alone, without the empty packets that it ends in: boxes, main header
        and the tile's own are the same for all pictures of a size. Files lack only the comment that names the
        encoder. Raises UnsupportedSize.
        """
        super().__init__(size)
        if min(size) < SMALLEST_SIDE:
            raise UnsupportedSize(f"OpenCV's JPEG 2000 takes no side below {SMALLEST_SIDE}, not {size[1]}x{size[0]}")
        try:
            blank = _encoded(np.zeros((*size, 3), np.uint8), 1)
            self._frame, _ = _take_apart(blank)
        except (cv2.error, CodecError) as error:
            raise UnsupportedSize(f"OpenCV writes no JPEG 2000 file of {size[1]}x{size[0]} pixels") from error
        self._headerless = headerless
        self._room = bytes if headerless else bytes - self._frame.overhead
        raw = 3 * size[0] * size[1]
        # No tile of OpenJPEG's is longer than the buffer that it has for one.
        self._most = raw * 7 // 5 + 500 + self._frame.overhead
        # OpenJPEG takes what it wrote before the tile off the file's size.
        before = blank.index(_SOT_HEAD)
        self._likely = min(max((self._room + before) * _HIGHEST // raw, 1), _HIGHEST)

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the JP2 file of ``image``, (height, width, 3) uint8 RGB, or its tile's data alone."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        tile = self._longest_that_fits(_components(image))
        return tile if self._headerless else self._frame.around(tile, _SYCC)

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError."""
        if not payload:
            raise CodecError("the payload is empty")
        if len(payload) > self._most:
            raise CodecError("the payload is longer than any picture's of this size")
        tile = payload + _IMPLIED if self._headerless else self._frame.inside(payload, _SYCC)
        # Told that it is RGB, OpenCV leaves the components as they are; told nothing, it warns.
        return _picture(decode_file(self._frame.around(tile, _SRGB), self.size))

    def _longest_that_fits(self, components: NDArray[np.uint8]) -> bytes:
        """Return the longest tile's data that fits of the settings tried, or the shortest if none fits.

        From the setting that OpenJPEG's rate control promises to fit, in growing strides to one that fits and one
        that does not, then by bisection: what fits is taken to end once.
        """
        low, high = 0, _HIGHEST + 1  # a setting that fits or 0, and one that does not or 1,001
        setting, stride = self._likely, 1
        fitting = too_long = b""
        while high - low > 1:
            tile = self._tile(components, setting)
            if len(tile) <= self._room:
                # Of the same length the higher setting has more passes: some take no bytes.
                low, fitting = setting, max(tile, fitting, key=len)
            else:
                high, too_long = setting, min(too_long or tile, tile, key=len)
            if high > _HIGHEST:
                setting = min(low + stride, _HIGHEST)
            elif low == 0:
                setting = max(high - stride, 1)
            else:
                setting = (low + high) // 2
            stride *= 2
        return fitting or too_long

    def _tile(self, components: NDArray[np.uint8], setting: int) -> bytes:
        """Return what a setting makes a payload hold of the tile's data."""
        frame, tile = _take_apart(_encoded(components, setting))
        if frame != self._frame:
            raise CodecError("OpenCV wrote other JPEG 2000 headers than for a blank picture")
        # The contract gives the empty payload no meaning: one byte stays.
        kept = max(len(tile.rstrip(_IMPLIED)), len(tile) - len(_IMPLIED), 1)
        return tile[:kept] if self._headerless else tile


def _components(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB as Y, Cb, Cr in the order in which OpenCV has blue, green and red: the last first."""
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., [1, 2, 0]], np.uint8)


def _picture(components: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Y, Cb, Cr as RGB."""
    luma_first = np.ascontiguousarray(components[..., [0, 2, 1]])  # OpenCV has Cr before Cb
    return np.asarray(cv2.cvtColor(luma_first, cv2.COLOR_YCrCb2RGB), np.uint8)


def _encoded(components: NDArray[np.uint8], setting: int) -> bytes:
    """Return the JP2 file that OpenCV makes of three components, (height, width, 3), in reverse order."""
    done, buffer = cv2.imencode(".jp2", components, (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, setting))
    if not done:
        raise CodecError("OpenCV could not encode the picture as JPEG 2000")
    return buffer.tobytes()


@dataclass(frozen=True)
class _Frame:
    """What surrounds a tile's data in a JP2 file: the boxes before the codestream, and its main header."""

    boxes: bytes
    main_header: bytes

    @property
    def overhead(self) -> int:
        """The bytes of a file beside its tile's data."""
        return len(self.around(b"", _SRGB))

    def around(self, tile: bytes, colours: bytes) -> bytes:
        """Return the file of a tile's data, whose colour box ends as ``colours``."""
        part = _SOT_HEAD + (_TILE_PART_HEADER + len(tile)).to_bytes(4, "big") + _SOT_TAIL + tile
        stream = self.main_header + part + _EOC
        boxes = self.boxes.replace(_SRGB, colours)
        return boxes + (8 + len(stream)).to_bytes(4, "big") + b"jp2c" + stream

    def inside(self, file: bytes, colours: bytes) -> bytes:
        """Return the tile's data of the file that :meth:`around` gives; raises CodecError if it is another file."""
        tile = file[self.overhead - len(_EOC) : -len(_EOC)]
        if self.around(tile, colours) != file:
            raise CodecError("the payload's headers are not those of a file of this size")
        return tile


def _take_apart(file: bytes) -> tuple[_Frame, bytes]:
    """Return the frame of a JP2 file, without comments, and its tile's data; raises CodecError."""
    position = 0
    while file[position + 4 : position + 8] != b"jp2c":
        position += _length(file, position, 4, least=8)
    boxes, position = file[:position], position + 8
    main_header, position = file[position : position + 2], position + 2
    while file[position : position + 2] != _SOT:
        end = position + 2 + _length(file, position + 2, 2, least=2)
        if file[position : position + 2] != _COM:
            main_header += file[position:end]
        position = end
    frame = _Frame(boxes, main_header)
    tile = file[position + _TILE_PART_HEADER : -len(_EOC)]
    if boxes.count(_SRGB) != 1 or not tile or not file.endswith(frame.around(tile, _SRGB)[-len(tile) - 16 :]):
        raise CodecError("OpenCV wrote a JPEG 2000 file of another structure")
    return frame, tile


def _length(file: bytes, position: int, count: int, least: int) -> int:
    """Return the length that ``count`` bytes at ``position`` tell; raises CodecError if they lead nowhere."""
    length = int.from_bytes(file[position : position + count], "big")
    if length < least or position + length > len(file):
        raise CodecError("OpenCV wrote a JPEG 2000 file of another structure")
    return length
