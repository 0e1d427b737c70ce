"""Where facebench keeps things on the user's machine, and how it writes files so that none is half-written."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The files of a results folder.
MANIFEST = "manifest.json"
RECORDS = "records.parquet"
PICTURES = "pictures.parquet"
COST = "cost.json"
LEADERBOARD = "leaderboard.md"
GROUPS = "groups.md"


def cache_dir() -> Path:
    """Return the folder of what can be made again: ``FACEBENCH_CACHE``, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("FACEBENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("facebench"))


def kept_array_path(digest: str, name: str) -> Path:
    """Return the file in the cache of the array ``name`` made from the image set with that ``digest``."""
    return cache_dir() / "arrays" / f"{digest[:32]}-{name}.npy"


def kept_weights_dir() -> Path:
    """Return the folder of weights that ``facebench train`` keeps: ``FACEBENCH_WEIGHTS``, or the user's data."""
    import platformdirs

    chosen = os.environ.get("FACEBENCH_WEIGHTS")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("facebench")) / "weights"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place only if the block succeeds.

    An OSError that names the temporary path or none, as a full disk does, names ``path`` instead.
    """
    try:
        with atomic_paths(path) as (temporary,):
            yield temporary
    except OSError as error:
        if error.errno is None:
            raise OSError(f"cannot write {path}: {error}") from error
        if error.filename is None or Path(error.filename).name.startswith(f".{path.name}."):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def atomic_paths(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path beside each of ``paths``; they take their places, in order, if the block succeeds."""
    temporaries: list[Path] = []
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporaries.append(Path(name))
            os.close(handle)
        yield tuple(temporaries)
        for temporary in temporaries:
            temporary.chmod(0o644)
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files of :func:`atomic_path` for ``path`` that are there, by a process killed, say."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.????????"))


def flush_to_disk(*paths: Path) -> None:
    """Wait until files, or a folder's list of them, are on the disk itself and outlast a loss of power."""
    for path in paths:
        if path.is_dir() and os.name != "posix":  # where folders cannot be opened
            continue
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def reason(error: OSError) -> str:
    """Return why the system refused, in its words: without the number, and the temporary file's name."""
    return os.strerror(error.errno) if error.errno else str(error)
