"""Codecs that misbehave, each in one way, for the tests of the harness."""

from __future__ import annotations

import os
import sys
import zlib

import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError, CodecSpec

Image = NDArray[np.uint8]


class Zlib(Codec):
    """A codec that behaves: lossless zlib."""

    def encode(self, image: Image) -> bytes:
        return zlib.compress(np.ascontiguousarray(image).tobytes())

    def decode(self, payload: bytes) -> Image:
        try:
            return np.frombuffer(zlib.decompress(payload), np.uint8).reshape(*self.size, 3).copy()
        except (zlib.error, ValueError) as error:
            raise CodecError("damaged payload") from error


class RaisesOnDark(Zlib):
    """Raises on pictures whose first pixel is dark; others are fine."""

    def encode(self, image: Image) -> bytes:
        if image[0, 0, 0] < 50:
            raise RuntimeError("too dark\nfor me")
        return super().encode(image)


class WrongShape(Zlib):
    """Decodes to half the size."""

    def decode(self, payload: bytes) -> Image:
        return super().decode(payload)[::2, ::2]


class WrongType(Zlib):
    """Decodes to floats."""

    def decode(self, payload: bytes) -> Image:
        return super().decode(payload).astype(np.float32)  # type: ignore[return-value]


class Kills(Zlib):
    """Kills its process while decoding."""

    def decode(self, payload: bytes) -> Image:
        os._exit(9)


class LyingBits(Zlib):
    """Claims fewer bits than its payload has."""

    def bits_per_image(self, payload: bytes) -> int:
        return 8


class Unmade(Zlib):
    """Cannot be made."""

    def __init__(self, size: tuple[int, int]) -> None:
        raise RuntimeError("no licence")


class ShortBatch(Zlib):
    """Drops a payload of every batch."""

    def encode_batch(self, images: Image) -> list[bytes]:
        return super().encode_batch(images)[1:]


class Quits(Zlib):
    """Calls sys.exit while decoding."""

    def decode(self, payload: bytes) -> Image:
        sys.exit(0)


class PrintsNoise(Zlib):
    """Writes to standard output."""

    def encode(self, image: Image) -> bytes:
        print("NOISE ON STDOUT")
        return super().encode(image)


def specs() -> list[CodecSpec]:
    """Return a spec for each codec here, named by its class in lower case."""
    classes = (Zlib, RaisesOnDark, WrongShape, WrongType, Kills, Quits, LyingBits, Unmade, ShortBatch, PrintsNoise)
    return [CodecSpec(c.__name__.lower(), f"faulty_codecs:{c.__name__}", version="1") for c in classes]
