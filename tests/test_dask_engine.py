"""Shards on a Dask cluster: the same records, pictures that workers prepare themselves, refusals in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from killing import Command, cluster, comparable

pytest.importorskip("distributed", reason="needs pip install 'facebench[dask]'")

COUNT = 140  # more than one shard
ARGUMENTS = ["--codecs", "jpeg:quality=20,png", "--no-baseline", "--size", "16", "--crop", "full", "--jobs", "1"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noise pictures with masks."""
    folder = tmp_path_factory.mktemp("dask") / "faces"
    (folder / "face_masks").mkdir(parents=True)
    rng = np.random.default_rng(3)
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index:03}.png"), rng.integers(0, 256, (20, 20, 3), np.uint8))
        cv2.imwrite(str(folder / "face_masks" / f"{index:03}.png"), mask)
    return folder


@pytest.fixture(scope="module")
def expected(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The records of the local engine."""
    command = Command([*ARGUMENTS, "--data", f"folder:{faces}"], tmp_path_factory.mktemp("local"))
    command.finish(tries=1)
    return comparable(command.out)


def refused(command: Command) -> str:
    """Run a command that must fail, and return the one line that it says."""
    assert command.start().wait() == 1
    said = command.errors.read_text()
    assert said.startswith("facebench: ") and said.count("\n") == 1, said
    return said


def test_a_cluster_of_this_machine_gives_the_local_engines_records(
    faces: Path, expected: bytes, tmp_path: Path
) -> None:
    command = Command([*ARGUMENTS, "--data", f"folder:{faces}", "--engine", "dask"], tmp_path)
    command.finish(tries=1)
    assert comparable(command.out) == expected


def hiding(*mounts: str) -> list[str]:
    """Return the start of a command that runs with mounts of its own, so that it sees other files, as elsewhere."""
    return ["unshare", "--mount", "sh", "-c", " && ".join([*(f"mount {m}" for m in mounts), 'exec "$0" "$@"'])]


needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="hiding the client's files from workers needs root and unshare",
)


@needs_mounts
def test_workers_elsewhere_prepare_the_pictures_themselves(faces: Path, expected: bytes, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with cluster(tmp_path, 1, hiding(f"-t tmpfs none {cache}")) as parts:
        data = ["--data", f"folder:{faces}", "--engine", "dask", "--scheduler", parts.start()]
        command = Command([*ARGUMENTS, *data], tmp_path)
        command.finish(tries=1)
    assert comparable(command.out) == expected


@needs_mounts
def test_a_worker_with_other_pictures_is_refused(faces: Path, tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other"
    cache.mkdir()
    shutil.copytree(faces, other)
    cv2.imwrite(str(other / "001.png"), np.zeros((20, 20, 3), np.uint8))
    with cluster(tmp_path, 1, hiding(f"-t tmpfs none {cache}", f"--bind {other} {faces}")) as parts:
        data = ["--data", f"folder:{faces}", "--engine", "dask", "--scheduler", parts.start()]
        said = refused(Command([*ARGUMENTS, *data], tmp_path))
    assert "differs from the client's at picture folder:001.png" in said
    assert not (tmp_path / "out").exists()


def test_no_scheduler_is_told_in_one_line(faces: Path, tmp_path: Path) -> None:
    arguments = [*ARGUMENTS, "--data", f"folder:{faces}", "--engine", "dask", "--scheduler"]
    assert "no Dask scheduler answers at tcp://nonsense" in refused(Command([*arguments, "nonsense"], tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # distributed tries for 20 seconds
def test_a_scheduler_that_does_not_answer_is_told_in_one_line(faces: Path, tmp_path: Path) -> None:
    arguments = [*ARGUMENTS, "--data", f"folder:{faces}", "--engine", "dask", "--scheduler"]
    assert "no Dask scheduler answers at" in refused(Command([*arguments, "tcp://127.0.0.1:9"], tmp_path))


def test_a_scheduler_needs_the_dask_engine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "facebench", "run", "--codecs", "png", "--scheduler", "tcp://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "--scheduler is for --engine dask" in done.stderr
