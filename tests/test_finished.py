"""A finished run answers the same command again without measuring, and only the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

RUN = ["run", "--codecs", "png", "--no-baseline", "--size", "16", "--crop", "full", "--jobs", "1"]
RUN += ["--mask", "annotation"]
AGAIN = "finished before, nothing has changed since"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((16, 16, 3), 40 * index, np.uint8))
    return folder


def facebench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FACEBENCH_CACHE": str(folder / "cache"), "FACEBENCH_PLUGINS": ""}
    command = [sys.executable, "-m", "facebench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=True)


def test_the_same_command_prints_the_same_table_and_writes_nothing(faces: Path, tmp_path: Path) -> None:
    first = facebench(tmp_path, *RUN, "--data", f"folder:{faces}")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*")}
    again = facebench(tmp_path, *RUN, "--data", f"folder:{faces}", "--quiet")
    assert again.stdout == first.stdout
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*")} == before
    assert AGAIN in facebench(tmp_path, *RUN, "--data", f"folder:{faces}").stderr
    facebench(tmp_path, "cache", "clean")
    assert AGAIN not in facebench(tmp_path, *RUN, "--data", f"folder:{faces}").stderr


def test_whatever_changes_is_measured(faces: Path, tmp_path: Path) -> None:
    def says_finished(*more: str) -> bool:
        return AGAIN in facebench(tmp_path, *RUN, "--data", f"folder:{faces}", *more).stderr

    assert not says_finished()
    assert says_finished("--jobs", "2")  # changes no record
    assert not says_finished("--limit", "2")
    assert says_finished()
    os.utime(faces / "1.png")
    assert not says_finished()
    (faces / "link").symlink_to(faces / "nothing")
    (faces / "loop").symlink_to(faces.parent)
    assert not says_finished()
    assert says_finished()
    records = tmp_path / "results" / "folder-16-full" / "records.parquet"
    records.write_bytes(records.read_bytes()[:-1])
    assert not says_finished()
    manifest = records.with_name("manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text())))
    assert not says_finished()
    assert says_finished()
    masks = tmp_path / "CelebAMask-HQ-mask-anno" / "0"
    masks.mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(masks / f"{index:05}_skin.png"), np.full((16, 16), 255, np.uint8))
    assert not says_finished()
    cv2.imwrite(str(faces / "0.png"), np.full((16, 16, 3), 200, np.uint8))
    assert not says_finished()


def test_a_table_that_cost_added_to_is_printed_as_it_is(faces: Path, tmp_path: Path) -> None:
    facebench(tmp_path, *RUN, "--data", f"folder:{faces}", "--out", "out")
    leaderboard = tmp_path / "out" / "leaderboard.md"
    leaderboard.write_text(leaderboard.read_text() + "\nmore\n")
    (tmp_path / "out" / "rate-distortion.svg").write_text("<svg/>")
    again = facebench(tmp_path, *RUN, "--data", f"folder:{faces}", "--out", "out")
    assert AGAIN in again.stderr
    assert again.stdout.endswith("\nmore\n")
