"""What an image set gives before preparation: an ordered list of pictures that can be read one by one."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.errors import DataError

#: A picture file that claims more pixels is refused from its header, before memory is taken for it.
MAX_PIXELS = 2**27

#: Control characters, and what stands for bytes of a file name that are not valid UTF-8.
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# OpenCV's own messages would stand beside the one line that names the file. 0: silent; by OpenCV 4, by OpenCV 5.
(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


@dataclass(frozen=True)
class PictureSource:
    """An ordered list of pictures of one split.

    ``read(i)`` returns picture ``i`` as (H, W, 3) uint8 RGB and ``read_mask(i)`` its face mask as (H, W)
    bool, both at the source's own size. ``fingerprint`` changes whenever the files behind it do.
    ``ids`` and ``identities`` are unique across image sets ("celeba:182638", "celeba:7760").
    ``attributes`` maps an attribute's name to (N,) bool; ``landmarks`` is (N, points, 2), x and y in pixels of the
    source's own pictures, the first pixel's centre at 0. Where there are five points they are in CelebA's order (see
    :mod:`facebench.data.pose`).
    ``default_crop`` is the crop used unless the user names another (see :mod:`facebench.data.preprocess`).

    Raises :class:`DataError` if two ids are the same, or one has a control character or is not valid Unicode: it
    would stand in tables, in Parquet and on terminals.
    """

    name: str
    split: str
    ids: tuple[str, ...]
    fingerprint: str
    read: Callable[[int], NDArray[np.uint8]]
    read_mask: Callable[[int], NDArray[np.bool_]] | None = None
    identities: tuple[str, ...] | None = None
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    landmarks: NDArray[np.float32] | None = None
    default_crop: str = "square"
    synthetic: bool = False
    no_mask_reason: str = "the image set has no face masks"

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name in self.ids:
            if _UNUSABLE.search(name):
                raise DataError(f"the name {name!r} has a control character or is not valid UTF-8; rename the file")
            if name in seen:
                raise DataError(f"the picture {name} is in the image set twice; remove or rename one")
            seen.add(name)


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP, BMP, TIFF or PPM file's bytes to (H, W, 3) uint8 RGB.

    Turned as its EXIF orientation says. 16-bit values v become round(v / 257). CMYK is converted without a colour
    profile. Transparency is dropped, as by OpenCV's and Pillow's conversion to RGB: codecs are given the stored
    colours, none is made up for a background. Of several frames or pages it is the first.

    Raises :class:`DataError`, which starts with ``name``, if the file is none of these, is cut off, fails its own
    checksums, claims more than :data:`MAX_PIXELS` or holds what cannot be converted. JPEG, WebP, BMP, TIFF and PPM
    have no checksums: there a changed byte may go unnoticed.
    """
    image = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, f"{name} is not a readable picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def decode_mask(data: bytes, name: str) -> NDArray[np.bool_]:
    """Decode a mask file's bytes to (H, W) bool, true where it is brighter than half; see :func:`decode_picture`."""
    return _decoded(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH, f"{name} is not a readable mask") > 127


class _Fault(Exception):
    """Why a picture file cannot be decoded."""


def _decoded(data: bytes, flags: int, problem: str) -> NDArray[np.uint8]:
    try:
        width, height = _claimed_size(data)
        if not 0 < width * height <= MAX_PIXELS:
            raise _Fault(f"{width}x{height}; it can have 1 to {MAX_PIXELS:,} pixels")
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if image is None:
            raise _Fault("its data cannot be decoded")
        if image.dtype == np.uint16:
            return np.asarray(cv2.convertScaleAbs(image, alpha=1 / 257), np.uint8)  # rounds; OpenCV's own 8 bits cut
        if image.dtype != np.uint8:
            raise _Fault(f"its values are {image.dtype}, not 8 or 16 bits")
        return np.asarray(image, np.uint8)
    except (_Fault, cv2.error) as error:
        why = error if isinstance(error, _Fault) else "its data cannot be decoded"
        raise DataError(f"{problem} ({why}); remove or replace it") from error


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that a picture file claims; raises _Fault if it is no whole file of a known kind."""
    if not data:
        raise _Fault("the file is empty")
    for signature, size in _KINDS:
        if re.match(signature, data, re.DOTALL):
            try:
                return size(data)
            except (struct.error, IndexError) as error:
                raise _Fault("it is cut off") from error
    raise _Fault("neither JPEG, PNG, WebP, BMP, TIFF nor PPM")


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END = 0xD9


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read up to the end marker: libjpeg fills what is missing before it with grey, and some OpenCV keeps that."""
    size, position = (0, 0), 2
    while marker := _JPEG_MARKER.search(data, position):
        if (code := marker[1][0]) == _JPEG_END:
            return size
        if code in _JPEG_START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, marker.end() + 3)
            size = max(size, (width, height), key=lambda pair: pair[0] * pair[1])
        position = marker.end() + struct.unpack_from(">H", data, marker.end())[0]
    raise _Fault("it is cut off")


def _png_size(data: bytes) -> tuple[int, int]:
    """Read up to the end chunk and check each chunk's CRC."""
    view, position, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        (crc,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(view[position + 4 : position + 8 + length]) != crc:
            raise _Fault("a chunk fails its checksum")
        position += 12 + length
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise _Fault("it is cut off")
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp_size(data: bytes) -> tuple[int, int]:
    old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height: rows from the top


#: TIFF's tags, and how a single value of each type is packed.
_WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 262, 277, 322, 323
_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
#: Samples per pixel without transparency, by photometric interpretation; 1 in all others.
_TIFF_COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, int] = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
        value = struct.unpack_from(order + _TIFF_TYPES[kind], data, entry + 8)[0] if kind in _TIFF_TYPES else 0
        tags.setdefault(tag, value)  # of a tag that is there twice libtiff takes the first
    if tags.get(_SAMPLES, 1) > _TIFF_COLOURS.get(tags.get(_PHOTOMETRIC, 0), 1):
        raise _Fault("a TIFF with transparency, which would darken it")  # libtiff multiplies colours by it
    width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    return max(width, tags.get(_TILE_WIDTH, 0)), max(height, tags.get(_TILE_HEIGHT, 0))


_PPM_HEADER = re.compile(rb"P([1-6])" + 3 * rb"(?:(?:\s|#[^\n]*\n)+(\d{1,9}))?")


def _ppm_size(data: bytes) -> tuple[int, int]:
    header = _PPM_HEADER.match(data)
    kind, width, height, largest = header.groups() if header else (b"", None, None, None)
    if width is None or height is None:
        raise _Fault("it is cut off")
    if kind not in b"14" and int(largest or 0) not in (255, 65535):  # OpenCV does not scale by it
        raise _Fault("its largest value is neither 255 nor 65535")
    return int(width), int(height)


_KINDS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    (rb"\xff\xd8\xff", _jpeg_size),
    (rb"\x89PNG\r\n\x1a\n", _png_size),
    (rb"RIFF....WEBP", _webp_size),
    (rb"BM", _bmp_size),
    (rb"II\*\0|MM\0\*", _tiff_size),
    (rb"P[1-6]\s", _ppm_size),
)


def file_fingerprint(path: Path) -> str:
    """Return a string that changes when the file is replaced: its absolute path, size and time of change."""
    status = path.stat()  # first: of a loop of links it is an OSError
    return fingerprint_text(str(path.resolve()), status)


def fingerprint_text(resolved: str, stat: os.stat_result) -> str:
    """Return :func:`file_fingerprint` of a file whose path without links, and status, are known."""
    name = resolved.encode(errors="backslashreplace").decode()  # a name may be no valid Unicode
    return f"{name}:{stat.st_size}:{stat.st_mtime_ns}"
