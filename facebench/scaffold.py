"""Writes a new plugin: a pip project with a working codec, its tests and its CI."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from datetime import date
from importlib import resources
from pathlib import Path

import facebench
from facebench.errors import PluginError
from facebench.plugins import load_registry

#: Templates, and where each goes in the new project; PLUGIN_NAME stands for the name in both.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "init.py": "src/facebench_PLUGIN_NAME/__init__.py",
    "codec.py": "src/facebench_PLUGIN_NAME/codec.py",
    "test_codec.py": "tests/test_PLUGIN_NAME.py",
}


def new_plugin(name: str, out: Path) -> Path:
    """Write the project ``facebench-NAME`` into the folder ``out`` and return its path.

    ``name`` is one lower-case word of letters and digits. Raises PluginError, with nothing written, if it is
    not, if a codec or package of that name is there already, or if the folder is.
    """
    _refuse_taken(name)
    folder = out / f"facebench-{name}"
    if folder.exists() or folder.is_symlink():
        raise PluginError(f"{folder} exists already; choose another name or --out")
    texts = {Path(_filled(path, name)): _filled(_template(file), name) for file, path in _FILES.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-plugin-", dir=out) as temporary:
            building = Path(temporary) / folder.name
            for path, text in texts.items():
                (building / path).parent.mkdir(parents=True, exist_ok=True)
                (building / path).write_text(text, encoding="utf-8")
            building.rename(folder)
    except OSError as error:
        raise PluginError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def _refuse_taken(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,39}", name):
        raise PluginError(f"'{name}' is not a plugin name: use one lower-case word of letters and digits, such as dct")
    registry = load_registry()
    if owner := registry.origins.get(f"codec {name}"):
        raise PluginError(f"there is a codec '{name}' already, from {owner}; choose another name")
    if importlib.util.find_spec(f"facebench_{name}") is not None:
        raise PluginError(f"there is a package facebench_{name} already; choose another name")


def _template(file: str) -> str:
    place = resources.files("facebench") / "scaffold_templates" / f"{file}.template"
    return place.read_text(encoding="utf-8")


def _filled(text: str, name: str) -> str:
    values = {
        "PLUGIN_NAME": name,
        "PLUGIN_CLASS": name.capitalize(),
        "PLUGIN_YEAR": str(date.today().year),
        "FACEBENCH_VERSION": facebench.__version__,
        "CONTRACT_VERSION": str(facebench.API_VERSION),
    }
    return re.sub("|".join(values), lambda match: values[match[0]], text)
