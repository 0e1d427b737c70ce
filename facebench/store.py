"""What is kept: finished shards in the user's cache, and runs in results folders."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from facebench.errors import ResultsError
from facebench.manifest import manifest_fault
from facebench.paths import atomic_path, cache_dir

MANIFEST = "manifest.json"
RECORDS = "records.parquet"
PICTURES = "pictures.parquet"
COST = "cost.json"
LEADERBOARD = "leaderboard.md"
GROUPS = "groups.md"


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest and one record per picture x operating point x mask variant.

    ``pictures`` has one row per picture with what the image set knows of it, ``cost`` what ``facebench cost``
    measured; None where there is nothing.
    """

    name: str
    manifest: dict[str, Any]
    records: pd.DataFrame
    pictures: pd.DataFrame | None = None
    cost: dict[str, Any] | None = None


def read_run(folder: Path) -> Run:
    """Read a results folder; raises :class:`ResultsError` naming what is missing or damaged."""
    manifest_file, records_file = folder / MANIFEST, folder / RECORDS
    for file in (manifest_file, records_file):
        if not file.is_file():
            raise ResultsError(f"{folder} is no finished run: it has no {file.name}; run 'facebench run' first")
    try:
        manifest = json.loads(manifest_file.read_text())
        if fault := manifest_fault(manifest):
            raise ValueError(fault)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{manifest_file} is damaged ({error}); run again") from error
    records = _read_table(records_file)
    pictures = _read_table(folder / PICTURES) if (folder / PICTURES).is_file() else None
    return Run(folder.name, manifest, records, pictures, _read_cost(folder / COST))


def _read_table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except Exception as error:
        raise ResultsError(f"{file} is damaged ({error}); run again") from error


def _read_cost(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        cost = json.loads(file.read_text())
        if not isinstance(cost, dict):
            raise ValueError("it is no object")
        return cost
    except (OSError, ValueError) as error:
        raise ResultsError(f"{file} is damaged ({error}); run 'facebench cost' again or remove it") from error


def write_run(folder: Path, run: Run, leaderboard: str, groups: str = "") -> None:
    """Write a run into ``folder``, each file whole or not at all; raises :class:`ResultsError` if it cannot be."""
    try:
        (folder / MANIFEST).unlink(missing_ok=True)  # the old one must never describe new records
        for old in (PICTURES, COST, GROUPS):
            (folder / old).unlink(missing_ok=True)
        with atomic_path(folder / RECORDS) as path:
            run.records.to_parquet(path, index=False, compression="zstd")
        if run.pictures is not None:
            with atomic_path(folder / PICTURES) as path:
                run.pictures.to_parquet(path, index=False, compression="zstd")
        with atomic_path(folder / LEADERBOARD) as path:
            path.write_text(leaderboard)
        if groups:
            with atomic_path(folder / GROUPS) as path:
                path.write_text(groups)
        with atomic_path(folder / MANIFEST) as path:
            path.write_text(json.dumps(run.manifest, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise ResultsError(f"cannot write {folder}: {error}; choose another folder with --out") from error


class ShardCache:
    """Finished shards by key: the key names everything that their records depend on."""

    def __init__(self) -> None:
        self._folder = cache_dir() / "shards"

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.parquet"

    def get(self, key: str) -> pd.DataFrame | None:
        """Return a shard's records or None; a damaged file is removed and counts as none."""
        file = self._file(key)
        if not file.is_file():
            return None
        try:
            records = pd.read_parquet(file)
            file.touch()
            return records
        except Exception:
            file.unlink(missing_ok=True)
            return None

    def put(self, key: str, records: pd.DataFrame) -> None:
        """Keep a shard's records; raises :class:`ResultsError` if the disk does not take them."""
        try:
            with atomic_path(self._file(key)) as path:
                records.to_parquet(path, index=False)
        except OSError as error:
            raise ResultsError(f"cannot write the cache {self._folder}: {error}; set FACEBENCH_CACHE") from error


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache: prepared image set, shard or kept array; ``used``: time of last use (epoch seconds)."""

    kind: str
    path: Path
    bytes: int
    used: float


def cache_entries() -> list[CacheEntry]:
    """Return all entries of the cache, the longest unused first."""
    entries = []
    for folder in (cache_dir() / "prepared").glob("*"):
        if folder.is_dir():
            size = sum(f.stat().st_size for f in folder.iterdir())
            marker = folder / "meta.json"
            used = (marker if marker.is_file() else folder).stat().st_mtime
            entries.append(CacheEntry("prepared", folder, size, used))
    for file in (cache_dir() / "shards").glob("*/*.parquet"):
        stat = file.stat()
        entries.append(CacheEntry("shard", file, stat.st_size, stat.st_mtime))
    for file in (cache_dir() / "arrays").glob("*.npy"):
        stat = file.stat()
        entries.append(CacheEntry("array", file, stat.st_size, stat.st_mtime))
    return sorted(entries, key=lambda entry: entry.used)


def remove_cache_entries(entries: list[CacheEntry]) -> int:
    """Remove entries and return the bytes freed."""
    for entry in entries:
        if entry.path.is_dir():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            entry.path.unlink(missing_ok=True)
    return sum(entry.bytes for entry in entries)
