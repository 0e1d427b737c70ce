"""PNG: lossless, as small as zlib makes it, and careful with what it decodes."""

from __future__ import annotations

import contextlib
import io
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facebench import Codec, CodecError
from facebench.operating_point import make_codec, parse_points
from facebench.plugins import load_registry


def png(size: tuple[int, int] = (64, 64)) -> Codec:
    registry = load_registry("")
    (point,) = parse_points("png", registry)
    return make_codec(registry.codec("png"), point, size)


def gradient(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of smooth ramps with a little noise, (height, width, 3)."""
    rows, columns = np.indices(size)
    noise = np.random.default_rng(5).integers(0, 8, (*size, 3))
    return (np.stack([rows * 3, columns * 2, rows + columns], 2) + noise).clip(0, 255).astype(np.uint8)


def pictures(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    return [gradient(size), noise, np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)]


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (9, 30), (1, 1)])
def test_pictures_come_back_unchanged_here_and_in_another_program(size: tuple[int, int]) -> None:
    encoder, decoder = png(size), png(size)
    for picture in pictures(size):
        payload = encoder.encode(picture)
        np.testing.assert_array_equal(decoder.decode(payload), picture)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), picture)


def test_files_are_no_larger_than_pillows() -> None:
    for picture in pictures((64, 64)):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", optimize=True, compress_level=9)
        assert len(png().encode(picture)) <= buffer.tell() * 1.01 + 40


def test_png_is_declared_lossless() -> None:
    assert load_registry("").codec("png").lossless


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def test_every_damage_is_noticed() -> None:
    codec, rng = png(), np.random.default_rng(2)
    payload = codec.encode(gradient((64, 64)))
    damaged = [payload[:cut] for cut in range(0, len(payload), 97)] + [payload + b"\0", payload * 2]
    for _ in range(200):
        flipped = bytearray(payload)
        flipped[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    damaged += [rng.bytes(length) for length in (1, 10, 5000)] + [b"", bytes(1000), b"\xff" * 1000]
    for data in damaged:
        with pytest.raises(CodecError):
            codec.decode(data)


def test_undamaged_chunks_with_broken_content_are_refused() -> None:
    codec = png()
    payload = codec.encode(gradient((64, 64)))
    header = payload[:33]
    for data in (b"", b"no zlib stream", zlib.compress(b"\0" * 100)):
        with contextlib.suppress(CodecError):
            assert codec.decode(header + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")).shape == (64, 64, 3)
    with pytest.raises(CodecError):
        codec.decode(header + _chunk(b"IDAT", b"no zlib stream") + _chunk(b"IEND", b""))


def test_a_bomb_is_refused_before_it_costs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = png()
    payload = codec.encode(gradient((64, 64)))
    huge = _chunk(b"IHDR", (65000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")
    profile = _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6)))
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("OpenCV was given the bomb"))
    with pytest.raises(CodecError, match="65000x65000, not 64x64"):
        codec.decode(payload[:8] + huge + payload[33:])
    with pytest.raises(CodecError, match="iCCP"):
        codec.decode(payload[:33] + profile + payload[33:])


def test_other_kinds_of_png_are_refused() -> None:
    picture = gradient((64, 64))
    for image in (Image.fromarray(picture).convert("L"), Image.fromarray(picture).convert("RGBA")):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        with pytest.raises(CodecError, match="8-bit RGB"):
            png().decode(buffer.getvalue())
