"""Where facebench keeps things on the user's machine, and how it writes files so that none is half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """Yield a temporary path beside ``path`` that takes its place only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
