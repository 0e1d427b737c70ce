"""JPEG with and without headers: sizes, exactness of the transcoding, and payloads that mean harm."""

from __future__ import annotations

import heapq
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_pictures import smooth_picture
from facebench_codecs.jpeg_tables import QUALITIES, code_lengths, load_tables, shipped_tables
from numpy.typing import NDArray
from PIL import Image

from facebench import Codec, CodecError, TrainingJob, WeightsError
from facebench.operating_point import make_codec, parse_points
from facebench.plugins import Registry, load_object, load_registry

SIZES = [(64, 64), (128, 128), (17, 33), (8, 8), (100, 75)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


@pytest.fixture(scope="module")
def faces(celeba_dir: Path) -> NDArray[np.uint8]:
    """100 real test faces, (100, 64, 64, 3)."""
    from facebench.data.celeba import open_source
    from facebench.data.preprocess import Preprocessing

    source, preprocessing = open_source(celeba_dir, "test"), Preprocessing("centre-148", 64)
    return np.stack([preprocessing.picture(source.read(i)) for i in range(0, len(source.ids), len(source.ids) // 99)])


def codec(registry: Registry, text: str, size: tuple[int, int] = (64, 64)) -> Codec:
    (point,) = parse_points(text, registry)
    return make_codec(registry.codec(point.codec), point, size)


def pictures(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(7)
    yield smooth_picture(size)
    yield np.zeros((*size, 3), np.uint8)
    yield np.full((*size, 3), 255, np.uint8)
    yield rng.integers(0, 256, (*size, 3), np.uint8)
    yield rng.choice(np.array([0, 255], np.uint8), (*size, 3))
    # The steepest change of the mean from block to block: the largest DC differences.
    yield (
        np.kron(np.indices((-(-size[0] // 8), -(-size[1] // 8))).sum(0) % 2 * 255, np.ones((8, 8)))[
            : size[0], : size[1], None
        ]
        .repeat(3, 2)
        .astype(np.uint8)
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [1, 10, 50, 85, 100])
@pytest.mark.parametrize("scale", ["1", "0.5"])
def test_without_headers_every_picture_decodes_to_the_same_pixels(
    registry: Registry, size: tuple[int, int], quality: int, scale: str
) -> None:
    settings = f"jpeg:quality={quality}:scale={scale}"
    whole, bare = codec(registry, settings, size), codec(registry, f"{settings}:headerless=true", size)
    decoder = codec(registry, f"{settings}:headerless=true", size)
    for picture in pictures(size):
        decoded = decoder.decode(bare.encode(picture))
        assert decoded.shape == (*size, 3) and decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, whole.decode(whole.encode(picture)))


def test_libjpeg_has_nothing_to_complain_of_in_restored_files(
    registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    for quality in (1, 30, 90):
        bare = codec(registry, f"jpeg:headerless=true:quality={quality}")
        for seed in range(20):
            bare.decode(bare.encode(smooth_picture((64, 64), seed)))
    assert capfd.readouterr().err == ""


def test_a_payload_is_a_file_that_another_program_reads(registry: Registry) -> None:
    picture = smooth_picture((64, 64))
    jpeg = codec(registry, "jpeg:quality=95")
    payload = jpeg.encode(picture)
    theirs = np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")).astype(int)
    assert np.abs(theirs - jpeg.decode(payload)).mean() < 1
    assert np.abs(theirs - picture.astype(int)).mean() < 4


@pytest.mark.parametrize("quality", [5, 20, 85])
def test_sizes_on_real_faces_are_those_of_pillow(registry: Registry, faces: NDArray[np.uint8], quality: int) -> None:
    jpeg = codec(registry, f"jpeg:quality={quality}")
    ours = np.mean([len(jpeg.encode(face)) for face in faces])
    sizes = []
    for face in faces:
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
        sizes.append(buffer.tell())
    assert ours == pytest.approx(np.mean(sizes), rel=0.01)


@pytest.mark.parametrize("settings", ["quality=5", "quality=20", "quality=85", "quality=20:scale=0.5"])
def test_fixed_tables_cost_real_faces_little_over_tables_made_for_each_picture(
    registry: Registry, faces: NDArray[np.uint8], settings: str
) -> None:
    whole, bare = codec(registry, f"jpeg:{settings}"), codec(registry, f"jpeg:{settings}:headerless=true")
    files = [whole.encode(face) for face in faces]
    # What follows the SOS segment (12 bytes and its marker), less EOI and stuffing.
    scans = [file[file.index(b"\xff\xda") + 14 : -2].replace(b"\xff\0", b"\xff") for file in files]
    mean, best = np.mean([len(bare.encode(face)) for face in faces]), np.mean([len(scan) for scan in scans])
    assert mean <= best * 1.05 + 0.5
    assert mean < np.mean([len(file) for file in files]) - 250


def test_downsampling_first_gives_smaller_payloads_and_pictures_of_full_size(registry: Registry) -> None:
    picture = smooth_picture((64, 64))
    sizes = [len(codec(registry, f"jpeg:quality=50:scale={s}").encode(picture)) for s in ("1", "0.5", "0.25")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    half = codec(registry, "jpeg:quality=95:scale=0.5")
    assert Image.open(io.BytesIO(half.encode(picture))).size == (32, 32)
    decoded = half.decode(half.encode(picture))
    assert decoded.shape == picture.shape
    assert np.abs(decoded.astype(int) - picture).mean() < 8
    tiny = codec(registry, "jpeg:scale=0.05")
    assert Image.open(io.BytesIO(tiny.encode(picture))).size == (8, 8)


def test_tables_count_as_weights_and_say_what_they_were_fitted_to(registry: Registry) -> None:
    assert codec(registry, "jpeg").weights_bytes == 0
    bare, other = codec(registry, "jpeg:headerless=true"), codec(registry, "jpeg:headerless=true:quality=10")
    assert bare.weights_bytes == 4 * 16 + 2 * (12 + 162)
    assert bare.weights_digest and bare.weights_digest != other.weights_digest
    assert bare.trained_on is not None
    assert (bare.trained_on.image_set, bare.trained_on.split) == ("celeba", "train")
    assert len(bare.trained_on.data_digest) == 64


def test_shipped_tables_have_a_code_for_every_legal_symbol() -> None:
    for quality in QUALITIES:
        for side in (8, 32, 64, 500):
            tables = load_tables(shipped_tables(), quality, (side, side)).tables
            assert [len(set(table.symbols)) for table in tables] == [12, 162, 12, 162]
            for table in tables:
                assert len(table.counts) == 16  # no code is longer than 16 bits
                assert sum(count / 2.0 ** (i + 1) for i, count in enumerate(table.counts)) < 1


def test_code_lengths_cost_no_more_than_huffmans_own_construction() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        weights = [int(w) for w in rng.geometric(0.01, rng.integers(2, 60))]
        lengths = code_lengths(weights, 16)
        heap, cost = list(weights), 0
        heapq.heapify(heap)
        while len(heap) > 1:  # Huffman 1952: the cost is the sum of all inner nodes
            merged = heapq.heappop(heap) + heapq.heappop(heap)
            cost += merged
            heapq.heappush(heap, merged)
        assert sum(w * n for w, n in zip(weights, lengths, strict=True)) == cost


def test_code_lengths_keep_the_limit_where_huffmans_would_break_it() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 30:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(fibonacci, 16)
    assert max(lengths) == 16
    assert sum(2.0**-n for n in lengths) == 1


class _Pictures:
    """Stands in for a prepared image set."""

    masks = None
    digest = "0" * 64

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self.size = images.shape[1:3]

    def __len__(self) -> int:
        return len(self.images)


def _job(path: Path, images: NDArray[np.uint8]) -> TrainingJob:
    told: dict[str, Any] = {"image_set": "celeba", "split": "train", "data_digest": "0" * 64}
    data = _Pictures(images)
    return TrainingJob("jpeg", data, data, 1, "cpu", "facebench train jpeg", told, out=path)


def test_tables_that_the_trainer_fits_are_usable_and_better_on_their_pictures(
    registry: Registry, tmp_path: Path
) -> None:
    images = np.stack([smooth_picture((32, 32), seed) for seed in range(6)])
    train = load_object(str(registry.codec("jpeg").trainer))
    path = train(_job(tmp_path / "tables.safetensors", images))
    shipped = codec(registry, "jpeg:headerless=true:quality=60", (32, 32))
    fitted = codec(registry, f'jpeg:headerless=true:quality=60:weights="{path}"', (32, 32))
    assert sum(map(len, fitted.encode_batch(images))) < sum(map(len, shipped.encode_batch(images)))
    for image in images:
        np.testing.assert_array_equal(fitted.decode(fitted.encode(image)), shipped.decode(shipped.encode(image)))


def test_a_damaged_or_missing_tables_file_is_a_weights_error(registry: Registry, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(shipped_tables().read_bytes())
    half = len(data) // 2
    data[half:] = bytes(len(data) - half)
    damaged.write_bytes(data)
    for path in (damaged, tmp_path / "missing.safetensors"):
        with pytest.raises(WeightsError, match=path.name):
            codec(registry, f'jpeg:headerless=true:quality=100:weights="{path}"')


def _damaged(payload: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for cut in range(0, len(payload), 1 + len(payload) // 60):
        yield payload[:cut]
    for _ in range(200):
        flipped = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            flipped[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    for _ in range(50):
        yield rng.bytes(int(rng.integers(1, 2 * len(payload))))
    for length in (1, 1000, 1_000_000):
        yield bytes(length)
        yield b"\xff" * length
        yield payload + bytes(length)


@pytest.mark.parametrize("headerless", ["true", "false"])
@pytest.mark.parametrize("scale", ["1", "0.25"])
def test_damaged_payloads_give_a_codec_error_or_a_picture_soon(registry: Registry, headerless: str, scale: str) -> None:
    jpeg = codec(registry, f"jpeg:headerless={headerless}:scale={scale}:quality=50")
    refused = 0
    for payload in _damaged(jpeg.encode(smooth_picture((64, 64)))):
        start = time.process_time()
        try:
            picture = jpeg.decode(payload)
            assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        except CodecError:
            refused += 1
        assert time.process_time() - start < 2
    assert refused > 100
    with pytest.raises(CodecError):
        jpeg.decode(b"")


def test_a_jpeg_that_claims_a_huge_picture_is_refused_before_it_costs_memory(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg = codec(registry, "jpeg")
    payload = bytearray(jpeg.encode(smooth_picture((64, 64))))
    frame = payload.index(b"\xff\xc0")
    payload[frame + 5 : frame + 9] = (65000).to_bytes(2, "big") * 2
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("OpenCV was given the huge picture"))
    with pytest.raises(CodecError, match="65000x65000, not 64x64"):
        jpeg.decode(bytes(payload))


def test_pictures_of_another_kind_are_refused(registry: Registry) -> None:
    jpeg = codec(registry, "jpeg")
    picture = smooth_picture((64, 64))
    for options in ({"progressive": True}, {"exif": b"Exif\0\0"}):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", **options)
        if "progressive" in options:
            with pytest.raises(CodecError, match="baseline"):
                jpeg.decode(buffer.getvalue())
        else:
            assert jpeg.decode(buffer.getvalue()).shape == picture.shape
    grey = io.BytesIO()
    Image.fromarray(picture[:, :, 0]).save(grey, "JPEG")
    for payload in (grey.getvalue(), codec(registry, "png").encode(picture), jpeg.encode(picture)[:-2]):
        with pytest.raises(CodecError):
            jpeg.decode(payload)


def test_transcoding_is_quick(registry: Registry) -> None:
    bare = codec(registry, "jpeg:headerless=true:quality=85")
    images = np.stack([smooth_picture((64, 64), seed) for seed in range(20)])
    start = time.process_time()
    payloads = bare.encode_batch(images)
    bare.decode_batch(payloads)
    # About 3 ms in all where this was written; a slow machine may take its time, a slow algorithm may not.
    assert (time.process_time() - start) / len(images) < 0.03
