"""Face masks made by a masker plugin, kept in the cache beside the pictures that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facebench.data.imageset import ImageSet
from facebench.data.prepared import DamagedArray, RowsFile, checked_rows, map_rows, prepared_rows
from facebench.errors import DataError, FacebenchError, PluginError
from facebench.hookspecs import MaskerSpec
from facebench.masks.spec import described
from facebench.paths import atomic_path, reason
from facebench.plugins import load_object

#: Pictures that a masker is given at once, and bytes where they are large.
_CHUNK, _CHUNK_BYTES = 256, 2**26


def apply_masker(
    images: ImageSet,
    spec: MaskerSpec,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Return ``images`` with the masks that the masker gives; they are part of the set's digest.

    They are known by the masker's name, version and, of a :class:`facebench.masks.spec.WeightedMaskerSpec`, weights.
    ``progress`` wraps the iterable of finished picture counts, where they have to be made.
    Raises :class:`DataError` if the masker returns anything but one (size, size) bool mask per picture,
    :class:`PluginError` if it fails. Damaged masks are made again.
    """
    masker = described(spec)
    key = hashlib.sha256(f"{masker} {spec.target} {images.digest}".encode()).hexdigest()[:32]
    file = images.images_file.parent / f"masks-{key}.npy"
    shape = images.images.shape[:3]
    try:
        masks = _kept(file, shape)
    except DamagedArray:  # or none yet
        try:
            _make(images, spec, file, progress)
        except BrokenPipeError:  # of whoever shows the progress
            raise
        except OSError as error:
            again = "free some space, or set FACEBENCH_CACHE to another folder"
            raise DataError(f"cannot write the cache {file.parent}: {reason(error)}; {again}") from error
        masks = _kept(file, shape)
    return images.with_masks(masks, file, masker, "")


def _kept(file: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    masks: NDArray[np.bool_] = map_rows(file, np.bool_, shape)
    checked_rows(file)  # all are read for the digest at once
    return masks


def _make(
    images: ImageSet, spec: MaskerSpec, file: Path, progress: Callable[[Iterable[int], int], Iterable[int]]
) -> None:
    masker = load_object(spec.target)
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // images.images[0].nbytes))
    with atomic_path(file) as path:
        rows, checks = RowsFile.create(path, np.bool_, images.images.shape[:3]), []
        for start in progress(range(0, len(images), chunk), len(images)):
            batch = np.array(prepared_rows(images.images_file, start, min(start + chunk, len(images))))
            try:
                made = masker(batch)
            except FacebenchError:
                raise
            except Exception as error:
                raise PluginError(f"masker '{spec.name}' failed: {type(error).__name__}: {error}") from error
            if not isinstance(made, np.ndarray) or made.dtype != np.bool_ or made.shape != batch.shape[:3]:
                raise DataError(f"masker '{spec.name}' returned no bool array of shape {batch.shape[:3]}")
            checks += rows.write(start, [mask.tobytes() for mask in made])
        rows.finish(checks)
