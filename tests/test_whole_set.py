"""Metrics over the whole set get it, keep what they make of it, and are computed only when they are chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import faulty_codecs
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from facebench import MetricColumn, MetricSpec, WholeSet
from facebench.cli import cli
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import serial_engine
from facebench.errors import UnknownName
from facebench.operating_point import parse_points
from facebench.paths import kept_array_path
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import Registry, load_registry
from facebench.results_folder import reserved_folder
from facebench.runner import SHARD_PICTURES, execute
from facebench.store import Run, cache_entries, write_run

COUNT = SHARD_PICTURES + 12  # two shards

#: The sets that the metric below was given, as its shards came.
given: list[WholeSet] = []


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None, whole: WholeSet
) -> dict[str, NDArray[np.float64]]:
    """Count the pictures of the set that are as bright as the decoded one or less, itself included."""
    given.append(whole)
    np.testing.assert_array_equal(whole.originals[whole.rows], originals)
    brightness = whole.kept("brightness-1", lambda pictures: pictures.mean(axis=(1, 2, 3)))
    ranks = (brightness[None] <= decoded.mean(axis=(1, 2, 3))[:, None]).sum(axis=1)
    return {"Rank": ranks.astype(np.float64)[None]}


SPEC = MetricSpec("rank", f"{__name__}:score", (MetricColumn("Rank", 1, "place"),), whole_set=True, default=False)


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = load_registry("")
    for spec in faulty_codecs.specs():
        registry.add("codec", registry.codecs, spec, "tests 1")
    registry.add("metric", registry.metrics, SPEC, "tests 1")
    return registry


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> ImageSet:
    """Pictures of 16 pixels with masks and identities; every tenth begins with a dark pixel."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "face_masks").mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        picture = rng.integers(60, 256, (16, 16, 3), np.uint8)
        picture[0, 0] = 0 if index % 10 == 0 else 200
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
        cv2.imwrite(str(folder / "face_masks" / f"{index:03}.png"), np.full((16, 16), 255, np.uint8))
    options = DataOptions(f"folder:{folder}", size=16)
    images = prepare_chosen(choose_source(options, registry), options, registry)
    return replace(images, identities=tuple(f"person {index // 2}" for index in range(COUNT)))


def plan(registry: Registry, images: ImageSet, metrics: str | None, codecs: str = "zlib") -> Plan:
    points = plan_points(registry, parse_points(codecs, registry), baseline=False)
    chosen = plan_metrics(registry, metrics)
    return Plan(registry, points, frozenset(points), images, chosen, "cpu", False, "test")


def measure(registry: Registry, images: ImageSet, metrics: str | None, codecs: str = "zlib") -> tuple[Run, int]:
    """Return the run and how many shards of it were measured, not cached."""
    seen: list[bool] = []
    engine = serial_engine()
    run = execute(plan(registry, images, metrics, codecs), engine, lambda done, total, cached: seen.append(cached))
    return run, seen.count(False)


def test_a_whole_set_metric_gets_all_pictures_of_the_run(registry: Registry, images: ImageSet) -> None:
    given.clear()
    scored = images.head(SHARD_PICTURES + 5)
    run, _ = measure(registry, scored, "rank")
    assert [len(whole.originals) for whole in given] == [len(scored)] * 2
    assert sorted(np.concatenate([whole.rows for whole in given])) == list(range(len(scored)))
    assert {whole.digest for whole in given} == {scored.digest}
    assert {whole.identities for whole in given} == {scored.identities}
    whole_rows = run.records[run.records["mask"] == "none"]
    ranks = scored.images.mean(axis=(1, 2, 3)).argsort(kind="stable").argsort() + 1
    np.testing.assert_allclose(whole_rows["Rank"], ranks, atol=1)  # equally bright ones share the higher rank


def test_it_is_asked_about_decoded_pictures_only(registry: Registry, images: ImageSet) -> None:
    given.clear()
    run, _ = measure(registry, images, "rank", "raisesondark")
    dark = np.arange(COUNT) % 10 == 0
    assert sorted(np.concatenate([whole.rows for whole in given])) == np.flatnonzero(~dark).tolist()
    whole_rows = run.records[run.records["mask"] == "none"]
    assert whole_rows["Rank"].isna().tolist() == dark.tolist()


def test_a_metric_without_a_value_for_the_face_is_missing_there_and_only_there(
    registry: Registry, images: ImageSet
) -> None:
    records = measure(registry, images, "pixel,rank")[0].records.set_index("mask")
    assert records.loc["face", "Rank"].isna().all()
    assert records.loc["none", "Rank"].notna().all()
    assert records.loc["face", "L1"].notna().all()


def test_shards_are_cached_for_the_metrics_chosen_and_for_the_whole_set(registry: Registry, images: ImageSet) -> None:
    codec = "jpeg:quality=41"
    assert measure(registry, images, "pixel", codec)[1] == 2
    assert measure(registry, images, "pixel,rank", codec)[1] == 2
    assert measure(registry, images, "pixel,rank", codec)[1] == 0
    first = images.head(SHARD_PICTURES)
    assert measure(registry, first, "pixel", codec)[1] == 0
    assert measure(registry, first, "pixel,rank", codec)[1] == 1  # the same pictures among fewer
    renamed = replace(images, identities=("nobody",) * COUNT)
    assert measure(registry, renamed, "pixel,rank", codec)[1] == 2


def test_what_is_kept_is_made_once_per_set_and_again_if_it_is_damaged(images: ImageSet) -> None:
    made: list[int] = []

    def make(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        made.append(len(pictures))
        return np.asarray(pictures.mean(axis=(1, 2, 3)), np.float64)

    def kept(digest: str) -> NDArray[np.float64]:
        return WholeSet(images.images, digest, None, np.arange(3)).kept("mean-1", make)

    first, again = kept("one"), kept("one")
    np.testing.assert_array_equal(first, again)
    assert not first.flags.writeable and not again.flags.writeable
    assert made == [COUNT]
    kept("two")
    assert made == [COUNT] * 2
    file = kept_array_path("one", "mean-1")
    del again
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(kept("one"), first)
    assert made == [COUNT] * 3
    assert {file, kept_array_path("two", "mean-1")} <= {entry.path for entry in cache_entries()}


def test_two_processes_that_keep_the_same_array_do_not_harm_each_other(images: ImageSet) -> None:
    whole = WholeSet(images.images, "raced", None, np.arange(3))

    def overtaken(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        whole.kept("mean-1", lambda pictures: pictures.mean(axis=(1, 2, 3)))
        assert len(list(kept_array_path("raced", "mean-1").parent.glob("*raced*"))) == 1  # nothing half-written
        return np.asarray(pictures.mean(axis=(1, 2, 3)), np.float64)

    first = whole.kept("mean-1", overtaken)
    np.testing.assert_array_equal(whole.kept("mean-1", overtaken), first)


def test_slow_metrics_are_left_out_until_they_are_named(registry: Registry) -> None:
    def names(text: str | None) -> list[str]:
        return [metric.name for metric in plan_metrics(registry, text)]

    assert names(None) == names("default") == ["structural", "pixel"]
    assert names("default, rank") == ["structural", "pixel", "rank"]
    assert names("rank,pixel,rank") == ["rank", "pixel"]
    with pytest.raises(UnknownName, match="did you mean 'pixel'"):
        plan_metrics(registry, "default,pixels")


def test_a_run_that_lacks_metrics_of_another_does_not_take_its_folder(
    registry: Registry, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = images.head(4)
    both, fewer = plan(registry, small, "pixel,rank"), plan(registry, small, "pixel")

    def free_folder(of: Plan) -> Path:
        with reserved_folder(None, of, False) as chosen:
            return chosen

    folder = free_folder(both)
    write_run(folder, execute(both, serial_engine()), "")
    assert free_folder(both) == folder
    assert free_folder(fewer) != folder
    write_run(folder, execute(fewer, serial_engine()), "")
    assert free_folder(both) == folder  # more metrics of the same may replace fewer


def test_run_takes_the_metrics_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    arguments = [
        "run",
        "--codecs",
        "png",
        "--limit",
        "3",
        "--no-baseline",
        "--jobs",
        "1",
        "--quiet",
        "--data",
        "samples",
    ]
    result = CliRunner().invoke(cli, [*arguments, "--metrics", "pixel", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert list(json.loads((tmp_path / "manifest.json").read_text())["metrics"]) == ["L1", "L2", "PSNR"]
    with pytest.raises(UnknownName, match="no metric 'nosuch'"):
        CliRunner().invoke(cli, [*arguments, "--metrics", "nosuch"], catch_exceptions=False)
