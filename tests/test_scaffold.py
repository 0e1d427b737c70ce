"""A new plugin is a project that works as written; a bad name writes nothing."""

from __future__ import annotations

import importlib
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

from facebench.cli.new_plugin import new_plugin_command
from facebench.errors import PluginError
from facebench.scaffold import new_plugin
from facebench.testing import check_codec


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_project_has_its_parts_and_no_placeholder(tmp_path: Path) -> None:
    folder = new_plugin("levels", tmp_path / "not" / "yet" / "there")
    assert folder == tmp_path / "not" / "yet" / "there" / "facebench-levels"
    assert written(folder) == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/ci.yml",
        "src/facebench_levels/__init__.py",
        "src/facebench_levels/codec.py",
        "tests/test_levels.py",
    }
    for name in written(folder):
        text = (folder / name).read_text()
        assert not any(word in text for word in ("PLUGIN_", "FACEBENCH_VERSION", "CONTRACT_VERSION")), name
    assert [p.name for p in folder.parent.iterdir()] == ["facebench-levels"]


def test_codec_is_under_20_lines_and_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = new_plugin("grades", tmp_path) / "src"
    lines = (source / "facebench_grades" / "codec.py").read_text().splitlines()
    assert sum(bool(line.strip()) and not line.startswith('"""') for line in lines) < 20
    monkeypatch.syspath_prepend(source)
    (spec,) = importlib.import_module("facebench_grades").facebench_codecs()
    report = check_codec(spec)
    assert report.ok, report
    assert {r.status for r in report.results if r.name != "lossless"} == {"passed"}, report


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Levels", "not a plugin name"),
        ("my-codec", "not a plugin name"),
        ("my codec", "not a plugin name"),
        ("2levels", "not a plugin name"),
        ("", "not a plugin name"),
        ("../levels", "not a plugin name"),
        ("lévels", "not a plugin name"),
        ("jpeg", "a codec 'jpeg' already, from facebench"),
        ("codecs", "a package facebench_codecs already"),
    ],
)
def test_bad_name_is_refused_and_nothing_written(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(PluginError, match=says) as refused:
        new_plugin(name, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "facebench-levels").mkdir()
    with pytest.raises(PluginError, match="exists already"):
        new_plugin("levels", tmp_path)
    assert written(tmp_path) == set()


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match="cannot write"):
        new_plugin("levels", tmp_path / "file")


def test_command_says_what_to_do_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(new_plugin_command, ["levels", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "facebench check levels" in result.output
    assert (tmp_path / "facebench-levels" / "pyproject.toml").is_file()


@pytest.mark.slow
def test_installing_brings_the_codec_and_uninstalling_removes_it(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building a plugin without the network needs hatchling installed")
    pytest.importorskip("pip", reason="no pip in this environment to install a plugin with")
    project = new_plugin("levels", tmp_path)
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = tmp_path / "env" / "lib" / version / "site-packages"
    # The environment that runs this test, facebench in it however it is installed, is underneath the new one.
    (packages / "below.pth").write_text(
        "".join(f"import site; site.addsitedir({p!r})\n" for p in site.getsitepackages())
    )

    def run(*command: str, cwd: Path = tmp_path) -> str:
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FACEBENCH_PLUGINS")}
        done = subprocess.run(
            command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    listing = "from facebench.plugins import load_registry; r = load_registry(); print(sorted(r.codecs), r.problems)"
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    assert "levels" not in run(str(python), "-c", listing)
    run(*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", str(project))
    assert "'levels'" in run(str(python), "-c", listing)
    assert "[]" in run(str(python), "-c", listing)
    assert "passed" in run(str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    run(*pip, "uninstall", "-y", "facebench-levels")
    assert "levels" not in run(str(python), "-c", listing)
