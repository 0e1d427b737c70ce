"""What is kept: finished shards in the user's cache, and runs in results folders."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from facebench.errors import ResultsError
from facebench.manifest import manifest_fault
from facebench.paths import (
    COST,
    GROUPS,
    LEADERBOARD,
    MANIFEST,
    PICTURES,
    RECORDS,
    atomic_path,
    atomic_paths,
    cache_dir,
    flush_to_disk,
    reason,
)

if TYPE_CHECKING:
    import pandas as pd

#: All that a run's folder may hold.
RUN_FILES = (RECORDS, PICTURES, COST, LEADERBOARD, GROUPS, MANIFEST)
#: Entries of a manifest that its readers do not get: digests of the tables beside it, and of itself.
_FILES, _SEAL = "files", "sha256"

_SHA256_BYTES = hashlib.sha256().digest_size
_LENGTH_BYTES = 8
_ZSTD = pa.Codec("zstd")
#: A temporary file that nobody has written to for so long is nobody's.
_LEFTOVER_SECONDS = 3600


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its manifest and one record per picture x operating point x mask variant.

    ``pictures`` has one row per picture with what the image set knows of it, ``cost`` what ``facebench cost``
    measured; None where there is nothing. ``crashed``, of a run just measured: some codec's process ended, which the
    same run may not see again.
    """

    name: str
    manifest: dict[str, Any]
    records: pd.DataFrame
    pictures: pd.DataFrame | None = None
    cost: dict[str, Any] | None = None
    crashed: bool = False


def read_run(folder: Path) -> Run:
    """Read a results folder; raises :class:`ResultsError` naming what is missing, damaged or of another run.

    A manifest holds digests of the tables beside it and of itself; of older ones, which do not, less damage is noticed.
    """
    manifest_file, records_file, pictures_file, cost_file = (
        folder / name for name in (MANIFEST, RECORDS, PICTURES, COST)
    )
    try:
        for file in (manifest_file, records_file):
            if not file.is_file():
                raise ResultsError(f"{folder} is no finished run: it has no {file.name}; run 'facebench run' first")
        manifest = _read_json(manifest_file, manifest_fault, "run again")
        digests = manifest.pop(_FILES, None)
        records = _read_table(records_file, digests)
        pictures = _read_table(pictures_file, digests) if pictures_file.is_file() else None
        again = "run 'facebench cost' again or remove it"
        cost = _read_json(cost_file, _cost_fault, again) if cost_file.is_file() else None
        return Run(folder.name, manifest, records, pictures, cost)
    except OSError as error:
        raise ResultsError(f"cannot read {error.filename or folder}: {reason(error)}") from error


def _read_json(file: Path, fault: Callable[[Any], str], again: str) -> dict[str, Any]:
    """Return the object in ``file``; raises :class:`ResultsError` if ``fault`` or its digest finds it damaged."""
    try:
        document = json.loads(file.read_bytes())
        if found := fault(document):
            raise ValueError(found)
        return _unsealed(document)
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{file} is damaged ({error}); {again}") from error


def _read_table(file: Path, digests: dict[str, Any] | None) -> pd.DataFrame:
    data = file.read_bytes()
    if digests is not None:
        told = digests.get(file.name)
        if told is None:
            raise ResultsError(f"{file} is of another run: {MANIFEST} does not name it; remove it, or run again")
        if told != _digest(data):
            raise ResultsError(
                f"{file} is damaged or of another run: its SHA-256 is not the one in {MANIFEST}; "
                "run again, or get both files again"
            )
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(data))
    except Exception as error:
        raise ResultsError(f"{file} is damaged ({error}); run again") from error


def _cost_fault(cost: Any) -> str:
    return "" if isinstance(cost, dict) else "it is no object"


def write_run(folder: Path, run: Run, leaderboard: str, groups: str = "") -> None:
    """Write a run into ``folder``; raises :class:`ResultsError` if it cannot be, and leaves what was there as it was.

    All is on the disk before anything takes its place. Killed in between, the folder has no manifest, and is no run.
    """
    tables = {RECORDS: run.records} | ({} if run.pictures is None else {PICTURES: run.pictures})
    texts = {LEADERBOARD: leaderboard} | ({GROUPS: groups} if groups else {})
    names = [*tables, *texts, MANIFEST]
    try:
        with atomic_paths(*(folder / name for name in names)) as temporaries:
            paths = dict(zip(names, temporaries, strict=True))
            for name, table in tables.items():
                table.to_parquet(paths[name], index=False, compression="zstd")
            for name, text in texts.items():
                paths[name].write_text(text)
            digests = {name: _digest(paths[name].read_bytes()) for name in tables}
            paths[MANIFEST].write_text(_sealed({**run.manifest, _FILES: digests}))
            flush_to_disk(*temporaries)
            # The manifest first, which must never describe other files; it is also the last to take its place.
            for name in (MANIFEST, PICTURES, COST, GROUPS):
                (folder / name).unlink(missing_ok=True)
        flush_to_disk(folder)
    except OSError as error:
        again = "free some space, or choose another folder with --out"
        raise ResultsError(f"cannot write {folder}: {reason(error)}; {again}") from error


def write_cost(file: Path, cost: dict[str, Any]) -> None:
    """Write what ``facebench cost`` measured, whole or not at all; raises :class:`ResultsError` if it cannot be."""
    try:
        with atomic_path(file) as path:
            path.write_text(_sealed(cost))
            flush_to_disk(path)
    except OSError as error:
        again = "free some space, or choose another --out"
        raise ResultsError(f"cannot write {file}: {reason(error)}; {again}") from error


def _digest(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _sealed(document: dict[str, Any]) -> str:
    """Return ``document`` as JSON text, with a digest of its content as an entry more."""
    document = {name: value for name, value in document.items() if name != _SEAL}
    return json.dumps({**document, _SEAL: _content_digest(document)}, indent=1, sort_keys=True) + "\n"


def _unsealed(document: dict[str, Any]) -> dict[str, Any]:
    """Return ``document`` without its digest; ValueError if it has one that does not fit."""
    content = {name: value for name, value in document.items() if name != _SEAL}
    if document.get(_SEAL) not in (None, _content_digest(content)):
        raise ValueError(f'its content does not fit its "{_SEAL}": set that to null if you changed it on purpose')
    return content


def _content_digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 of what ``document`` says, however it is indented."""
    said = json.loads(json.dumps(document))  # numbers as keys sort as the texts that they become
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ShardCache:
    """Finished shards by key: the key names everything that their records depend on.

    A file is the SHA-256 of all else and the key; the length of what follows; and the records as an Arrow stream,
    compressed by zstd. It need not be flushed to the disk: what a loss of power spoils is noticed and measured again.
    """

    def __init__(self) -> None:
        self._folder = cache_dir() / "shards"
        #: Files that were damaged, and removed.
        self.damaged: list[Path] = []

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.shard"

    def get(self, key: str) -> pa.Table | None:
        """Return a shard's records or None; a damaged file is removed and counts as none."""
        file = self._file(key)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        body = data[_SHA256_BYTES:]
        if hashlib.sha256(key.encode() + body).digest() != data[:_SHA256_BYTES]:
            self.damaged.append(file)
            with contextlib.suppress(OSError):  # in a cache that may only be read
                file.unlink()
            return None
        with contextlib.suppress(OSError):
            file.touch()  # the time of last use, for 'facebench cache limit'
        length = int.from_bytes(body[:_LENGTH_BYTES], "little")
        with pa.ipc.open_stream(_ZSTD.decompress(body[_LENGTH_BYTES:], length)) as stream:
            return stream.read_all()

    def put(self, key: str, records: pa.Table) -> None:
        """Keep a shard's records; raises :class:`ResultsError` if the disk does not take them."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, records.schema) as stream:
            stream.write_table(records)
        plain = sink.getvalue()
        body = plain.size.to_bytes(_LENGTH_BYTES, "little") + _ZSTD.compress(plain, asbytes=True)
        try:
            with atomic_path(self._file(key)) as path:
                path.write_bytes(hashlib.sha256(key.encode() + body).digest() + body)
        except OSError as error:
            again = "free some space, or set FACEBENCH_CACHE to another folder"
            raise ResultsError(f"cannot write the cache {self._folder}: {reason(error)}; {again}") from error


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache; ``used``: time of last use (epoch seconds).

    ``kind`` is prepared (an image set), shard, array (kept by a metric), run (the note that one is finished), or
    leftover (of a process that was killed).
    """

    kind: str
    path: Path
    bytes: int
    used: float


def cache_entries() -> list[CacheEntry]:
    """Return all entries of the cache, the longest unused first."""
    entries = []
    for folder in (cache_dir() / "prepared").glob("*"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it has just been removed, or finished
            stats = {file.name: file.stat() for file in folder.iterdir()}
            size = sum(stat.st_size for stat in stats.values())
            if "meta.json" in stats and not folder.name.startswith("."):
                entries.append(CacheEntry("prepared", folder, size, stats["meta.json"].st_mtime))
            else:
                written = max(stat.st_mtime for stat in (folder.stat(), *stats.values()))
                if time.time() - written > _LEFTOVER_SECONDS:
                    entries.append(CacheEntry("leftover", folder, size, written))
    for kind, pattern in (("shard", "*/*"), ("array", "*"), ("run", "*")):
        for file in (cache_dir() / f"{kind}s").glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # it has just been removed, or taken its place
                stat = file.stat()
                whole = not file.name.startswith(".")
                if whole or time.time() - stat.st_mtime > _LEFTOVER_SECONDS:
                    entries.append(CacheEntry(kind if whole else "leftover", file, stat.st_size, stat.st_mtime))
    return sorted(entries, key=lambda entry: entry.used)


def remove_cache_entries(entries: list[CacheEntry]) -> int:
    """Remove entries and return the bytes freed."""
    for entry in entries:
        if entry.path.is_dir():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            entry.path.unlink(missing_ok=True)
    return sum(entry.bytes for entry in entries)
