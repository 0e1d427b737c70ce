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


def test_whatever_changes_is_measured(faces: Path, tmp_path: Path) -> None:
    def says_finished(*more: str) -> bool:
        return AGAIN in facebench(tmp_path, *RUN, "--data", f"folder:{faces}", "--out", "out", *more).stderr

    assert not says_finished()
    assert says_finished("--jobs", "2")  # changes no record
    assert not says_finished("--limit", "2", "--overwrite")
    assert not says_finished("--overwrite")
    assert says_finished()
    os.utime(faces / "1.png")
    assert not says_finished()
    records = tmp_path / "out" / "records.parquet"
    whole = records.read_bytes()
    records.write_bytes(whole[:-1])
    assert not says_finished()
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text())))
    assert not says_finished()
    cv2.imwrite(str(faces / "0.png"), np.full((16, 16, 3), 200, np.uint8))
    assert not says_finished("--overwrite")
