"""The codecs of facebench-imagecodecs: found as a plugin, round trips, sizes, and damaged payloads."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import ajpegli
import av
import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from facebench import Codec, CodecError, UnsupportedSize
from facebench.operating_point import make_codec, parse_points, sweep_points
from facebench.plugins import Registry, load_registry

#: Settings that are quick to encode; decoding and headers do not depend on them.
QUICK = {
    "webp": "webp",
    "jpegxl": "jpegxl:effort=3",
    "avif": "avif:speed=8",
    "heic": "heic",
    "jpegxr": "jpegxr",
    "htj2k": "htj2k",
    "mozjpeg": "mozjpeg",
    "jpegli": "jpegli",
    "jpegls": "jpegls:near=12",
    "vp9": "vp9",
    "h264": "h264",
    "astc": "astc:effort=30",
    "palettepng": "palettepng:colours=16",
}
NAMES = tuple(QUICK)
#: How far another decoder may be off: JPEG's inverse transform and chroma filter are not exact in the standard.
OTHER_READERS = dict.fromkeys(("webp", "jpegxl", "avif", "jpegxr", "htj2k", "jpegls", "palettepng"), 0.0)
OTHER_READERS |= {"mozjpeg": 0.5, "jpegli": 2.0}
SIZES = [(64, 64), (128, 128), (48, 72), (33, 17), (200, 100)]
HEADERLESS = ["false", "true"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("imagecodecs")


def codec(registry: Registry, text: str, size: tuple[int, int] = (64, 64)) -> Codec:
    (point,) = parse_points(text, registry)
    return make_codec(registry.codec(point.codec), point, size)


def smooth_picture(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Waves of several lengths in each channel, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size)[..., None] / 10
    total = sum(
        rng.uniform(10, 60, 3) / k * np.sin(k * (rows * rng.normal(size=3) + columns * rng.normal(size=3)))
        for k in range(1, 6)
    )
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def textured_picture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(2).normal(0, 4, (64, 64, 3))
    return (smooth_picture((64, 64)) + noise).clip(0, 255).astype(np.uint8)


def pictures(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    yield smooth_picture(size)
    yield np.zeros((*size, 3), np.uint8)
    yield np.full((*size, 3), 255, np.uint8)
    yield np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)


def test_the_plugin_brings_its_codecs_and_nothing_else(registry: Registry) -> None:
    assert registry.problems == []
    ours = {key for key, owner in registry.origins.items() if owner.startswith("facebench-imagecodecs ")}
    assert ours == {f"codec {name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("headerless", HEADERLESS)
def test_another_instance_decodes_every_picture(
    registry: Registry, name: str, size: tuple[int, int], headerless: str
) -> None:
    text = f"{QUICK[name]}:headerless={headerless}"
    encoder, decoder = codec(registry, text, size), codec(registry, text, size)
    for picture in pictures(size):
        payload = encoder.encode(picture)
        assert isinstance(payload, bytes) and payload == encoder.encode(picture)
        decoded = decoder.decode(payload)
        assert decoded.shape == picture.shape and decoded.dtype == np.uint8
    assert np.abs(decoder.decode(encoder.encode(smooth_picture(size))).astype(int) - smooth_picture(size)).mean() < 12


@pytest.mark.parametrize("name", NAMES)
def test_leaving_out_headers_changes_no_pixel_and_saves_bytes(registry: Registry, name: str) -> None:
    whole, bare = codec(registry, QUICK[name]), codec(registry, f"{QUICK[name]}:headerless=true")
    for picture in pictures((64, 64)):
        file, body = whole.encode(picture), bare.encode(picture)
        assert len(body) < len(file)
        np.testing.assert_array_equal(whole.decode(file), bare.decode(body))


@pytest.mark.parametrize("name", OTHER_READERS)
def test_payloads_are_files_that_other_decoders_read(registry: Registry, name: str) -> None:
    ours = codec(registry, QUICK[name])
    payload = ours.encode(smooth_picture((64, 64)))
    other = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR) if name in ("mozjpeg", "jpegli") else None
    read = imagecodecs.imread(io.BytesIO(payload).getvalue())[..., :3] if other is None else other[..., ::-1]
    assert np.abs(read.astype(int) - ours.decode(payload)).mean() <= OTHER_READERS[name]


def test_heic_payloads_are_files_that_pillow_reads(registry: Registry) -> None:
    pillow_heif.register_heif_opener()
    ours = codec(registry, QUICK["heic"])
    payload = ours.encode(smooth_picture((64, 64)))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), ours.decode(payload))


@pytest.mark.parametrize("name", ["vp9", "h264"])
def test_key_frames_keep_colours(registry: Registry, name: str) -> None:
    coder = codec(registry, f"{name}:chroma=444")
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 90)):
        picture = np.full((64, 64, 3), colour, np.uint8)
        assert np.abs(coder.decode(coder.encode(picture)).astype(int) - picture).max() <= 6


def test_mozjpeg_beats_plain_jpeg_at_equal_bytes(registry: Registry) -> None:
    picture = textured_picture()
    moz = codec(registry, "mozjpeg:quality=50")
    payload = moz.encode(picture)
    settings = [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY]
    plain = [cv2.imencode(".jpg", picture[..., ::-1], [*settings, quality])[1] for quality in range(1, 96)]
    best = max((file for file in plain if len(file) <= len(payload)), key=len)
    of_plain = cv2.imdecode(best, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    assert np.square(moz.decode(payload).astype(float) - picture).mean() < np.square(of_plain - picture).mean()


@pytest.mark.parametrize("name", ["mozjpeg", "jpegli"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_jpeg_without_headers_is_the_same_picture_under_other_huffman_tables(
    registry: Registry, name: str, size: tuple[int, int], chroma: str
) -> None:
    spec = registry.codec(name)
    for rate in (spec.sweep[0], spec.sweep[-1]):
        text = f"{name}:{spec.rate_setting}={rate}:chroma={chroma}"
        whole, bare = codec(registry, text, size), codec(registry, f"{text}:headerless=true", size)
        for picture in pictures(size):
            file, body = whole.encode(picture), bare.encode(picture)
            assert len(body) < len(file)
            np.testing.assert_array_equal(whole.decode(file), bare.decode(body))


@pytest.mark.parametrize("name", NAMES)
def test_settings_at_their_bounds_encode(registry: Registry, name: str) -> None:
    spec = registry.codec(name)
    picture = smooth_picture((32, 32))
    for setting in spec.settings:
        bounds = setting.choices or tuple(setting.kind(b) for b in (setting.low, setting.high) if b is not None)
        for value in bounds:
            coder = codec(registry, f"{name}:{setting.name}={value}", (32, 32))
            assert coder.decode(coder.encode(picture)).shape == (32, 32, 3)


def test_sizes_that_a_library_does_not_encode_are_refused_in_one_line(registry: Registry) -> None:
    with pytest.raises(UnsupportedSize, match="8x8"):
        codec(registry, "jpegxr:quality=10", (8, 8))


@pytest.mark.parametrize("name", ["mozjpeg", "jpegli"])
def test_a_side_beyond_what_jpeg_can_say_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(UnsupportedSize, match="the encoder refuses pictures of 70000x8: "):
        codec(registry, name, (8, 70_000))


@pytest.mark.parametrize("name", NAMES)
def test_the_sweep_is_ordered_and_reaches_from_small_to_about_1000_bytes(registry: Registry, name: str) -> None:
    spec = registry.codec(name)
    (quick,) = parse_points(QUICK[name], registry)
    changed = {k: v for k, v in quick.settings if k != spec.rate_setting}
    points = sweep_points(spec)
    texts = [":".join([name, *(f"{k}={changed.get(k, v)}".lower() for k, v in point.settings)]) for point in points]
    picture = textured_picture()
    sizes = [len(codec(registry, text).encode(picture)) for text in texts]
    assert len(sizes) >= 6 and sizes == sorted(sizes)
    assert sizes[0] < 650 and sizes[-1] > 700


def _damaged(payload: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for cut in range(0, len(payload), 1 + len(payload) // 50):
        yield payload[:cut]
    for position in range(min(len(payload), 40)):  # headers, bit by bit
        for bit in range(8):
            yield payload[:position] + bytes([payload[position] ^ 1 << bit]) + payload[position + 1 :]
    for _ in range(100):
        flipped = bytearray(payload)
        flipped[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    for _ in range(50):
        yield rng.bytes(int(rng.integers(1, 2 * len(payload))))
    for length in (1, 1000, 100_000):
        yield bytes(length)
        yield payload + bytes(length)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of OpenJPH, on damage
@pytest.mark.parametrize("headerless", HEADERLESS)
def test_damaged_payloads_give_a_codec_error_or_a_picture_soon(registry: Registry, name: str, headerless: str) -> None:
    ours = codec(registry, f"{QUICK[name]}:headerless={headerless}")
    refused = 0
    for payload in _damaged(ours.encode(smooth_picture((64, 64)))):
        start = time.process_time()
        try:
            picture = ours.decode(payload)
            assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        except CodecError:
            refused += 1
        assert time.process_time() - start < 2
    # Without headers, a JPEG decoder makes a picture of anything.
    assert refused > 10 or headerless == "true"
    with pytest.raises(CodecError):
        ours.decode(b"")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_size_is_refused_before_the_library_sees_it(
    registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = codec(registry, QUICK[name], (640, 320)).encode(np.zeros((640, 320, 3), np.uint8))
    ours = codec(registry, QUICK[name])
    for function in [f for f in dir(imagecodecs) if f.endswith("_decode")]:
        monkeypatch.setattr(imagecodecs, function, lambda *args, **kwargs: pytest.fail("the library was asked"))
    monkeypatch.setattr(pillow_heif, "open_heif", lambda *args, **kwargs: pytest.fail("the library was asked"))
    monkeypatch.setattr(ajpegli, "decode", lambda *args, **kwargs: pytest.fail("the library was asked"))
    monkeypatch.setattr(av, "Packet", lambda *args, **kwargs: pytest.fail("the library was asked"))
    with pytest.raises(CodecError):
        ours.decode(other)
