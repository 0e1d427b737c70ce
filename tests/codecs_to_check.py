"""Tiny codecs for the tests of the conformance suite: one that conforms, and one for each way not to."""

from __future__ import annotations

import ctypes
import os
import time
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from facebench import Codec, CodecError, UnsupportedSize


class Sound(Codec):
    """Lossless at ``step=1``; every class below breaks one thing of it."""

    def __init__(self, size, step=1):
        super().__init__(size)
        self.step = step

    def encode(self, image):
        return zlib.compress((image // self.step).tobytes(), 1)

    def decode(self, payload):
        try:
            data = zlib.decompressobj().decompress(payload, 3 * self.size[0] * self.size[1])
            levels = np.frombuffer(data, np.uint8).reshape(*self.size, 3)
        except (zlib.error, ValueError) as error:
            raise CodecError(f"damaged payload: {error}") from error
        return np.minimum(levels.astype(int) * self.step, 255).astype(np.uint8)


class OnlyAt128(Sound):
    def __init__(self, size, step=1):
        if size != (128, 128):
            raise UnsupportedSize("only 128x128")
        super().__init__(size, step)


class Nowhere(Sound):
    def __init__(self, size, step=1):
        raise UnsupportedSize("never")


class BreaksAt128(Sound):
    def encode(self, image):
        if self.size == (128, 128):
            raise RuntimeError("no")
        return super().encode(image)


class NotACodec:
    pass


class ForgetsSize(Sound):
    def __init__(self, size, step=1):
        super().__init__((64, 64), step)
        self.size = None


class OddWeights(Sound):
    weights_bytes = -1


class CheatsByMemory(Sound):
    seen: ClassVar[dict[bytes, np.ndarray]] = {}

    def encode(self, image):
        key = zlib.crc32(image.tobytes()).to_bytes(4, "big")
        self.seen[key] = image.copy()
        return key

    def decode(self, payload):
        if payload not in self.seen:
            raise CodecError("not mine")
        return self.seen[payload]


class CheatsByFile(Sound):
    def encode(self, image):
        key = zlib.crc32(image.tobytes()).to_bytes(4, "big")
        Path(f"seen-{key.hex()}.npy").write_bytes(image.tobytes())
        return key

    def decode(self, payload):
        try:
            return np.frombuffer(Path(f"seen-{payload.hex()}.npy").read_bytes(), np.uint8).reshape(*self.size, 3)
        except OSError as error:
            raise CodecError("not mine") from error


class CheatsByInstance(Sound):
    offset = 0

    def encode(self, image):
        self.offset = 9
        return super().encode(image // 2)

    def decode(self, payload):
        return super().decode(payload) + np.uint8(self.offset)


class ReusesBuffer(Sound):
    def decode(self, payload):
        if not hasattr(self, "buffer"):
            self.buffer = np.empty((*self.size, 3), np.uint8)
        self.buffer[:] = super().decode(payload)
        return self.buffer


class DependsOnProcess(Sound):
    """Decodes to what this process's hash seed makes of it."""

    def decode(self, payload):
        return super().decode(payload) // 2 + np.uint8(hash("seed") % 50)


class DependsOnThreads(Sound):
    def decode(self, payload):
        return super().decode(payload) // 2 + np.uint8(2 * int(os.environ["OMP_NUM_THREADS"]))


class Random(Sound):
    def encode(self, image):
        return zlib.compress((image ^ (os.urandom(1)[0] & 1)).tobytes(), 1)


class OtherBatchBytes(Sound):
    def encode_batch(self, images):
        return [zlib.compress(image.tobytes(), 9) for image in images]


class OtherBatchPictures(Sound):
    def decode_batch(self, payloads):
        return [self.decode(p) ^ np.uint8(4 if len(payloads) > 1 else 0) for p in payloads]


class ShortBatch(Sound):
    def decode_batch(self, payloads):
        return [self.decode(p) for p in payloads][: max(1, len(payloads) - 1)]


class LiesAboutBits(Sound):
    def bits_per_image(self, payload):
        return 8 * len(payload) - 1


class FractionalBits(Sound):
    def bits_per_image(self, payload):
        return 8.0 * len(payload)


class WrongShape(Sound):
    def decode(self, payload):
        return super().decode(payload)[:-1]


class WrongType(Sound):
    def decode(self, payload):
        return super().decode(payload).astype(np.float32)


class NotBytes(Sound):
    def encode(self, image):
        return bytearray(super().encode(image))


class DislikesBlack(Sound):
    def encode(self, image):
        return super().encode(image) if image.any() else b""


class ChangesInput(Sound):
    def encode(self, image):
        payload = super().encode(image)
        if image.flags.writeable:
            image[:] = 0
        return payload


class NeedsWritable(Sound):
    def encode(self, image):
        image[0, 0, 0] += 0
        return super().encode(image)


class NeedsContiguous(Sound):
    def encode(self, image):
        return super().encode(np.ndarray(image.shape, np.uint8, image.copy("A").ravel("K")))


class CrashesWhenEncodingNoise(Sound):
    def encode(self, image):
        if len(np.unique(image)) == 256 and self.size == (64, 64) and abs(image.mean() - 127.5) < 2:
            os.kill(os.getpid(), 11)
        return super().encode(image)


def _is_sound(codec, payload):
    try:
        Sound.decode(codec, payload)
    except CodecError:
        return False
    return zlib.decompressobj().decompress(payload) is not None and payload[:2] == b"\x78\x01"


class HangsOnDamage(Sound):
    def decode(self, payload):
        while not _is_sound(self, payload):
            time.sleep(0.01)
        return super().decode(payload)


class SegfaultsOnDamage(Sound):
    def decode(self, payload):
        if not _is_sound(self, payload):
            ctypes.string_at(0)
        return super().decode(payload)


class ExitsOnDamage(Sound):
    def decode(self, payload):
        if not _is_sound(self, payload):
            os._exit(0)
        return super().decode(payload)


class EatsMemoryOnDamage(Sound):
    def decode(self, payload):
        if not _is_sound(self, payload):
            try:
                eaten = []
                for _ in range(3000):
                    eaten.append(np.ones(1 << 20, np.uint8))
            finally:
                raise CodecError("as if nothing had been")
        return super().decode(payload)


class RaisesOnDamage(Sound):
    def decode(self, payload):
        if not _is_sound(self, payload):
            raise ValueError("what is this?")
        return super().decode(payload)


class WrongShapeOnDamage(Sound):
    def decode(self, payload):
        return super().decode(payload) if _is_sound(self, payload) else np.zeros((1, 1, 3), np.uint8)


class SpoiledByDamage(Sound):
    spoiled = False

    def decode(self, payload):
        try:
            return super().decode(payload) ^ np.uint8(8 if self.spoiled else 0)
        except CodecError:
            self.spoiled = True
            raise


class TakesEmpty(Sound):
    def decode(self, payload):
        return super().decode(payload) if payload else np.zeros((*self.size, 3), np.uint8)


class IgnoresStep(Sound):
    def encode(self, image):
        return zlib.compress(image.tobytes(), 1)


class FailsAtStep9(Sound):
    def __init__(self, size, step=1):
        if step == 9:
            raise ValueError("nine")
        super().__init__(size, step)
