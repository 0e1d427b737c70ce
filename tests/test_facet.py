"""facet: payloads that decode alike everywhere, may be cut, keep to their budget, and never fail on odd pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from facebench_codecs.eigenfaces import Eigenfaces
from facebench_codecs.facet.codec import Facet
from facebench_codecs.weights import load_weights, save_weights, shipped_weights
from numpy.typing import NDArray

from facebench import CodecError, SettingError, UnsupportedSize, WeightsError
from facebench.data import samples
from facebench.data.preparation import prepare
from facebench.data.preprocess import Preprocessing
from facebench.testing.pictures import faces, plain

#: First byte of a payload that holds a WebP picture.
WEBP = 255
SWEEP = range(0, 64, 7)
PLAIN = plain((64, 64))


@cache  # an instance keeps its tables
def make(rate: int = 24, budget: int = 0, tune: str = "ssim", weights: str = "shipped", side: int = 64) -> Facet:
    return Facet((side, side), rate=rate, bytes=budget, tune=tune, weights=weights)


@pytest.fixture(scope="module")
def all_samples(_own_cache: None) -> NDArray[np.uint8]:
    """The embedded samples, (256, 64, 64, 3) uint8."""
    source = samples.open_source(None, "all")
    return np.array(prepare(source, Preprocessing(source.default_crop)).images)


@pytest.fixture(scope="module")
def pictures(all_samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first six of them."""
    return all_samples[:6]


def mean_squared_error(decoded: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    return float(np.square(decoded.astype(float) - wanted).mean())


def psnr(decoded: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """PSNR in dB, 99 for equal pictures."""
    error = mean_squared_error(decoded, wanted)
    return 10 * np.log10(255**2 / error) if error else 99.0


def damaged(payload: bytes, position: int) -> bytes:
    """Return ``payload`` with one bit of the byte at ``position`` flipped."""
    changed = bytearray(payload)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


def test_higher_rates_cost_more_and_lose_less(pictures: NDArray[np.uint8]) -> None:
    sizes, errors = [], []
    for rate in SWEEP:
        codec = make(rate)
        payloads = [codec.encode(picture) for picture in pictures]
        decoded = codec.decode_batch(payloads)
        assert decoded.shape == pictures.shape
        assert decoded.dtype == np.uint8
        sizes.append(np.mean([len(payload) for payload in payloads]))
        errors.append(mean_squared_error(decoded, pictures))
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


@pytest.mark.slow
def test_every_rate_gives_a_picture_and_sizes_rise(pictures: NDArray[np.uint8]) -> None:
    sizes = []
    for rate in range(64):
        codec = make(rate)
        payloads = [codec.encode(picture) for picture in pictures[:2]]
        assert all(codec.decode(payload).shape == (64, 64, 3) for payload in payloads)
        sizes.append(sum(map(len, payloads)))
    assert np.corrcoef(np.arange(64), np.argsort(np.argsort(sizes, kind="stable")))[0, 1] > 0.99
    assert np.all(np.diff(sizes) >= -2)  # neighbouring rates may swap by a byte a picture


def test_a_batch_gives_the_same_bytes_as_its_pictures_alone(pictures: NDArray[np.uint8]) -> None:
    for codec in (make(42), make(budget=64)):
        assert list(codec.encode_batch(pictures)) == [codec.encode(picture) for picture in pictures]


def test_a_payload_decodes_alike_in_another_process_thread_count_and_batch(
    pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    # All three kinds of payload: networks, linear, WebP.
    images = np.concatenate([pictures, [PLAIN["white"], PLAIN["gradient"]]])
    written = {codec: [codec.encode(image) for image in images] for codec in (make(63), make(budget=600))}
    (tmp_path / "payloads.txt").write_text("\n".join(p.hex() for payloads in written.values() for p in payloads))
    code = (
        "import sys; from pathlib import Path; import numpy as np, torch\n"
        "sys.path.insert(0, sys.argv[1]); folder = Path(sys.argv[2]); from test_facet import make\n"
        "payloads = [bytes.fromhex(line) for line in (folder / 'payloads.txt').read_text().split()]\n"
        "half = len(payloads) // 2\n"
        "for threads in (1, 2):\n"
        "    torch.set_num_threads(threads)\n"
        "    parts = ((make(63), payloads[:half]), (make(budget=600), payloads[half:]))\n"
        "    np.save(folder / f'{threads}.npy', [codec.decode(p) for codec, part in parts for p in part])\n"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    # Threads that wait actively would wait for each other on a busy machine.
    subprocess.run(arguments, check=True, env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"})
    together = np.concatenate([codec.decode_batch(payloads) for codec, payloads in written.items()]).astype(int)
    alone = np.stack([codec.decode(payload) for codec, payloads in written.items() for payload in payloads])
    assert np.abs(alone - together).max() <= 1
    for threads in (1, 2):
        assert np.abs(np.load(tmp_path / f"{threads}.npy") - together).max() <= 1


def test_another_instance_of_the_same_point_decodes_what_one_instance_wrote(pictures: NDArray[np.uint8]) -> None:
    for one, (rate, budget) in ((make(49), (49, 0)), (make(24, 128), (3, 128))):
        other = Facet((64, 64), rate=rate, bytes=budget, tune="ssim", weights="shipped")
        payloads = [one.encode(picture) for picture in pictures]
        assert np.array_equal(other.decode_batch(payloads), one.decode_batch(payloads))


@pytest.mark.parametrize("budget", [12, 16, 32, 64, 128, 256, 500, 1000, 3000])
def test_a_budget_is_kept_and_used(budget: int, pictures: NDArray[np.uint8]) -> None:
    codec = make(budget=budget)
    face_like = np.concatenate([pictures[:4], faces((64, 64), 2)])
    sizes = [len(codec.encode(picture)) for picture in face_like]
    assert max(sizes) <= budget
    # Below the last rate's size a picture's next rate is at most a few bytes away; a WebP quality, a tenth.
    if budget <= 200 or budget > 500:
        assert np.mean(sizes) >= 0.75 * budget


@pytest.mark.parametrize("budget", [12, 16])
def test_a_small_budget_is_kept_on_faces_that_cost_the_networks_more(
    budget: int, all_samples: NDArray[np.uint8]
) -> None:
    codec = make(budget=budget)
    sizes = [len(codec.encode(all_samples[index])) for index in (11, 29, 51, 151, 253)]
    assert max(sizes) <= budget


def test_a_larger_budget_is_never_worse_on_average(pictures: NDArray[np.uint8]) -> None:
    errors = []
    for budget in (16, 64, 128, 500, 1000, 3000):
        codec = make(budget=budget)
        errors.append(mean_squared_error(codec.decode_batch([codec.encode(p) for p in pictures]), pictures))
    assert errors == sorted(errors, reverse=True)


def test_a_budget_too_small_for_any_payload_gives_the_smallest(pictures: NDArray[np.uint8]) -> None:
    payloads = [make(budget=1).encode(picture) for picture in pictures]
    assert max(map(len, payloads)) <= min(len(make(21).encode(picture)) for picture in pictures)
    for payload in payloads:
        assert make(budget=1).decode(payload).shape == (64, 64, 3)


def test_large_budgets_hold_webp_behind_one_byte(pictures: NDArray[np.uint8]) -> None:
    import cv2

    codec = make(budget=1000)
    payload = codec.encode(pictures[0])
    assert payload[0] == WEBP
    # The decoder adds what every 64x64 file has: the container (20 bytes), start code and dimensions (7).
    body = payload[1:]
    frame = body[:3] + b"\x9d\x01\x2a\x40\0\x40\0" + body[3:]
    chunk = b"WEBPVP8 " + len(frame).to_bytes(4, "little") + frame + bytes(len(frame) % 2)
    file = np.frombuffer(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk, np.uint8)
    picture = cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(codec.decode(payload), picture)


def test_faces_at_any_rate_are_no_webp(pictures: NDArray[np.uint8]) -> None:
    assert WEBP not in {make(rate).encode(picture)[0] for rate in SWEEP for picture in pictures}


@pytest.mark.parametrize("rate", [24, 56])
def test_a_payload_may_be_cut_anywhere_and_its_picture_gets_better_with_every_part(
    rate: int, pictures: NDArray[np.uint8]
) -> None:
    codec = make(rate)
    payloads = [codec.encode(picture) for picture in pictures]
    lengths = (2, 8, 16, 32, 64, 128, 256)
    decoded = [codec.decode_batch([payload[:length] for payload in payloads]) for length in lengths]
    errors = [mean_squared_error(part, pictures) for part in decoded]
    assert all(part.shape == pictures.shape for part in decoded)
    assert errors == sorted(errors, reverse=True)
    assert np.array_equal(decoded[-1], codec.decode_batch(payloads))
    for length in range(1, len(payloads[0]), 5):
        assert codec.decode(payloads[0][:length]).shape == (64, 64, 3)


def test_nothing_of_a_whole_payload_is_taken_for_cut(pictures: NDArray[np.uint8]) -> None:
    """Zero bytes after the end say to the decoder that nothing was cut, and change nothing."""
    for rate in (0, 31, 63):
        codec = make(rate)
        for picture in pictures:
            payload = codec.encode(picture)
            assert np.array_equal(codec.decode(payload), codec.decode(payload + bytes(8)))


@pytest.fixture(scope="module")
def eigenfaces_points() -> dict[str, list[tuple[int, float]]]:
    """(bytes, PSNR) of eigenfaces over a dense list of steps, by name of the plain picture."""
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in PLAIN}
    for step in np.geomspace(40, 0.02, 40):
        codec = Eigenfaces((64, 64), step=float(step), weights="shipped")
        payloads = codec.encode_batch(np.stack(list(PLAIN.values())))
        for name, payload, decoded in zip(PLAIN, payloads, codec.decode_batch(payloads), strict=True):
            points[name].append((len(payload), psnr(decoded, PLAIN[name])))
    return points


@pytest.mark.parametrize("name", list(PLAIN))
def test_plain_pictures_are_at_most_1_db_worse_than_eigenfaces(
    name: str, eigenfaces_points: dict[str, list[tuple[int, float]]]
) -> None:
    for rate in SWEEP:
        codec = make(rate)
        payload = codec.encode(PLAIN[name])
        rival = max((db for size, db in eigenfaces_points[name] if size <= len(payload)), default=0.0)
        assert psnr(codec.decode(payload), PLAIN[name]) >= rival - 1, f"rate {rate}"


@pytest.mark.parametrize("codec", [make(24), make(budget=1000)], ids=["rate", "budget"])
def test_damaged_payloads_give_a_picture_or_codec_error_and_no_warning(
    codec: Facet, pictures: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    payload = codec.encode(pictures[0])
    webp = make(budget=1000).encode(pictures[0])
    hostile = [b"\xff", b"\xff" + bytes(10), b"\xff" * 500, bytes(1), bytes(4000), webp + webp, webp + bytes(10**6)]
    for length in (1, 2, 3, 7, 30, 200, 2000, 4500):
        hostile += [start + rng.bytes(length) for start in (b"", b"\xff", b"\xff" + webp[1:20]) for _ in range(4)]
    hostile += [damaged(payload, position) for position in range(0, len(payload), 3)]
    hostile += [damaged(webp, position) for position in range(0, len(webp), 29)]
    hostile += [webp[:length] for length in range(1, len(webp), 41)]
    for candidate in hostile:
        try:
            decoded = codec.decode(candidate)
        except CodecError as error:
            assert "\n" not in str(error)
        else:
            assert (decoded.shape, decoded.dtype) == ((64, 64, 3), np.uint8)
    for refused in (b"", b"\xff", bytes(10_000_000)):
        with pytest.raises(CodecError):
            codec.decode(refused)
    assert capfd.readouterr().err == ""


def test_wrong_settings_and_sizes_are_one_clear_error() -> None:
    with pytest.raises(SettingError, match="tune=none"):
        make(tune="none")
    with pytest.raises(UnsupportedSize, match="64x48"):
        Facet((48, 64), rate=24, bytes=0, tune="ssim", weights="shipped")
    with pytest.raises(UnsupportedSize, match="facebench train facet --size 96"):
        make(side=96)
    with pytest.raises(UnsupportedSize, match="for 64x64, not 96x96"):
        make(side=96, weights=str(shipped_weights("facet-64")))


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    shipped = shipped_weights("facet-64")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(shipped.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="damaged"):
        make(weights=str(cut))
    with pytest.raises(WeightsError, match="no weights file"):
        make(weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match="for 'eigenfaces', not for 'facet'"):
        make(weights=str(shipped_weights("eigenfaces-64")))


@pytest.mark.parametrize(
    "missing", ["ssim.log_step", "ssim.synthesis.mix.weight/scale", "ssim.tables.classes", "linear.odd"]
)
def test_a_weights_file_without_one_of_its_tensors_is_refused(missing: str, tmp_path: Path) -> None:
    whole = load_weights(shipped_weights("facet-64"), "facet")
    path = tmp_path / "part.safetensors"
    save_weights(path, {name: t for name, t in whole.tensors.items() if name != missing}, whole.meta, {})
    with pytest.raises(WeightsError, match="do not hold a facet codec"):
        make(weights=str(path))


def test_tables_that_no_coder_can_use_are_refused(tmp_path: Path) -> None:
    whole = load_weights(shipped_weights("facet-64"), "facet")
    tensors = {**whole.tensors, "ssim.tables.frequencies": whole.tensors["ssim.tables.frequencies"] * 2}
    save_weights(tmp_path / "w.safetensors", tensors, whole.meta, {})
    with pytest.raises(WeightsError, match="do not hold a facet codec"):
        make(weights=str(tmp_path / "w.safetensors"))


def test_shipped_weights_are_small_and_tell_what_they_were_trained_on() -> None:
    codec = make()
    path = shipped_weights("facet-64")
    assert path.stat().st_size <= 12e6
    tensors = load_weights(path, "facet").tensors
    # Decoding needs no analysis, and nothing of the other tunes.
    others = {name.partition(".")[0] for name in tensors} - {"linear", "ssim"}
    unused = sum(t.nbytes for n, t in tensors.items() if n.startswith(("ssim.analysis.", *(f"{o}." for o in others))))
    assert codec.weights_bytes == sum(t.nbytes for t in tensors.values()) - unused
    assert codec.weights_bytes < path.stat().st_size
    assert codec.weights_digest == load_weights(path, "facet").digest
    assert (codec.trained_on.image_set, codec.trained_on.split) == ("celeba", "train")
