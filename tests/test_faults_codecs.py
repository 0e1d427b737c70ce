"""Codecs that crash, hang, leak, fork or lie harm their own rows only: each is really run, on two workers."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import faulty_codecs
import numpy as np
import pytest

from facebench import memory
from facebench.child import Isolation
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import local_engine
from facebench.measure import CRASHED, DECODE_FAILED, OK
from facebench.operating_point import parse_points
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import Registry
from facebench.runner import ProgressCallback, execute
from facebench.store import Run

COUNT = 3


@pytest.fixture(scope="module")
def registry() -> Registry:
    return faulty_codecs.registry()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> ImageSet:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(8)
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 256, (16, 16, 3), np.uint8))
    options = DataOptions(f"folder:{folder}", size=16, mask="none")
    return prepare_chosen(choose_source(options, registry), options, registry)


def measure(
    codecs: str,
    registry: Registry,
    images: ImageSet,
    isolation: Isolation,
    progress: ProgressCallback = lambda done, total, cached: None,
) -> Run:
    points = plan_points(registry, parse_points(codecs, registry), baseline=False)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "test")
    return execute(plan, local_engine(2, isolation), progress)


FAULTS = [
    ("segfaults", CRASHED, "while encoding: it was killed by SIGSEGV"),
    ("kills", CRASHED, "while decoding or scoring: it exited with status 9"),
    ("leavesdaemons", CRASHED, "while encoding: it was killed by SIGKILL"),
    ("closesall", CRASHED, "while encoding: it exited with status 0"),
    ("interrupts", CRASHED, "while decoding or scoring: it raised KeyboardInterrupt"),
    ("returnsnan", DECODE_FAILED, "decode returned float64"),
    ("raisesoneway", DECODE_FAILED, "one way"),
    ("leavesforks", OK, ""),
    ("forkstwice", OK, ""),
    ("readonly", OK, ""),
    ("notcontiguous", OK, ""),
]


@pytest.fixture(scope="module")
def together(registry: Registry, images: ImageSet) -> Run:
    """All of these codecs, and one that behaves, in one run."""
    before = memory.children(os.getpid())  # of other tests: multiprocessing's resource tracker
    run = measure(",".join([*(codec for codec, _, _ in FAULTS), "zlib"]), registry, images, Isolation(60))
    assert memory.children(os.getpid()) == before
    return run


@pytest.mark.parametrize(("codec", "status", "told"), FAULTS)
def test_a_fault_is_marked_in_the_codecs_own_rows_and_told_in_one_line(
    together: Run, codec: str, status: str, told: str
) -> None:
    rows = together.records[together.records.codec == codec]
    assert list(rows.status) == [status] * COUNT
    assert all(told in detail for detail in rows.detail)
    problems = [line for line in together.manifest["problems"] if line.startswith(codec)]
    assert len(problems) == (status != OK)
    assert not any("\n" in line for line in problems)
    if status == OK:
        assert (rows["L1"] == 0).all()


def test_a_codec_that_behaves_is_not_harmed_by_those_beside_it(together: Run) -> None:
    rows = together.records[together.records.codec == "zlib"]
    assert list(rows.status) == [OK] * COUNT
    assert (rows["L1"] == 0).all()


@pytest.mark.parametrize(
    ("codec", "told"),
    [
        ("hangs", "while decoding or scoring: it took more than 6 seconds (--time-limit)"),
        ("hangswiththelock", "while encoding: it took more than 6 seconds (--time-limit)"),
        ("hangswhenmade", "while it was made: it took more than 6 seconds (--time-limit)"),
    ],
)
def test_a_codec_that_hangs_is_ended_at_the_time_limit(
    registry: Registry, images: ImageSet, codec: str, told: str
) -> None:
    run = measure(f"{codec},zlib", registry, images, Isolation(6))
    assert any(told in line for line in run.manifest["problems"])
    assert set(run.records[run.records.codec == codec].status) != {OK}
    assert set(run.records[run.records.codec == "zlib"].status) == {OK}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched on Linux only")
def test_a_codec_that_leaks_is_ended_at_the_memory_limit(registry: Registry, images: ImageSet) -> None:
    run = measure("leaks,zlib", registry, images, Isolation(60, 250_000_000))
    rows = run.records[run.records.codec == "leaks"]
    assert list(rows.status) == [CRASHED] * COUNT
    assert "it took more than 250 MB of memory (--memory-limit)" in rows.detail.iloc[0]
    assert set(run.records[run.records.codec == "zlib"].status) == {OK}


def test_what_a_codec_prints_stays_out_of_the_table(
    registry: Registry, images: ImageSet, capfd: pytest.CaptureFixture[str]
) -> None:
    measure("printsnoise", registry, images, Isolation(60))
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("NOISE ON STDOUT") == 2 * COUNT


def test_a_crashed_shard_is_tried_again_by_the_next_run(registry: Registry, images: ImageSet) -> None:
    cached: list[bool] = []
    for _ in range(2):
        measure(
            "segfaults,zlib", registry, images.head(2), Isolation(60), lambda done, total, found: cached.append(found)
        )
    assert cached.count(False) == 3  # both, then the crashed one again
    assert cached.count(True) == 1
