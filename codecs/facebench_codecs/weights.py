"""Weights files: safetensors with what a codec needs to use them, and a readable card beside them."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from facebench import TrainedOn, WeightsError, kept_weights_dir

#: A temporary file that nobody has written to for so long is of a process that was killed.
_LEFTOVER_SECONDS = 3600


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    ``tensors`` by name; ``meta`` is the file's own description: ``kind`` (which codec class it is for),
    ``side`` (picture size), ``trained_on`` and what the codec needs besides (``recipe``). ``digest`` is the
    SHA-256 of the file.
    """

    tensors: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    digest: str
    trained_on: TrainedOn

    def bytes_of(self, *prefixes: str) -> int:
        """Return the bytes of the tensors whose names start with one of ``prefixes``."""
        return sum(t.nbytes for name, t in self.tensors.items() if name.startswith(prefixes))


def shipped_weights(name: str) -> Path:
    """Return the path of weights that come with the codecs; the file need not exist."""
    return Path(str(resources.files("facebench_codecs").joinpath("weights", f"{name}.safetensors")))


def find_weights(name: str, side: int) -> Path | None:
    """Return the weights called ``name`` for pictures of ``side`` pixels, shipped or kept by training, or None."""
    file = f"{name}-{side}"
    kept = kept_weights_dir() / f"{file}.safetensors"
    return next((path for path in (shipped_weights(file), kept) if path.is_file()), None)


def save_weights(path: Path, tensors: dict[str, NDArray[Any]], meta: dict[str, Any], card: dict[str, Any]) -> None:
    """Write ``path`` and, beside it with the suffix .json, the card: ``meta``, the digest and how it was made.

    Raises :class:`facebench.WeightsError` if the disk does not take both; what was there is then as it was.
    """
    data = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, {"facebench": json.dumps(meta)})
    whole = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **meta, **card}
    write_files({path: data, path.with_suffix(".json"): (json.dumps(whole, indent=1) + "\n").encode()})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write ``files``, each whole and so that it outlasts a loss of power; they are all in one folder.

    All but the first describe it: even if this process is killed they are never there with another's. Raises
    :class:`facebench.WeightsError` if the disk does not take them; nothing is replaced before it holds all of them.
    """
    first, *descriptions = files
    temporaries: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporaries[path] = Path(name)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporaries[path].chmod(0o644)
        for description in descriptions:
            description.unlink(missing_ok=True)
        for path, temporary in temporaries.items():
            temporary.replace(path)
        _flush_folder(first.parent)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise WeightsError(f"cannot write {first}: {why}; free some space there, or choose another place") from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed have left of writing ``path``."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with contextlib.suppress(OSError):  # it has just taken its place
            if time.time() - old.stat().st_mtime > _LEFTOVER_SECONDS:
                old.unlink()


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # where folders cannot be opened, or flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def load_weights(path: Path, kind: str) -> Weights:
    """Read ``path``; raises :class:`facebench.WeightsError` if it is missing, damaged or not of ``kind``.

    Damaged are also weights that do not have the digest in the card beside them. Without a card, as when only the
    weights were copied, that is not noticed.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; make one with 'facebench train'")
    shipped = Path(str(resources.files("facebench_codecs"))) in path.parents
    again = "install facebench again" if shipped else "train or copy them again"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if _told_digest(path) not in (None, digest):
            raise ValueError(f"their SHA-256 is not the one in {path.with_suffix('.json').name}")
        with safe_open(path, "numpy") as file:
            meta = json.loads((file.metadata() or {})["facebench"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, told = meta["kind"], meta["trained_on"]
        trained_on = TrainedOn(
            told["image_set"],
            told["split"],
            told["data_digest"],
            told.get("watched", ""),
            frozenset(told.get("pictures", ())),
            frozenset(told.get("identities", ())),
        )
    except Exception as error:
        raise WeightsError(f"weights {path} are damaged or not facebench's ({error}); {again}") from None
    if found != kind:
        raise WeightsError(f"weights {path} are for '{found}', not for '{kind}'")
    return Weights(tensors, meta, digest, trained_on)


def read_card(path: Path) -> dict[str, Any] | None:
    """Return the card beside the weights ``path``, which :func:`load_weights` has read, or None without one."""
    card = path.with_suffix(".json")
    return dict(json.loads(card.read_bytes())) if card.is_file() else None


def _told_digest(path: Path) -> str | None:
    """Return the digest in the card of the weights ``path``, or None without a card; ValueError if that is none."""
    card = path.with_suffix(".json")
    try:
        return str(json.loads(card.read_bytes())["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"their card {card.name} cannot be read: {error!r}") from error
