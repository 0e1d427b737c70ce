"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest


def facebench(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facebench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "FACEBENCH_PLUGINS": "", "FACEBENCH_DATA": "", **environment},
    )


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("main")
    return facebench("run", "--codecs", "cvae,dcgan,jpeg", "--limit", "24", cwd=folder), folder


def test_the_main_job_prints_a_leaderboard_and_writes_it(main_job) -> None:
    result, folder = main_job
    assert result.returncode == 0, result.stderr
    for name in ("cvae", "dcgan", "jpeg:quality=85", "eigenfaces"):
        assert name in result.stdout
    for name in ("cvae:step=3+Mask", "jpeg:quality=85+Mask"):
        assert name in result.stdout
    assert "synthetic" in result.stdout
    assert "synthetic" in result.stderr
    out = folder / "results" / "samples-64"
    assert (out / "leaderboard.md").read_text().strip() == result.stdout.strip()
    records = pd.read_parquet(out / "records.parquet")
    assert set(records.status) == {"ok"}
    assert json.loads((out / "manifest.json").read_text())["image_set"]["synthetic"] is True


def test_the_same_command_again_gives_the_same_table_from_the_cache(main_job) -> None:
    first, folder = main_job
    again = facebench("run", "--codecs", "cvae,dcgan,jpeg", "--limit", "24", cwd=folder)
    changing = ("- run:", "- code:")
    quiet = facebench("run", "--codecs", "cvae,dcgan,jpeg", "--limit", "24", "--quiet", cwd=folder)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    keep = [[line for line in r.stdout.splitlines() if not line.startswith(changing)] for r in (first, again)]
    assert keep[0] == keep[1]


def test_csv_and_json_are_tables_and_another_run_gets_a_folder_of_its_own(main_job) -> None:
    _, folder = main_job
    result = facebench("run", "--codecs", "jpeg", "--limit", "8", "--format", "json", "--quiet", cwd=folder)
    assert result.returncode == 0
    assert result.stderr == ""
    assert any(row["point"] == "jpeg:quality=85" for row in json.loads(result.stdout)["rows"])
    assert (folder / "results" / "samples-64-2" / "manifest.json").is_file()
    result = facebench("leaderboard", "results/samples-64", "--format", "csv", cwd=folder)
    assert result.stdout.startswith("rank,point,codec,curve,mask,")


def test_runs_on_other_pictures_are_not_merged(main_job) -> None:
    _, folder = main_job
    facebench("run", "--codecs", "jpeg", "--limit", "8", "--quiet", "--out", "other", cwd=folder)
    result = facebench("leaderboard", "results/samples-64", "other", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "facebench:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--codecs", "jepg"], "did you mean 'jpeg'"),
        (["run", "--codecs", "jpeg:qualty=3"], "did you mean 'quality'"),
        (["run", "--codecs", "jpeg:quality=300"], "out of range"),
        (["run", "--codecs", "jpeg", "--data", "/nowhere"], "no file or folder"),
        (["run", "--codecs", "jpeg", "--mask", "fase"], "no masker 'fase'"),
        (["run", "--codecs", "cvae:weights=nope.safetensors", "--limit", "4", "--no-baseline"], "no weights file"),
        (["leaderboard", "/nowhere"], "no finished run"),
        (["train", "jpg"], "did you mean 'jpeg'"),
        (["train", "png"], "nothing to train"),
        (["train", "cvae", "--recipe", "pape", "--size", "16"], "no recipe 'pape' of cvae: use one of flat, paper"),
        (["decode", "/dev/null"], "not written by"),
        (["encode", "/nowhere.png", "--codec", "jpeg"], "nowhere.png"),
        (["cache", "limit", "much"], "500MB"),
        (["rum"], "did you mean 'run'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = facebench(*arguments, cwd=tmp_path)
    assert words in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert result.returncode != 0


def test_encode_and_decode_of_a_single_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.uniform(0, 255, (5, 5, 3)).astype(np.float32), (120, 90)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    result = facebench("encode", "face.png", "--codec", "cvae:step=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "face.png.face").stat().st_size < 300
    assert facebench("decode", "face.png.face", "-o", "back.png", cwd=tmp_path).returncode == 0
    assert cv2.imread(str(tmp_path / "back.png")).shape == (64, 64, 3)
    data = (tmp_path / "face.png.face").read_bytes()
    (tmp_path / "cut.face").write_bytes(data[:12])
    result = facebench("decode", "cut.face", cwd=tmp_path)
    assert result.returncode == 1
    assert "cut.face is cut short" in result.stderr
    assert not (tmp_path / "cut.face.png").exists()
    assert cv2.imread(str(tmp_path / "face.png")).shape == (90, 120, 3)


def test_an_encoded_file_cannot_make_decode_read_other_files(tmp_path: Path) -> None:
    from facebench.container import FaceFile

    (tmp_path / "x.face").write_bytes(FaceFile('cvae:weights="/etc/passwd"', (64, 64), None, b"x").pack())
    result = facebench("decode", "x.face", cwd=tmp_path)
    assert result.returncode == 1
    assert "--codec" in result.stderr


def test_another_runs_folder_is_not_overwritten_unless_asked(main_job) -> None:
    _, folder = main_job
    before = (folder / "results" / "samples-64" / "manifest.json").read_bytes()
    arguments = ["run", "--codecs", "png", "--limit", "4", "--no-baseline", "--out", "results/samples-64"]
    result = facebench(*arguments, cwd=folder)
    assert result.returncode == 1
    assert "--overwrite" in result.stderr
    assert (folder / "results" / "samples-64" / "manifest.json").read_bytes() == before


def test_listing_commands_name_what_there_is() -> None:
    assert "eigenfaces" in facebench("codecs").stdout
    assert "jpeg:quality=" in facebench("codecs", "jpeg").stdout
    metrics = facebench("metrics").stdout
    for name in ("1-SSIM", "1-MS-SSIM", "L1", "L2", "PSNR", "bytes", "bpp", "ratio"):
        assert f"{name} (version " in metrics
    data = facebench("data").stdout
    assert "digest" in data
    assert "non-commercial" in data


def test_the_cache_can_be_listed_limited_and_cleaned(tmp_path: Path) -> None:
    cache = {"FACEBENCH_CACHE": str(tmp_path / "cache")}
    facebench("run", "--codecs", "jpeg", "--limit", "4", "--no-baseline", cwd=tmp_path, **cache)
    assert "1 x shard" in facebench("cache", "list", **cache).stdout
    assert "removed 0" in facebench("cache", "limit", "1GB", **cache).stdout
    assert "removed 3" in facebench("cache", "clean", **cache).stdout
    assert "shard" not in facebench("cache", "list", **cache).stdout


def test_training_from_the_command_line_gives_a_usable_codec(tmp_path: Path) -> None:
    arguments = ["train", "cvae", "--size", "16", "--epochs", "1", "--out", "w.safetensors", "--device", "cpu"]
    result = facebench(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    card = json.loads((tmp_path / "w.json").read_text())
    assert card["command"].startswith("facebench train cvae")
    codec = 'cvae:weights="w.safetensors"'
    result = facebench("run", "--codecs", codec, "--size", "16", "--limit", "8", "--no-baseline", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "trained on" in result.stdout.lower()


@pytest.mark.slow
def test_a_run_killed_with_kill_9_resumes_to_the_undisturbed_result(tmp_path: Path) -> None:
    """Killed at random moments, the same command ends with the same records but for times."""
    rng = np.random.default_rng(0)
    command = [sys.executable, "-m", "facebench", "run", "--codecs", "jpeg:quality=10/20/30/40/50/60", "--quiet"]
    command += ["--no-baseline", "--out"]
    environment = {**os.environ, "FACEBENCH_CACHE": str(tmp_path / "whole")}
    subprocess.run([*command, str(tmp_path / "a")], check=True, env=environment, stdout=subprocess.DEVNULL)
    environment["FACEBENCH_CACHE"] = str(tmp_path / "killed")
    for _ in range(4):
        process = subprocess.Popen([*command, str(tmp_path / "b")], env=environment, stdout=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(1, 4)))
        process.kill()
        process.wait()
    subprocess.run([*command, str(tmp_path / "b")], check=True, env=environment, stdout=subprocess.DEVNULL)
    drop = ["encode_seconds", "decode_seconds"]
    whole, resumed = (pd.read_parquet(tmp_path / name / "records.parquet").drop(columns=drop) for name in "ab")
    assert whole.equals(resumed)
