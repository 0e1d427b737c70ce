"""Face masks made by a masker plugin, kept in the cache beside the pictures that they belong to."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from facebench.data.imageset import ImageSet
from facebench.errors import DataError
from facebench.hookspecs import MaskerSpec
from facebench.paths import atomic_path
from facebench.plugins import load_object

_CHUNK = 256


def apply_masker(images: ImageSet, spec: MaskerSpec) -> ImageSet:
    """Return ``images`` with the masks that the masker gives; they are part of the set's digest.

    Raises :class:`DataError` if the masker returns anything but one (size, size) bool mask per picture.
    """
    key = hashlib.sha256(f"{spec.name} {spec.version} {spec.target} {images.digest}".encode()).hexdigest()[:32]
    file = images.images_file.parent / f"masks-{key}.npy"
    if not file.is_file():
        masker = load_object(spec.target)
        masks = np.empty(images.images.shape[:3], np.bool_)
        for start in range(0, len(images), _CHUNK):
            batch = np.array(images.images[start : start + _CHUNK])
            made = masker(batch)
            if not isinstance(made, np.ndarray) or made.dtype != np.bool_ or made.shape != batch.shape[:3]:
                raise DataError(f"masker '{spec.name}' returned no bool array of shape {batch.shape[:3]}")
            masks[start : start + _CHUNK] = made
        with atomic_path(file) as path, path.open("wb") as out:
            np.save(out, masks)
    kept: NDArray[np.bool_] = np.load(file, mmap_mode="r")
    return images.with_masks(kept, file, f"{spec.name} {spec.version}", "")
