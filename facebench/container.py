"""The file that ``facebench encode`` writes: a payload with what its decoder must know.

Layout: ``FBF`` and a version byte; the length of the operating point's text (1 byte) and the text (UTF-8);
height and width (2 bytes each, little-endian); the first 4 bytes of the weights digest, zero for none; the payload.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from facebench.data.preprocess import MAX_SIZE
from facebench.errors import CodecError

_MAGIC = b"FBF\x01"
_FIELDS = struct.Struct("<HH4s")
# A picture of up to so many bytes is always believed, a larger one only up to so many times its payload: a short file
# must not take hundreds of megabytes. Nothing that shows a face is near it.
_ALWAYS_BELIEVED = 3 * 2048**2
_MOST_TIMES = 4096


@dataclass(frozen=True)
class FaceFile:
    """A payload, the text of its operating point, the picture's (height, width) and the weights' digest or None."""

    point: str
    size: tuple[int, int]
    weights_digest: str | None
    payload: bytes

    def pack(self) -> bytes:
        """Return the file's bytes.

        Raises :class:`CodecError` if the operating point's text is over 255 bytes, or the picture so large and the
        payload so short that :func:`unpack` would not believe it.
        """
        text = self.point.encode()
        if not _believable(self.size, self.payload):
            size = f"{self.size[1]}x{self.size[0]}"
            raise CodecError(
                f"{size} pixels in {len(self.payload)} bytes: no decoder would believe it; use a smaller --size"
            )
        if len(text) > 255:
            raise CodecError(f"the settings of {self.point[:40]}... are too long for a file: at most 255 bytes")
        fields = _FIELDS.pack(*self.size, _short(self.weights_digest))
        return _MAGIC + bytes([len(text)]) + text + fields + self.payload

    def has_weights(self, digest: str | None) -> bool:
        """Whether weights of ``digest`` are those that the file was made with, as far as 4 bytes can tell."""
        return _short(self.weights_digest) == _short(digest)


def _short(digest: str | None) -> bytes:
    return bytes.fromhex(digest)[:4] if digest else bytes(4)


def unpack(data: bytes, name: str) -> FaceFile:
    """Read a file's bytes; raises :class:`CodecError` naming the file if they are not such a file or are damaged."""
    if data[:3] != _MAGIC[:3]:
        raise CodecError(f"{name} was not written by 'facebench encode'")
    if data[:4] != _MAGIC:
        raise CodecError(f"{name} has another file version than this facebench reads; decode it with a newer one")
    start = len(_MAGIC) + 1
    length = data[start - 1] if len(data) >= start else 0
    if not length or len(data) <= start + length + _FIELDS.size:
        raise CodecError(f"{name} is cut short")
    try:
        text = data[start : start + length].decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"{name} is damaged: its operating point is no text") from error
    height, width, digest = _FIELDS.unpack_from(data, start + length)
    if not (1 <= height <= MAX_SIZE and 1 <= width <= MAX_SIZE):
        raise CodecError(f"{name} is damaged: it claims a picture of {width}x{height}")
    payload = data[start + length + _FIELDS.size :]
    if not _believable((height, width), payload):
        raise CodecError(f"{name} is damaged: it claims a picture of {width}x{height} in {len(payload)} bytes")
    return FaceFile(text, (height, width), digest.hex() if any(digest) else None, payload)


def _believable(size: tuple[int, int], payload: bytes) -> bool:
    return 3 * size[0] * size[1] <= max(_ALWAYS_BELIEVED, _MOST_TIMES * len(payload))
