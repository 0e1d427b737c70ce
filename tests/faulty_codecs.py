"""Codecs that misbehave, each in one way, for the tests of the harness."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import zlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError, CodecSpec
from facebench.plugins import Registry, load_registry

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
    """Writes to standard output, by Python and by the descriptor."""

    def encode(self, image: Image) -> bytes:
        print("NOISE ON STDOUT")
        os.write(1, b"NOISE ON STDOUT\n")
        return super().encode(image)


class Segfaults(Zlib):
    """Reads from address 0 while encoding."""

    def encode(self, image: Image) -> bytes:
        return ctypes.string_at(0)


class Hangs(Zlib):
    """Never comes back from decoding, and heeds no polite signal."""

    def decode(self, payload: bytes) -> Image:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass


class HangsWithTheLock(Zlib):
    """Never comes back from C code that holds Python's lock, while encoding."""

    def encode(self, image: Image) -> bytes:
        ctypes.PyDLL(None).pause()
        return b""


class HangsWhenMade(Zlib):
    """Never comes back from being made."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size)
        time.sleep(1e6)


class Leaks(Zlib):
    """Keeps 100 MB of each picture that it encodes."""

    kept: ClassVar[list[bytes]] = []

    def encode(self, image: Image) -> bytes:
        self.kept.append(os.urandom(1000) * 100_000)
        time.sleep(0.2)  # as a codec that computes something would
        return super().encode(image)


class LeavesForks(Zlib):
    """Forks while encoding; the fork returns too, and a second one stays."""

    def encode(self, image: Image) -> bytes:
        os.fork()
        if os.fork() == 0:
            time.sleep(1e6)
        return super().encode(image)


class ForksTwice(Zlib):
    """Opens files in a fork and writes to them from the fork's fork."""

    def encode(self, image: Image) -> bytes:
        if (fork := os.fork()) == 0:
            files = [os.open(os.devnull, os.O_WRONLY) for _ in range(16)]  # one may get the connection's number
            if (second := os.fork()) == 0:
                for file in files:
                    try:
                        os.write(file, b"-")
                    except OSError:
                        os._exit(1)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
        if os.waitpid(fork, 0)[1]:
            raise ValueError("a file of its own was closed")
        return super().encode(image)


class LeavesDaemons(Zlib):
    """Kills its process once a process of another session holds all that it had open."""

    def encode(self, image: Image) -> bytes:
        if os.fork() == 0:
            os.setsid()
            time.sleep(20)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


class ClosesAll(Zlib):
    """Closes all files, among them its process's connection."""

    def encode(self, image: Image) -> bytes:
        os.closerange(3, 256)
        return super().encode(image)


class Interrupts(Zlib):
    """Raises what only a user at the keyboard should."""

    def decode(self, payload: bytes) -> Image:
        raise KeyboardInterrupt


class ReturnsNan(Zlib):
    """Decodes to NaN."""

    def decode(self, payload: bytes) -> Image:
        return np.full((*self.size, 3), np.nan)  # type: ignore[return-value]


class ReadOnly(Zlib):
    """Decodes to arrays that nobody may write to."""

    def decode(self, payload: bytes) -> Image:
        image = super().decode(payload)
        image.flags.writeable = False
        return image


class NotContiguous(Zlib):
    """Decodes to views of every other pixel, with negative steps, of something larger."""

    def decode(self, payload: bytes) -> Image:
        return np.repeat(np.repeat(super().decode(payload)[::-1], 2, 0), 2, 1)[::-2, ::2]


class RaisesOneWay(Zlib):
    """Raises an error that cannot be sent to another process."""

    class OneWay(CodecError):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("one way")

    def decode(self, payload: bytes) -> Image:
        raise self.OneWay(1, 2)


def registry(*more: CodecSpec) -> Registry:
    """Return the built-in plugins, these codecs, and ``more``."""
    loaded = load_registry("")
    for spec in (*specs(), *more):
        loaded.add("codec", loaded.codecs, spec, "tests 1")
    return loaded


def specs() -> list[CodecSpec]:
    """Return a spec for each codec here, named by its class in lower case."""
    classes = [c for c in globals().values() if isinstance(c, type) and issubclass(c, Codec) and c is not Codec]
    return [CodecSpec(c.__name__.lower(), f"faulty_codecs:{c.__name__}", version="1") for c in classes]
