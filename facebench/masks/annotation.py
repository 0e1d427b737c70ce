"""Face masks that come with an image set: one PNG per picture, or CelebAMask-HQ's folder of part masks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from facebench.data.named import HQ_FOLDER
from facebench.data.source import decode_mask
from facebench.data.storage import Archive, Folder
from facebench.errors import DataError

MaskReader = Callable[[int], "NDArray[np.bool_]"]

#: Parts of CelebAMask-HQ that make the face mask of Toledo & Antonelo (2021): hair, hat and face; no ears,
#: neck, cloth or jewellery.
HQ_FACE_PARTS = (
    "hair", "hat", "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "eye_g", "mouth", "u_lip", "l_lip",
)  # fmt: skip


def find_masks(root: Folder, stems: Sequence[str]) -> tuple[MaskReader, str] | None:
    """Return a reader of the masks beside ``root``'s pictures and its fingerprint, or None if there are none.

    ``stems`` are the picture names without extension. Looked for, in this order: ``face_masks.zip`` (one
    ``STEM.png`` per picture, in any folder of the archive), ``face_masks/STEM.png``, and
    ``CelebAMask-HQ-mask-anno/K/NNNNN_PART.png`` in ``root`` or the folder above it.
    """
    if root.has("face_masks.zip"):
        return _zip_reader(root, stems)
    folder = root.subfolder("face_masks")
    if folder is not None:
        return _folder_reader(folder, stems)
    folder = root.subfolder(HQ_FOLDER) or root.beside(HQ_FOLDER)
    return _hq_reader(folder, stems) if folder is not None else None


def _zip_reader(root: Folder, stems: Sequence[str]) -> tuple[MaskReader, str]:
    archive = Archive(root, "face_masks.zip", ".png")

    def read(index: int) -> NDArray[np.bool_]:
        stem = stems[index]
        if stem not in archive.members:
            raise DataError(
                f"{root.path_of('face_masks.zip')} has no mask for picture {stem}; use --mask faceparser, or none"
            )
        return decode_mask(archive.read(stem), archive.path_of(stem))

    return read, archive.fingerprint


def _folder_reader(folder: Folder, stems: Sequence[str]) -> tuple[MaskReader, str]:
    names = [f"{stem}.png" for stem in stems]
    there = set(folder.names())

    def read(index: int) -> NDArray[np.bool_]:
        if names[index] not in there:
            raise DataError(f"no mask {folder.path_of(names[index])}; use --mask faceparser, or none")
        return decode_mask(folder.read(names[index]), folder.path_of(names[index]))

    found = iter(folder.fingerprints([name for name in names if name in there]))
    state = hashlib.sha256()
    for name in names:
        state.update((next(found) if name in there else f"no {folder.path_of(name)}").encode())
    return read, state.hexdigest()


def _hq_reader(folder: Folder, stems: Sequence[str]) -> tuple[MaskReader, str]:
    parts: dict[tuple[int, str], tuple[Folder, str]] = {}
    inners = [inner for inner in map(folder.subfolder, folder.folder_names()) if inner is not None]
    for inner in inners:
        for name in inner.names():
            stem, _, part = name.removesuffix(".png").partition("_")
            if name.endswith(".png") and stem.isdecimal() and part in HQ_FACE_PARTS:
                parts[int(stem), part] = inner, name

    def read(index: int) -> NDArray[np.bool_]:
        number = int(stems[index]) if stems[index].isdecimal() else -1
        found = [parts[number, part] for part in HQ_FACE_PARTS if (number, part) in parts]
        if not found:
            raise DataError(f"{folder} has no part masks for picture {stems[index]}; use --mask faceparser, or none")
        masks = [decode_mask(inner.read(name), inner.path_of(name)) for inner, name in found]
        return np.asarray(np.logical_or.reduce(masks), np.bool_)

    wanted = {int(stem) for stem in stems if stem.isdecimal()}
    used: dict[Folder, list[str]] = {inner: [] for inner in inners}
    for (number, _), (inner, name) in parts.items():
        if number in wanted:
            used[inner].append(name)
    fingerprints = sorted(found for inner, names in used.items() for found in inner.fingerprints(names))
    return read, hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()
