"""Where a figure comes from: the machine, the packages, the code and the training data behind it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from facebench import __version__
from facebench.data.celeba import PARTS, split_members
from facebench.data.imageset import ImageSet
from facebench.measure import CodecFacts

_PACKAGES = ("facebench", "torch", "numpy", "opencv-python-headless", "constriction", "safetensors")


def machine(origins: set[str]) -> dict[str, Any]:
    """Return the machine and the versions of the packages that measured; ``origins`` are the plugins' too."""
    packages: dict[str, str] = {}
    for origin in sorted(origins):
        distribution, _, version = origin.rpartition(" ")
        packages |= {distribution: version, **library_versions(distribution)}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "os": platform.platform(aliased=True, terse=True),
        "python": platform.python_version(),
        "packages": packages,
    }


@lru_cache
def library_versions(distribution: str) -> dict[str, str]:
    """Return the versions of the libraries that measure and that ``distribution`` requires."""
    try:
        required = [line for line in metadata.requires(distribution) or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        required = []
    names = {*_PACKAGES, *(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required)}
    return {name: version for name in sorted(names) if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def git_state() -> dict[str, Any] | None:
    """Return the commit of facebench's checkout and whether it is dirty, or None if it is installed otherwise."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10)
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


@lru_cache
def code_digest(target: str) -> str:
    """Return a digest of the Python files of the package that holds ``target`` ("package.module:name").

    A cached shard is used again only while the code that made it is unchanged.
    """
    module = target.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module.rpartition(".")[0] or module)
    except ImportError:
        return ""
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    state = hashlib.sha256()
    for file in files:
        state.update(file.read_bytes())
    return state.hexdigest()


@dataclass(frozen=True)
class Software:
    """The code behind ``targets`` ("module:name") and the libraries of ``distributions``, by their digest."""

    targets: tuple[str, ...]
    distributions: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, targets: Iterable[str], distributions: Iterable[str]) -> Software:
        """Return what this process has."""
        parts = (
            tuple(sorted({"facebench.measure:encode_shard", *targets})),
            tuple(sorted({"facebench", *distributions})),
        )
        return cls(*parts, _software_digest(*parts))

    def is_here(self) -> bool:
        """Return whether this process has the same."""
        return _software_digest(self.targets, self.distributions) == self.digest


@lru_cache
def _software_digest(targets: tuple[str, ...], distributions: tuple[str, ...]) -> str:
    code = [code_digest(target) for target in targets]
    libraries = [(_version(name), library_versions(name)) for name in distributions]
    return hashlib.sha256(json.dumps([__version__, code, libraries]).encode()).hexdigest()


def training_overlap(facts: CodecFacts, images: ImageSet) -> dict[str, int]:
    """Return how many scored pictures and identities the codec's weights were trained or watched on.

    Weights trained on a part of facebench's CelebA split need not list it: it is known here.
    """
    pictures, identities = facts.trained_pictures, facts.trained_identities
    trained = facts.trained_on
    if trained and trained["image_set"] == "celeba" and not pictures:
        for part in {trained["split"], trained["watched"]} & set(PARTS):
            members, people = split_members(part)
            pictures, identities = pictures | members, identities | people
    return {
        "pictures": sum(name in pictures for name in images.ids),
        "identities": len(set(images.identities or ()) & identities),
    }
