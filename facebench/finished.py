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
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facebench.data.named import HQ_FOLDER, Place
from facebench.paths import LEADERBOARD, MANIFEST, PICTURES, RECORDS, atomic_path, cache_dir, kept_weights_dir
from facebench.plugins import Registry

#: Image sets whose pictures all lie under the path that the user gives, or in facebench itself.
_KNOWN_SETS = ("samples", "celeba", "folder")


def request_digest(registry: Registry, request: Mapping[str, Any], set_name: str, place: Place | None) -> str | None:
    """Return a digest of ``request``, the options of a run as JSON can hold them, and of all files behind it.

    ``set_name`` and ``place`` are the image set's; None if its files cannot be known.
    """
    if set_name not in _KNOWN_SETS or (place is not None and not isinstance(place, Path)):
        return None
    codecs, metrics, maskers = registry.codecs.values(), registry.metrics.values(), registry.maskers.values()
    targets = [*(c.target for c in codecs), *(m.target for m in metrics), *(m.target for m in maskers)]
    folders = {Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")}
    asked = [request, set_name, str(place), str(Path.cwd()), registry.problems]
    state = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for folder in sorted(folders):
        if folder.is_dir():
            state.update(f"{folder} {folder.stat().st_mtime_ns}\n".encode())  # what pip installs changes its time
    roots = [kept_weights_dir()]
    for name in sorted({"facebench", *(target.partition(":")[0].partition(".")[0] for target in targets)}):
        roots += _package(name)
    for root in roots:
        for line in _files(root, below=True):
            state.update(line)
    for root, below in _read_for(place) if place else ():
        for line in _files(root, below):
            state.update(line)
    return state.hexdigest()


def _read_for(place: Path) -> list[tuple[Path, bool]]:
    """Return the folders that a set at ``place`` is read from, and whether all below them is."""
    base = place.absolute().parent if place.is_file() else place.absolute()
    flat = [base, base / "img_align_celeba", base / "face_masks"]
    return [*((folder, False) for folder in flat), (base / HQ_FOLDER, True), (base.parent / HQ_FOLDER, True)]


def _package(name: str) -> list[Path]:
    """Return the folders of a package, or the file of a module."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return []
    return [Path(p) for p in spec.submodule_search_locations or [spec.origin or ""]]


def _files(root: str | Path, below: bool) -> Iterator[bytes]:
    """Yield a line for each file in ``root``, and in the folders below; no Path objects: there may be very many."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except NotADirectoryError:  # a module of one file
        status = os.stat(root)  # noqa: PTH116
        yield os.fsencode(f"{root} {status.st_size} {status.st_mtime_ns}\n")
        return
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if below and entry.name != "__pycache__":
                yield from _files(entry.path, below)
            continue
        try:
            status = entry.stat()
            yield os.fsencode(f"{entry.path} {status.st_size} {status.st_mtime_ns}\n")
        except OSError:  # a link to nothing, say
            yield os.fsencode(f"{entry.path} ?\n")


def remember(digest: str, folder: Path) -> None:
    """Note that the run in ``folder`` answers the request of this digest."""
    with atomic_path(_note(digest)) as file:
        file.write_text(json.dumps({"folder": str(folder.resolve()), "files": _digests(folder)}))


def recall(digest: str) -> Path | None:
    """Return the folder of the finished run that answers the request, or None if there is none or it was changed."""
    try:
        noted = json.loads(_note(digest).read_text())
        folder = Path(noted["folder"])
        return folder if noted["files"] == _digests(folder) and (folder / LEADERBOARD).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(digest: str) -> Path:
    return cache_dir() / "runs" / f"{digest}.json"


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of what was measured; what is made from it, or added later, is not part of the run."""
    files = [folder / name for name in (MANIFEST, RECORDS, PICTURES) if (folder / name).is_file()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
