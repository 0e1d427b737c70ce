"""Face masks made by a masker plugin, kept in the cache beside the pictures that they belong to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facebench.data.imageset import ImageSet
from facebench.data.prepared import DamagedArray, RowsFile, checked_rows, map_rows, prepared_rows
from facebench.errors import DataError, PluginError
from facebench.hookspecs import MaskerSpec
from facebench.paths import atomic_path
from facebench.plugins import load_object

_CHUNK = 256


def apply_masker(images: ImageSet, spec: MaskerSpec) -> ImageSet:
    """Return ``images`` with the masks that the masker gives; they are part of the set's digest.

    Raises :class:`DataError` if the masker returns anything but one (size, size) bool mask per picture,
    :class:`PluginError` if it fails. Damaged masks are made again.
    """
    key = hashlib.sha256(f"{spec.name} {spec.version} {spec.target} {images.digest}".encode()).hexdigest()[:32]
    file = images.images_file.parent / f"masks-{key}.npy"
    shape = images.images.shape[:3]
    try:
        masks = _kept(file, shape)
    except DamagedArray:  # or none yet
        _make(images, spec, file)
        masks = _kept(file, shape)
    return images.with_masks(masks, file, f"{spec.name} {spec.version}", "")


def _kept(file: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    masks: NDArray[np.bool_] = map_rows(file, np.bool_, shape)
    checked_rows(file)  # all are read for the digest at once
    return masks


def _make(images: ImageSet, spec: MaskerSpec, file: Path) -> None:
    masker = load_object(spec.target)
    with atomic_path(file) as path:
        rows, checks = RowsFile.create(path, np.bool_, images.images.shape[:3]), []
        for start in range(0, len(images), _CHUNK):
            batch = np.array(prepared_rows(images.images_file, start, min(start + _CHUNK, len(images))))
            try:
                made = masker(batch)
            except Exception as error:
                raise PluginError(f"masker '{spec.name}' failed: {type(error).__name__}: {error}") from error
            if not isinstance(made, np.ndarray) or made.dtype != np.bool_ or made.shape != batch.shape[:3]:
                raise DataError(f"masker '{spec.name}' returned no bool array of shape {batch.shape[:3]}")
            checks += rows.write(start, [mask.tobytes() for mask in made])
        rows.finish(checks)
