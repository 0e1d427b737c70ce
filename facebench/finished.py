"""Recognises a run that is finished already by its request, without opening pictures or making codecs.

What a request depends on is told by the size and time of its files, not by their content: of the code and weights of
facebench and its plugins, of the kept weights and of the pictures. A finished run is recognised only while all of its
own files are, by their SHA-256, those that were written.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import site
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facebench.data.named import Place
from facebench.paths import atomic_path, cache_dir, kept_weights_dir
from facebench.plugins import Registry

#: Image sets whose pictures all lie under the path that the user gives, or in facebench itself.
_KNOWN_SETS = ("samples", "celeba", "folder")


def request_digest(registry: Registry, request: Mapping[str, Any], set_name: str, place: Place | None) -> str | None:
    """Return a digest of ``request``, the options of a run as JSON can hold them, and of all files behind it.

    ``set_name`` and ``place`` are the image set's; None if its files cannot be known.
    """
    if set_name not in _KNOWN_SETS or (place is not None and not isinstance(place, Path)):
        return None
    specs = [*registry.codecs.values(), *registry.metrics.values(), *registry.maskers.values()]
    folders = {Path(site_folder) for site_folder in (*site.getsitepackages(), sysconfig.get_path("purelib"))}
    state = hashlib.sha256(json.dumps([request, str(Path.cwd()), registry.problems], sort_keys=True).encode())
    for folder in sorted(folders):
        if folder.is_dir():
            state.update(f"{folder} {folder.stat().st_mtime_ns}\n".encode())  # what pip installs changes its time
    roots = [_package(name) for name in sorted({"facebench", *(spec.target.split(".")[0] for spec in specs)})]
    roots += [kept_weights_dir(), *([place.parent if place.is_file() else place] if place else [])]
    for root in roots:
        for line in _files(root):
            state.update(line)
    return state.hexdigest()


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name.partition(":")[0])
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _files(root: str | Path | None) -> Iterator[bytes]:
    """Yield a line for each file in ``root`` and below; no Path objects, as there may be very many."""
    if root is None or not os.path.isdir(root):  # noqa: PTH112
        return
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.is_dir():
                status = entry.stat()
                yield os.fsencode(f"{entry.path} {status.st_size} {status.st_mtime_ns}\n")
            elif entry.name != "__pycache__":
                yield from _files(entry.path)


def remember(digest: str, folder: Path) -> None:
    """Note that the run in ``folder`` answers the request of this digest."""
    with atomic_path(_note(digest)) as file:
        file.write_text(json.dumps({"folder": str(folder.resolve()), "files": _digests(folder)}))


def recall(digest: str) -> Path | None:
    """Return the folder of the finished run that answers the request, or None if there is none or it was changed."""
    try:
        noted = json.loads(_note(digest).read_text())
        folder = Path(noted["folder"])
        return folder if noted["files"] == _digests(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(digest: str) -> Path:
    return cache_dir() / "runs" / f"{digest}.json"


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
