"""Start-up stays light, torchvision stays out, and codecs/ stays a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "cv2", "pandas", "skimage", "numpy", "pyarrow", "constriction", "matplotlib")


def loaded_modules(code: str) -> set[str]:
    output = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\nMODULES', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(output.rpartition("MODULES")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import facebench",
        "from facebench.cli import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass",
        "from facebench.cli import cli\ntry:\n    cli.main(['run', '--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_help_and_the_author_api_import_nothing_heavy(code: str) -> None:
    assert not loaded_modules(code) & set(HEAVY)


def test_listing_codecs_does_not_import_them() -> None:
    code = "from facebench.plugins import load_registry\nload_registry('')"
    assert not loaded_modules(code) & {*HEAVY, "facebench_codecs.learned", "facebench_codecs.jpeg"}


def test_nothing_imports_torchvision() -> None:
    sources = [f for folder in ("facebench", "codecs", "plugins") for f in (ROOT / folder).rglob("*.py")]
    assert sources
    offenders = [
        str(f) for f in sources if "import torchvision" in f.read_text() or "from torchvision" in f.read_text()
    ]
    assert not offenders


def test_codecs_is_no_package() -> None:
    assert not (ROOT / "codecs" / "__init__.py").exists()


def test_codecs_and_plugins_import_only_the_author_api() -> None:
    allowed = {"facebench", "facebench.testing"}
    for file in [*(ROOT / "codecs").rglob("*.py"), *(ROOT / "plugins").glob("*/facebench_*/**/*.py")]:
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and words[1].partition(".")[0] == "facebench":
                assert words[1] in allowed, f"{file}: {line}"


def test_the_core_never_names_the_built_in_codecs() -> None:
    for file in (ROOT / "facebench").rglob("*.py"):
        assert "import facebench_codecs" not in file.read_text(), file
        assert "from facebench_codecs" not in file.read_text(), file
