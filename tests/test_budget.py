"""A byte budget: what is chosen fits, nothing better of the codec's own would, and what does not fit says so."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import faulty_codecs
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from facebench import Codec, CodecError, CodecSpec, Setting, SettingError
from facebench.budget import ladder
from facebench.cli import cli
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import serial_engine
from facebench.errors import DataError
from facebench.measure import OK, OVER_BUDGET
from facebench.operating_point import (
    budget_points,
    curve_label,
    label,
    make_codec,
    parse_budgets,
    parse_points,
    with_budgets,
)
from facebench.plan import Plan, plan_metrics, plan_points, with_downscaled
from facebench.plugins import Registry, load_registry
from facebench.report.leaderboard import leaderboard_markdown
from facebench.runner import execute
from facebench.store import Run

SIZE = (32, 32)


class Liar(Codec):
    """Says that it fits any budget, and does not."""

    def __init__(self, size: tuple[int, int], *, bytes: int) -> None:
        super().__init__(size)
        self._bytes = bytes

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        return b"x" * (self._bytes + (image[0, 0, 0] == 0))

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return np.zeros((*self.size, 3), np.uint8)


LIAR = CodecSpec(
    "liar", f"{__name__}:Liar", (Setting("bytes", int, 9, low=0, high=9999),), budget_setting="bytes", version="1"
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return faulty_codecs.registry(LIAR)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> ImageSet:
    """Twelve pictures from flat to noisy, of which the first begins with a black pixel."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(12):
        noise = rng.integers(-10 * index - 1, 10 * index + 2, (*SIZE, 3))
        picture = np.clip(128 + noise, 1, 255).astype(np.uint8)
        if index == 0:
            picture[0, 0] = 0
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
    options = DataOptions(f"folder:{folder}", size=SIZE[0], mask="none")
    return prepare_chosen(choose_source(options, registry), options, registry)


def plan_of(codecs: str, budgets: tuple[int, ...], registry: Registry, images: ImageSet) -> Plan:
    requested = budget_points(codecs, registry, budgets)
    points = plan_points(registry, requested, baseline=False)
    return Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "test")


def measure(plan: Plan) -> Run:
    return execute(plan, serial_engine())


def made(text: str, registry: Registry, size: tuple[int, int] = SIZE) -> Codec:
    (point,) = parse_points(text, registry)
    return make_codec(registry.codecs[point.codec], point, size)


def test_a_budget_in_the_text_of_an_operating_point_is_read_and_named(registry: Registry) -> None:
    (point,) = parse_points("jpeg:headerless=true@128B+downscale", registry)
    spec = registry.codecs["jpeg"]
    assert (point.budget, point.downscale) == (128, True)
    assert label(spec, point) == "jpeg:headerless=true@128B+downscale"
    assert curve_label(spec, point) == "jpeg:headerless=true@budget+downscale"


def test_budgets_multiply_curves_not_operating_points(registry: Registry) -> None:
    spec = registry.codecs["jpeg"]
    points = parse_points("jpeg:quality=5/50:scale=0.5/1", registry)
    found = [label(spec, point) for point in with_budgets(spec, points, (64, 128))]
    assert found == ["jpeg:scale=0.5@64B", "jpeg:scale=0.5@128B", "jpeg@64B", "jpeg@128B"]


@pytest.mark.parametrize("text", ["jpeg:quality=50@128B", "jpeg@0B", "facet:bytes=5@64B", "facet:rate=5@64B"])
def test_a_budget_beside_what_it_chooses_is_refused(text: str, registry: Registry) -> None:
    with pytest.raises(SettingError):
        parse_points(text, registry)


@pytest.mark.parametrize("text", ["", "12,x", "-5", "0", "1.5"])
def test_budgets_that_are_no_numbers_of_bytes_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="--budget"):
        parse_budgets(text)


def test_the_ladder_has_every_quality_and_grows_in_bytes(registry: Registry) -> None:
    assert ladder(registry.codecs["jpeg"], (1.0,)) == tuple(range(1, 101))
    steps = ladder(registry.codecs["eigenfaces"], (1.0,))
    assert steps[0] == 4.0 and steps[-1] == 0.12 and list(steps) == sorted(steps, reverse=True)
    assert ladder(registry.codecs["png"], (1.0,)) == (None,)
    assert all(len(ladder(spec, (1.0, 0.5, 0.25, 0.1))) <= 64 for spec in registry.codecs.values())


def test_the_best_quality_that_fits_is_taken(registry: Registry, images: ImageSet) -> None:
    codec = made("jpeg@700B", registry)
    qualities = [made(f"jpeg:quality={quality}", registry) for quality in range(1, 101)]
    for image in images.images:
        payload = codec.encode(image)
        sizes = np.array([len(other.encode(image)) for other in qualities])
        assert len(payload) <= 700
        assert len(payload) - 1 == sizes[sizes <= 699].max()  # one byte names the quality
        best = qualities[int(np.flatnonzero(sizes <= 699)[-1])]
        np.testing.assert_array_equal(codec.decode(payload), best.decode(best.encode(image)))


def test_a_batch_gives_the_bytes_of_single_pictures(registry: Registry, images: ImageSet) -> None:
    for text in ("jpeg@600B", "jpeg:headerless=true@40B+downscale"):
        codec = made(text, registry)
        payloads = codec.encode_batch(images.images)
        assert payloads == [codec.encode(image) for image in images.images]
        for picture, payload in zip(codec.decode_batch(payloads), payloads, strict=True):
            np.testing.assert_array_equal(picture, codec.decode(payload))


def test_downscaling_fits_what_the_codec_itself_cannot(registry: Registry, images: ImageSet) -> None:
    run = measure(plan_of("jpeg:headerless=true,png", (20,), registry, images))
    first = run.records[run.records.point == "jpeg:headerless=true@20B"]
    assert set(first.status) == {OK, OVER_BUDGET}
    again = measure(with_downscaled(plan_of("jpeg:headerless=true,png", (20,), registry, images), run))
    smaller = again.records[again.records.point == "jpeg:headerless=true@20B+downscale"]
    assert len(smaller) == len(images)
    assert smaller.status.eq(OK).sum() > first.status.eq(OK).sum()
    assert smaller.payload_bytes[smaller.status == OK].max() <= 20
    assert again.manifest["points"]["jpeg:headerless=true@20B+downscale"]["budget"] == 20
    assert not again.manifest["problems"]


def test_what_fits_is_not_downscaled_again(registry: Registry, images: ImageSet) -> None:
    plan = plan_of("jpeg", (4000,), registry, images)
    assert with_downscaled(plan, measure(plan)).points == plan.points


def test_a_codec_that_claims_to_fit_is_not_believed(registry: Registry, images: ImageSet) -> None:
    run = measure(plan_of("liar", (64,), registry, images))
    assert list(run.records.status) == [OVER_BUDGET] + [OK] * (len(images) - 1)
    assert run.records.detail[0] == "65 bytes"
    assert run.records.payload_bytes.max() == 65


def test_facet_keeps_budgets_by_itself(registry: Registry) -> None:
    codec = made("facet@64B", registry, (64, 64))
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 8)
    assert codec.encode(picture) == made("facet:bytes=64", registry, (64, 64)).encode(picture)


def test_a_codec_that_keeps_budgets_by_itself_is_told_of_the_byte_that_names_the_share(
    registry: Registry, images: ImageSet
) -> None:
    for budget in (2, 64):
        payloads = made(f"liar@{budget}B+downscale", registry).encode_batch(images.images[1:])
        assert {len(payload) for payload in payloads} == {budget}
    assert {len(payload) for payload in made("liar@64B", registry).encode_batch(images.images[1:])} == {64}
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    for text, budget in (("jpeg2000:headerless=true", 120), ("jpeg2000", 400)):
        codec = made(f"{text}@{budget}B+downscale", registry, (64, 64))
        payload = codec.encode(noise)
        assert 0.7 * budget < len(payload) <= budget
        assert codec.decode(payload).shape == noise.shape


def test_a_budget_of_the_first_byte_alone_is_exceeded_not_unlimited(registry: Registry) -> None:
    payload = made("facet@1B+downscale", registry, (128, 128)).encode(np.full((128, 128, 3), 90, np.uint8))
    assert 1 < len(payload) < 12


@pytest.mark.parametrize("text", ["jpeg@600B", "jpeg:headerless=true@60B+downscale"])
def test_damaged_payloads_give_an_error_or_a_picture(text: str, registry: Registry, images: ImageSet) -> None:
    codec = made(text, registry)
    payload = codec.encode(images.images[3])
    rng = np.random.default_rng(1)
    damaged = [b"", payload[:1], payload[:-3], b"\xff" + payload[1:], *(rng.bytes(40) for _ in range(50))]
    for data in damaged:
        try:
            picture = codec.decode(data)
        except CodecError:
            continue
        assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8


def test_the_leaderboard_says_what_fits_and_keeps_budgets_off_the_curves(registry: Registry, images: ImageSet) -> None:
    plan = plan_of("jpeg:headerless=true,png", (20, 400), registry, images)
    text = leaderboard_markdown(measure(with_downscaled(plan, measure(plan))))
    assert "## Byte budgets" in text and "## At equal bytes" not in text
    assert "Fits no picture into any of these budgets: png" in text
    row = next(line for line in text.splitlines() if line.startswith("| jpeg:headerless=true "))
    assert " %)" in row.split("|")[2] and " %)" not in row.split("|")[3]


def test_run_tunes_codecs_to_a_budget_and_encode_writes_such_a_file(tmp_path: Path) -> None:
    command = "run --codecs jpeg:headerless=true --budget 30 --limit 4 --jobs 1 --no-baseline --quiet"
    run = CliRunner().invoke(cli, [*shlex.split(command), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "jpeg:headerless=true+downscale" in run.output
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 90, np.uint8))
    for command in (
        ["encode", str(picture), "--codec", "jpeg@500B", "-o", str(tmp_path / "face.bin"), "--quiet"],
        ["decode", str(tmp_path / "face.bin"), "-o", str(tmp_path / "back.png")],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    assert abs(int(cv2.imread(str(tmp_path / "back.png")).mean()) - 90) <= 2


def test_a_metric_can_be_computed_for_the_first_pictures_only(registry: Registry, images: ImageSet) -> None:
    (metric,) = plan_metrics(registry, "pixel:5")
    points = plan_points(registry, parse_points("jpeg", registry), baseline=False)
    plan = Plan(registry, points, frozenset(points), images, (metric,), "cpu", False, "test")
    run = measure(plan)
    assert list(run.records["L1"].notna()) == [True] * 5 + [False] * (len(images) - 5)
    assert "the first 5 pictures only" in run.manifest["metrics"]["L1"]["definition"]
    with pytest.raises(SettingError, match="pixel:N"):
        plan_metrics(registry, "pixel:x")


def test_a_budget_run_is_resumed_into_its_own_folder(tmp_path: Path) -> None:
    command = "run --codecs jpeg:headerless=true --budget 30 --limit 4 --jobs 1 --no-baseline --quiet"
    for _ in range(2):
        done = CliRunner().invoke(cli, [*shlex.split(command), "--out", str(tmp_path / "out")])
        assert done.exit_code == 0, done.output


def test_encode_refuses_to_write_more_than_its_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (64, 64, 3), np.uint8))
    done = CliRunner().invoke(cli, ["encode", str(tmp_path / "noise.png"), "--codec", "jpeg@100B"])
    assert isinstance(done.exception, CodecError) and "does not fit" in str(done.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["noise.png"]


def test_small_real_settings_keep_their_ladder() -> None:
    spec = CodecSpec("x", "x:X", (Setting("step", float, 1e-4, low=1e-5, high=1e-3),), "step", (1e-3, 1e-4, 1e-5))
    rungs = ladder(spec, (1.0,))
    assert (rungs[0], rungs[-1], len(rungs)) == (1e-3, 1e-5, 64)
    words = CodecSpec("x", "x:X", (Setting("word", str, "0"),), "word", tuple(str(n) for n in range(100)))
    assert ladder(words, (1.0, 0.5, 0.25, 0.1))[-1] == "99"


class Zigzag(Codec):
    """Its payloads do not grow at every step, and at one step it fails."""

    def __init__(self, size: tuple[int, int], *, step: int) -> None:
        super().__init__(size)
        self._step = step

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        if self._step == 1:
            raise CodecError("not this one")
        return b"x" * (30 if self._step == 0 else 10 + self._step)

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return np.zeros((*self.size, 3), np.uint8)


def test_where_the_lowest_step_does_not_fit_the_next_ones_may(images: ImageSet) -> None:
    registry = load_registry("")
    setting = Setting("step", int, 0, low=0, high=20)
    spec = CodecSpec("zigzag", f"{__name__}:Zigzag", (setting,), "step", (0, 20), version="1")
    registry.add("codec", registry.codecs, spec, "tests 1")
    assert len(made("zigzag@18B", registry).encode(images.images[0])) == 1 + 10 + 7
    assert len(made("zigzag@5B", registry).encode(images.images[0])) == 1 + 10 + 2  # the smallest that was tried


def test_a_budget_in_the_text_brings_the_baseline_at_that_budget(tmp_path: Path) -> None:
    command = "run --codecs jpeg@700B --limit 3 --jobs 1 --quiet --format csv"
    done = CliRunner().invoke(cli, [*shlex.split(command), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "eigenfaces@700B" in done.output


def test_what_fails_otherwise_does_not_count_as_too_large(registry: Registry, images: ImageSet) -> None:
    text = leaderboard_markdown(measure(plan_of("raisesondark,wrongshape", (20000,), registry, images)))
    assert "Fits no picture" not in text
    assert "encode failed: 2 pictures" in text and "decode failed: 12 pictures" in text
    assert "2 points with failed pictures" in text


def test_limits_of_metrics_are_part_of_the_cache(registry: Registry, images: ImageSet) -> None:
    for first in ("pixel:3,structural", "pixel,structural:3", "pixel:3,default"):
        points = plan_points(registry, parse_points("jpeg:quality=33", registry), baseline=False)
        plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry, first), "cpu", False, "test")
        counts = measure(plan).records[["L1", "1-SSIM"]].notna().sum()
        limited = "1-SSIM" if first == "pixel,structural:3" else "L1"
        assert counts[limited] == 3 and counts.max() == len(images)


def test_encode_does_not_take_a_codecs_word_for_its_own_budget(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    done = CliRunner().invoke(cli, ["encode", str(tmp_path / "grey.png"), "--codec", "facet:bytes=1"])
    assert isinstance(done.exception, CodecError) and "does not fit" in str(done.exception)


@pytest.mark.parametrize("command", [["encode", "nope.png", "--codec", "jpeg"], ["decode", "nope.face"]])
def test_a_missing_file_is_named(command: list[str]) -> None:
    done = CliRunner().invoke(cli, command)
    assert isinstance(done.exception, DataError) and command[1] in str(done.exception)
