"""A wheel brings everything that a user needs: code, weights, tables, samples and templates."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="building a wheel needs hatchling (pip install '.[test]')")
ROOT = Path(__file__).parents[1]


def test_the_wheel_has_every_tracked_file_of_both_packages(tmp_path: Path) -> None:
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "facebench", "codecs/facebench_codecs"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    missing = {name.removeprefix("codecs/") for name in tracked} - names
    assert not missing
    for part in ("weights/cvae-flat-64.safetensors", "weights/eigenfaces-64.safetensors", "tables/jpeg.safetensors"):
        assert f"facebench_codecs/{part}" in names
    assert any(name.startswith("facebench/data/samples/") and name.endswith(".png") for name in names)
    assert wheel.stat().st_size < 80e6
    assert not any(name.startswith(("tests/", "plugins/")) for name in names)
