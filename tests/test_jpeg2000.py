"""JPEG 2000: byte targets are kept, headers are left out and put back, and hostile payloads are refused."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_pictures import smooth_picture
from numpy.typing import NDArray
from PIL import Image

from facebench import Codec, CodecError, UnsupportedSize
from facebench.memory import peak, reset_peak
from facebench.operating_point import make_codec, parse_points
from facebench.plugins import Registry, load_registry
from facebench.testing import check_codec
from facebench.testing.pictures import faces

SIZES = [(64, 64), (128, 128), (32, 32), (33, 47), (100, 75), (512, 512)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


def codec(registry: Registry, text: str, size: tuple[int, int] = (64, 64)) -> Codec:
    (point,) = parse_points(text, registry)
    return make_codec(registry.codec(point.codec), point, size)


def pictures(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    yield smooth_picture(size)
    if max(size) > 200:  # slow to encode
        return
    yield np.zeros((*size, 3), np.uint8)
    yield np.full((*size, 3), 255, np.uint8)
    yield np.full((*size, 3), (255, 0, 0), np.uint8)
    yield np.random.default_rng(7).integers(0, 256, (*size, 3), np.uint8)


def error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean squared error in grey levels."""
    return float(np.square(one.astype(float) - other).mean())


def by_pillow(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def tile_of(file: bytes) -> bytes:
    """The data of the only tile of a JP2 file."""
    return file[file.index(b"\xff\x93") + 2 : -2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [200, 300, 2000, 1_000_000])
def test_without_headers_every_picture_decodes_to_the_same_pixels(
    registry: Registry, size: tuple[int, int], target: int
) -> None:
    whole = codec(registry, f"jpeg2000:bytes={target}", size)
    for picture in pictures(size):
        file = whole.encode(picture)
        tile = tile_of(file)
        kept = max(len(tile.rstrip(b"\x80")), len(tile) - 18, 1)  # empty packets at the end are not sent
        bare, decoder = (codec(registry, f"jpeg2000:bytes={kept}:headerless=true", size) for _ in range(2))
        assert len(bare.encode(picture)) == kept
        decoded = decoder.decode(tile[:kept])
        assert decoded.shape == picture.shape and decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, whole.decode(file))


@pytest.mark.parametrize("size", SIZES)
def test_files_are_read_to_the_same_picture_by_another_program(registry: Registry, size: tuple[int, int]) -> None:
    for target in (300, 1000, 30_000):
        ours = codec(registry, f"jpeg2000:bytes={target}", size)
        for picture in pictures(size):
            file = ours.encode(picture)
            assert Image.open(io.BytesIO(file)).format == "JPEG2000"
            # Pillow rounds the change of colours otherwise.
            assert np.abs(by_pillow(file).astype(int) - ours.decode(file)).max() <= 2


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (50, 33)])
@pytest.mark.parametrize("headerless", ["true", "false"])
def test_targets_are_kept_and_spent(registry: Registry, size: tuple[int, int], headerless: str) -> None:
    least = 40 if headerless == "true" else 280
    raw = 3 * size[0] * size[1]
    for seed in range(4):
        picture = smooth_picture(size, seed) // 2 + np.random.default_rng(seed).integers(0, 64, (*size, 3), np.uint8)
        for target in (least, least + 41, 400, 555, 900):
            payload = codec(registry, f"jpeg2000:bytes={target}:headerless={headerless}", size).encode(picture)
            # Rate control leaves out whole passes, and many are alike in noise.
            assert 0.9 * target - raw / 1000 - 20 < len(payload) <= target


def test_nothing_that_opencv_writes_and_that_fits_is_longer(registry: Registry) -> None:
    picture = smooth_picture((64, 64), 3)
    ycc = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    planes = np.ascontiguousarray(ycc[..., [1, 2, 0]])  # OpenCV writes the last channel first
    options = ([cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, setting] for setting in (*range(1, 200), 1000))
    files = [cv2.imencode(".jp2", planes, option)[1].tobytes() for option in options]
    sizes = np.array([len(tile_of(file).rstrip(b"\x80")) for file in files])
    for target in (50, 120, 333, 700, 1500):
        payload = codec(registry, f"jpeg2000:bytes={target}:headerless=true").encode(picture)
        assert len(payload) == sizes[sizes <= target].max()


def test_more_bytes_give_better_pictures_up_to_no_loss_but_of_colours(registry: Registry) -> None:
    picture = smooth_picture((64, 64))
    errors = []
    for target in (30, 60, 120, 250, 500, 1000, 2000, 100_000):
        ours = codec(registry, f"jpeg2000:bytes={target}:headerless=true")
        errors.append(error(ours.decode(ours.encode(picture)), picture))
    assert errors == sorted(errors, reverse=True)
    ycc = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    assert errors[-1] == error(np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), np.uint8), picture)


def test_a_target_below_the_smallest_payload_gives_the_smallest(registry: Registry) -> None:
    picture = smooth_picture((64, 64))
    for headerless in ("true", "false"):
        smallest = codec(registry, f"jpeg2000:bytes=1:headerless={headerless}").encode(picture)
        again = codec(registry, f"jpeg2000:bytes={len(smallest)}:headerless={headerless}").encode(picture)
        assert 1 < len(smallest) == len(again)


def test_a_budget_is_kept_by_the_codec_itself(registry: Registry) -> None:
    picture = smooth_picture((64, 64))
    assert codec(registry, "jpeg2000:headerless=true@200B").encode(picture) == codec(
        registry, "jpeg2000:headerless=true:bytes=200"
    ).encode(picture)


def test_files_name_no_encoder(registry: Registry) -> None:
    file = codec(registry, "jpeg2000").encode(smooth_picture((64, 64)))
    assert b"OpenJPEG" not in file and b"\xff\x64" not in file[:200]


def test_the_change_of_colours_makes_faces_better_at_equal_bytes(registry: Registry) -> None:
    for picture in faces((64, 64), 4):
        buffer = io.BytesIO()
        layers = {"quality_mode": "rates", "quality_layers": [picture.size / 700], "num_resolutions": 6}
        Image.fromarray(picture).save(buffer, "JPEG2000", mct=0, **layers)
        theirs = buffer.getvalue()
        ours = codec(registry, f"jpeg2000:bytes={len(tile_of(theirs))}:headerless=true")
        assert error(ours.decode(ours.encode(picture)), picture) < 0.9 * error(by_pillow(theirs), picture)


def test_encoding_and_decoding_print_nothing(registry: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    for size in SIZES:
        for headerless in ("true", "false"):
            ours = codec(registry, f"jpeg2000:headerless={headerless}", size)
            for picture in pictures(size):
                ours.decode(ours.encode(picture))
    told = capfd.readouterr()
    assert told.out == told.err == ""


@pytest.mark.parametrize("size", [(0, 64), (8, 8), (64, 31)])
def test_sizes_that_opencv_does_not_take_are_refused_without_its_noise(
    registry: Registry, size: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedSize, match=f"no side below 32, not {size[1]}x{size[0]}"):
        codec(registry, "jpeg2000", size)
    assert capfd.readouterr().err == ""


def _damaged(payload: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for cut in range(1, len(payload), 1 + len(payload) // 60):
        yield payload[:cut]
    for position in range(min(len(payload), 220)):  # headers, bit by bit
        for bit in range(8):
            yield payload[:position] + bytes([payload[position] ^ 1 << bit]) + payload[position + 1 :]
    for _ in range(200):
        flipped = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            flipped[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    for _ in range(100):
        yield rng.bytes(int(rng.integers(1, 2 * len(payload))))
    for length in (1, 1000, 1_000_000):
        yield bytes(length)
        yield b"\xff" * length
        yield payload + bytes(length)


@pytest.mark.parametrize("headerless", ["true", "false"])
@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
def test_damaged_payloads_give_a_codec_error_or_a_picture_soon_and_in_little_memory(
    registry: Registry, headerless: str, size: tuple[int, int]
) -> None:
    ours = codec(registry, f"jpeg2000:bytes=500:headerless={headerless}", size)
    payload = ours.encode(smooth_picture(size))
    ours.decode(payload)
    refused, before = 0, reset_peak()
    for damaged in _damaged(payload):
        start = time.process_time()
        try:
            picture = ours.decode(damaged)
            assert picture.shape == (*size, 3) and picture.dtype == np.uint8
        except CodecError:
            refused += 1
        assert time.process_time() - start < 1
    assert peak() - before < 32 << 20
    assert refused > (5 if headerless == "true" else 1500)
    with pytest.raises(CodecError):
        ours.decode(b"")


def test_a_file_that_claims_another_picture_is_refused_before_opencv_sees_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = codec(registry, "jpeg2000")
    file = ours.encode(smooth_picture((64, 64)))
    size = file.index(b"\xff\x51") + 6  # the SIZ segment: Xsiz, Ysiz, offsets, XTsiz, YTsiz, ...
    style = file.index(b"\xff\x52") + 5  # the COD segment: progression, layers, colour transform, levels, ...
    huge = (65000).to_bytes(4, "big")
    claims = {
        "a huge picture": file[:size] + huge * 2 + file[size + 8 :],
        "many tiles": file[: size + 16] + (1).to_bytes(4, "big") * 2 + file[size + 24 :],
        "many layers": file[: style + 1] + b"\xff\xff" + file[style + 3 :],
        "many resolutions": file[: style + 4] + b"\x20" + file[style + 5 :],
        "another size": codec(registry, "jpeg2000", (640, 320)).encode(np.zeros((640, 320, 3), np.uint8)),
        "a bare codestream": file[file.index(b"\xff\x4f\xff\x51") :],
    }
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("OpenCV was given it"))
    for payload in claims.values():
        with pytest.raises(CodecError, match="headers"):
            ours.decode(payload)


@pytest.mark.parametrize("headerless", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_conforms(registry: Registry, headerless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    spec = registry.codec("jpeg2000")
    target, bare = spec.settings
    check_codec(replace(spec, settings=(target, replace(bare, default=headerless)))).raise_if_failed()


def test_real_faces_are_coded_quickly(registry: Registry, celeba_dir: Path) -> None:
    from facebench.data.celeba import open_source
    from facebench.data.preprocess import Preprocessing

    source, preprocessing = open_source(celeba_dir, "test"), Preprocessing("centre-148", 64)
    faces = np.stack([preprocessing.picture(source.read(index)) for index in range(20)])
    ours = codec(registry, "jpeg2000:bytes=300:headerless=true")
    start = time.process_time()
    payloads = ours.encode_batch(faces)
    decoded = ours.decode_batch(payloads)
    # About 4 ms in all where this was written; a slow machine may take its time, a slow search may not.
    assert (time.process_time() - start) / len(faces) < 0.1
    assert max(map(len, payloads)) <= 300
    assert np.mean([error(face, picture) for face, picture in zip(faces, decoded, strict=True)]) < 400
