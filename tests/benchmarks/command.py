"""Starts the ``facebench`` command line as a user does, and times it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from picture_folders import CROP
from private_memory import PrivateMemory


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its wall time, the peak of its private memory (0: not watched), its standard output."""

    seconds: float
    private_bytes: int
    output: str


def facebench(
    *arguments: str | Path,
    cache: Path,
    python: str | Path = sys.executable,
    plugins: str | None = "",
    cores: Iterable[int] = (),
    watch_memory: bool = False,
) -> Finished:
    """Run ``facebench ARGUMENTS`` to its end; on failure the benchmark ends too.

    ``plugins`` is FACEBENCH_PLUGINS (None: as it is); ``cores``, if any, are those that the run is bound to.
    """
    environment = {**os.environ, "FACEBENCH_CACHE": str(cache)}
    if plugins is not None:
        environment["FACEBENCH_PLUGINS"] = plugins
    command = [str(python), "-m", "facebench", *map(str, arguments)]
    if bound := ",".join(map(str, cores)):
        command = ["taskset", "--cpu-list", bound, *command]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    memory = PrivateMemory(process.pid) if watch_memory else None
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    peak = memory.stop() if memory else 0
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Finished(seconds, peak, output)


def run_arguments(
    codecs: str, pictures: Path, out: Path, size: int = 64, crop: str = CROP, form: str = "json"
) -> list[str]:
    """Return the arguments of a quiet run of ``codecs``, without baseline, on a folder of pictures."""
    arguments = ["run", "--codecs", codecs, "--no-baseline", "--quiet", "--format", form, "--out", str(out)]
    return [*arguments, "--data", f"folder:{pictures}", "--crop", crop, "--size", str(size)]


def prepared_cache(pictures: Path, scratch: Path) -> Path:
    """Return a cache that has a folder of pictures prepared at 64 pixels, and nothing else."""
    cache = scratch / f"prepared-{pictures.name}"
    if not cache.exists():
        facebench("data", "--data", f"folder:{pictures}", "--crop", CROP, "--size", "64", "--quiet", cache=cache)
    return cache


def copied_cache(cache: Path, scratch: Path) -> Path:
    """Return a copy of a cache, its files by hard links, for one run to fill."""
    copy = scratch / "copied-cache"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(cache, copy, copy_function=os.link)
    return copy
