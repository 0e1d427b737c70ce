"""Face masks that come with an image set: one PNG per picture, or CelebAMask-HQ's folder of part masks."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facebench.data.source import decode_mask, file_fingerprint
from facebench.errors import DataError

MaskReader = Callable[[int], "NDArray[np.bool_]"]

#: Parts of CelebAMask-HQ that make the face mask of Toledo & Antonelo (2021): hair, hat and face; no ears,
#: neck, cloth or jewellery.
HQ_FACE_PARTS = (
    "hair", "hat", "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "eye_g", "mouth", "u_lip", "l_lip",
)  # fmt: skip
HQ_FOLDER = "CelebAMask-HQ-mask-anno"


def find_masks(root: Path, stems: Sequence[str]) -> tuple[MaskReader, str] | None:
    """Return a reader of the masks beside ``root``'s pictures and its fingerprint, or None if there are none.

    ``stems`` are the picture names without extension. Looked for, in this order: ``face_masks.zip`` (one
    ``STEM.png`` per picture, in any folder of the archive), ``face_masks/STEM.png``, and
    ``CelebAMask-HQ-mask-anno/K/NNNNN_PART.png`` in ``root`` or the folder above it.
    """
    archive = root / "face_masks.zip"
    if archive.is_file():
        return _zip_reader(archive, stems), file_fingerprint(archive)
    folder = root / "face_masks"
    if folder.is_dir():
        return _folder_reader(folder, stems)
    for base in (root, root.parent):
        if (base / HQ_FOLDER).is_dir():
            return _hq_reader(base / HQ_FOLDER, stems)
    return None


def _zip_reader(archive: Path, stems: Sequence[str]) -> MaskReader:
    try:
        opened = zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive} is not a readable zip archive: {error}") from error
    members = {Path(name).stem: name for name in opened.namelist() if name.endswith(".png")}

    def read(index: int) -> NDArray[np.bool_]:
        member = members.get(stems[index])
        if member is None:
            raise DataError(f"{archive} has no mask for picture {stems[index]}; use --mask none without it")
        try:
            data = opened.read(member)
        except (zipfile.BadZipFile, OSError, zlib.error, RuntimeError) as error:
            raise DataError(f"{archive}:{member} is damaged ({error}); get it again") from error
        return decode_mask(data, f"{archive}:{member}")

    return read


def _folder_reader(folder: Path, stems: Sequence[str]) -> tuple[MaskReader, str]:
    def read(index: int) -> NDArray[np.bool_]:
        file = folder / f"{stems[index]}.png"
        try:
            return decode_mask(file.read_bytes(), str(file))
        except OSError as error:
            raise DataError(f"no mask {file}; use --mask none without it") from error

    state = hashlib.sha256()
    for stem in stems:
        file = folder / f"{stem}.png"
        state.update((file_fingerprint(file) if file.is_file() else f"no {file}").encode())
    return read, state.hexdigest()


def _hq_reader(folder: Path, stems: Sequence[str]) -> tuple[MaskReader, str]:
    parts = {
        (int(stem), part): file
        for file in folder.glob("*/*_*.png")
        for stem, _, part in [file.stem.partition("_")]
        if stem.isdigit() and part in HQ_FACE_PARTS
    }

    def read(index: int) -> NDArray[np.bool_]:
        number = int(stems[index]) if stems[index].isdigit() else -1
        masks = [
            decode_mask(parts[number, part].read_bytes(), str(parts[number, part]))
            for part in HQ_FACE_PARTS
            if (number, part) in parts
        ]
        if not masks:
            raise DataError(f"{folder} has no part masks for picture {stems[index]}; use --mask none without")
        return np.logical_or.reduce(masks)

    wanted = {int(stem) for stem in stems if stem.isdigit()}
    used = sorted(file_fingerprint(file) for (number, _), file in parts.items() if number in wanted)
    return read, hashlib.sha256("\n".join(used).encode()).hexdigest()
