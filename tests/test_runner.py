"""A run measures what it should, keeps faults to the codec at fault, and resumes."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import cv2
import faulty_codecs
import numpy as np
import pytest

from facebench.child import Isolation
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import Engine, local_engine, serial_engine
from facebench.errors import CodecError
from facebench.measure import CRASHED, DECODE_FAILED, ENCODE_FAILED, OK
from facebench.operating_point import parse_points
from facebench.paths import cache_dir
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import Registry
from facebench.runner import execute
from facebench.store import Run

COUNT = 150  # more than one shard


@pytest.fixture(scope="module")
def registry() -> Registry:
    return faulty_codecs.registry()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> ImageSet:
    """Noise pictures of 16 pixels with masks; every tenth begins with a dark pixel."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "face_masks").mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        picture = rng.integers(60, 256, (16, 16, 3), np.uint8)
        picture[0, 0] = 0 if index % 10 == 0 else 200
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, 4:12] = 255
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
        cv2.imwrite(str(folder / "face_masks" / f"{index:03}.png"), mask)
    options = DataOptions(f"folder:{folder}", size=16)
    return prepare_chosen(choose_source(options, registry), options, registry)


def measure(
    codecs: str, registry: Registry, images: ImageSet, engine: Engine | None = None, sealed: bool = False
) -> Run:
    points = plan_points(registry, parse_points(codecs, registry), baseline=False)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", sealed, "test")
    return execute(plan, engine or serial_engine())


def statuses(run: Run, point: str) -> list[str]:
    return list(run.records[(run.records.point == point) & (run.records["mask"] == "none")].status)


def test_records_hold_the_payloads_own_size_and_exact_scores(registry: Registry, images: ImageSet) -> None:
    run = measure("zlib", registry, images)
    whole = run.records[run.records["mask"] == "none"]
    expected = [len(faulty_codecs.Zlib((16, 16)).encode(image)) for image in images.images]
    assert list(whole.payload_bytes) == expected
    assert list(whole.bits) == [8 * size for size in expected]
    assert (whole["L1"] == 0).all()
    assert len(run.records) == 2 * COUNT


def test_masked_rows_score_face_pixels_only(registry: Registry, images: ImageSet) -> None:
    run = measure("jpeg:quality=5", registry, images)
    rows = run.records.set_index(["picture", "mask"])
    from facebench.operating_point import make_codec

    codec = make_codec(registry.codecs["jpeg"], parse_points("jpeg:quality=5", registry)[0], (16, 16))
    picture = images.images[3]
    difference = np.abs(codec.decode(codec.encode(picture)) / 255.0 - picture / 255.0)
    assert rows.loc[("folder:003.png", "none"), "L1"] == pytest.approx(difference.mean(), abs=1e-6)
    assert rows.loc[("folder:003.png", "face"), "L1"] == pytest.approx(difference[4:12, 4:12].mean(), abs=1e-6)


def test_a_codec_that_raises_spoils_only_the_pictures_it_raises_on(registry: Registry, images: ImageSet) -> None:
    run = measure("raisesondark,zlib", registry, images)
    assert statuses(run, "raisesondark") == [ENCODE_FAILED if i % 10 == 0 else OK for i in range(COUNT)]
    failed = run.records[run.records.status == ENCODE_FAILED]
    assert set(failed.detail) == {"RuntimeError: too dark for me"}
    assert failed["1-SSIM"].isna().all()
    assert statuses(run, "zlib") == [OK] * COUNT


@pytest.mark.parametrize(
    ("codec", "status", "word"),
    [
        ("wrongshape", DECODE_FAILED, "(8, 8, 3)"),
        ("wrongtype", DECODE_FAILED, "float32"),
        ("quits", DECODE_FAILED, "SystemExit"),
        ("lyingbits", ENCODE_FAILED, "claims 8 bits"),
    ],
)
def test_a_codec_that_breaks_the_contract_is_named_and_marked(
    registry: Registry, images: ImageSet, codec: str, status: str, word: str
) -> None:
    run = measure(codec, registry, images)
    assert statuses(run, codec) == [status] * COUNT
    assert all(word in detail for detail in run.records.detail)


def test_a_codec_that_cannot_be_made_spoils_its_rows_or_ends_a_run_of_its_own(
    registry: Registry, images: ImageSet
) -> None:
    run = measure("unmade,zlib", registry, images)
    assert statuses(run, "unmade") == [ENCODE_FAILED] * COUNT
    assert statuses(run, "zlib") == [OK] * COUNT
    assert any("unmade" in problem and "no licence" in problem for problem in run.manifest["problems"])
    with pytest.raises(CodecError, match="no licence"):
        measure("unmade", registry, images)


def test_a_short_batch_is_done_again_one_by_one(registry: Registry, images: ImageSet) -> None:
    assert statuses(measure("shortbatch", registry, images), "shortbatch") == [OK] * COUNT


def test_a_codec_that_kills_its_process_harms_no_other(registry: Registry, images: ImageSet) -> None:
    run = measure("zlib,kills,jpeg", registry, images, local_engine(2, Isolation()))
    assert statuses(run, "kills") == [CRASHED] * COUNT
    assert statuses(run, "zlib") == [OK] * COUNT
    assert statuses(run, "jpeg:quality=85") == [OK] * COUNT


def test_every_engine_gives_the_same_records(registry: Registry, images: ImageSet) -> None:
    small = images.head(40)
    cache_blind = ["encode_seconds", "decode_seconds"]
    serial = measure("jpeg:quality=20", registry, small).records.drop(columns=cache_blind)
    sealed = measure("jpeg:quality=20", registry, small, local_engine(1, Isolation()), sealed=True).records.drop(
        columns=cache_blind
    )
    assert serial.equals(sealed)


def test_finished_shards_are_not_measured_again(
    registry: Registry, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure("jpeg:quality=33", registry, images)

    def refuse(*args: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("facebench.grid.encode_shard", refuse)
    again = measure("jpeg:quality=33", registry, images)
    assert first.records.equals(again.records)


def test_an_interrupted_run_goes_on_with_the_shards_it_lacks(registry: Registry, images: ImageSet) -> None:
    points = plan_points(registry, parse_points("jpeg:quality=44/45", registry), baseline=False)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "test")

    def interrupt(done: int, total: int, cached: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, serial_engine(), interrupt)
    seen: list[tuple[int, bool]] = []
    run = execute(plan, serial_engine(), lambda done, total, cached: seen.append((done, cached)))
    kept = sum(done for done, cached in seen if cached)
    assert kept in (128, COUNT - 128)  # the one shard that was finished
    assert sum(done for done, cached in seen if not cached) == 2 * COUNT - kept
    assert set(run.records.status) == {OK}


def test_a_damaged_cached_shard_is_measured_again(registry: Registry, images: ImageSet) -> None:
    before = set((cache_dir() / "shards").rglob("*.shard"))
    first = measure("jpeg:quality=55", registry, images)
    for file in set((cache_dir() / "shards").rglob("*.shard")) - before:
        file.write_bytes(file.read_bytes()[:100])
    again = measure("jpeg:quality=55", registry, images)
    drop = ["encode_seconds", "decode_seconds"]
    assert first.records.drop(columns=drop).equals(again.records.drop(columns=drop))


def test_the_baseline_joins_every_run_with_its_sweep(registry: Registry) -> None:
    points = plan_points(registry, parse_points("jpeg", registry), baseline=True)
    assert list(points)[0] == "jpeg:quality=85"
    assert sum(name.startswith("eigenfaces") for name in points) == len(registry.codecs["eigenfaces"].sweep)


def test_a_baseline_without_weights_for_the_size_is_left_out_with_the_reason(
    registry: Registry, images: ImageSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEBENCH_WEIGHTS", str(tmp_path))
    points = plan_points(registry, parse_points("jpeg:quality=60", registry), baseline=True)
    requested = frozenset({"jpeg:quality=60"})
    plan = Plan(registry, points, requested, images.head(5), plan_metrics(registry), "cpu", False, "test")
    run = execute(plan, serial_engine())
    assert list(run.manifest["points"]) == ["jpeg:quality=60"]
    assert any("facebench train eigenfaces --size 16" in problem for problem in run.manifest["problems"])


def test_the_manifest_traces_each_figure(registry: Registry, images: ImageSet) -> None:
    manifest = measure("jpeg", registry, images).manifest
    json.dumps(manifest)
    assert manifest["image_set"]["digest"] == images.digest
    assert set(manifest["metrics"]) == {"1-SSIM", "1-MS-SSIM", "L1", "L2", "PSNR"}
    assert all(m["definition"] and m["version"] >= 1 for m in manifest["metrics"].values())
    point = manifest["points"]["jpeg:quality=85"]
    assert point["settings"]["quality"] == 85
    assert point["version"]
    assert {"cpu", "cores", "python", "packages"} <= set(manifest["machine"])


def test_the_digest_follows_pixels_masks_and_preprocessing(
    images: ImageSet, registry: Registry, tmp_path: Path
) -> None:
    assert images.head(COUNT - 1).digest != images.digest
    assert images.with_masks(None, None, "none", "").digest != images.digest
    for name, change in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        picture = np.full((32, 32, 3), 100, np.uint8)
        picture[0, 0, 0] += change
        cv2.imwrite(str(tmp_path / name / "x.png"), picture)

    def digest(folder: str, **changes: object) -> str:
        options = DataOptions(f"folder:{tmp_path / folder}", **{"size": 32, "mask": "none", **changes})  # type: ignore[arg-type]
        return prepare_chosen(choose_source(options, registry), options, registry).digest

    assert digest("a") == digest("a")
    assert (
        len({digest("a"), digest("b"), digest("a", size=16), digest("a", filter="bicubic"), digest("a", crop="full")})
        == 5
    )


def test_clock_jumps_change_nothing(registry: Registry, images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measure("jpeg:quality=70", registry, images).records
    day, real = 86_400.0, time.time
    jumps = itertools.cycle([0, 365 * day, -3650 * day, -day / 2])
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    shards = list((cache_dir() / "shards").rglob("*.shard"))
    for file, then in zip(shards, itertools.cycle([0, 4e9]), strict=False):  # 1970 and 2096
        os.utime(file, (then, then))
    assert measure("jpeg:quality=70", registry, images).records.equals(expected)  # from the cache
    for file in shards:
        file.unlink()
    drop = ["encode_seconds", "decode_seconds"]
    again = measure("jpeg:quality=70", registry, images, local_engine(2, Isolation(60))).records
    assert again.drop(columns=drop).equals(expected.drop(columns=drop))
    assert (again["encode_seconds"] >= 0).all()
