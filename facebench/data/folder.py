"""Any folder of pictures as an image set."""

from __future__ import annotations

import hashlib
from pathlib import Path

from facebench.data.source import PictureSource, decode_picture, file_fingerprint
from facebench.errors import DataError
from facebench.masks.annotation import find_masks

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def open_source(path: Path, split: str) -> PictureSource:
    """Open all pictures directly in the folder ``path``, in the order of their names; ``split`` is "all".

    Masks are looked for beside the pictures (:func:`facebench.masks.annotation.find_masks`).
    Raises :class:`DataError` if there is no such folder or no picture in it.
    """
    if split != "all":
        raise DataError(f"a folder has no split '{split}': leave --split out")
    if not path.is_dir():
        raise DataError(f"no folder {path}")
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in EXTENSIONS and f.is_file())
    if not files:
        raise DataError(f"no pictures in {path}; looked for {', '.join(sorted(EXTENSIONS))}")
    masks = find_masks(path, [file.stem for file in files])
    state = hashlib.sha256("\n".join(file_fingerprint(file) for file in files).encode()).hexdigest()
    return PictureSource(
        name="folder",
        split="all",
        ids=tuple(f"folder:{file.name}" for file in files),
        fingerprint=f"folder {state} {masks[1] if masks else ''}",
        read=lambda index: decode_picture(files[index].read_bytes(), str(files[index])),
        read_mask=masks[0] if masks else None,
        no_mask_reason=f"no face_masks.zip, face_masks/ or CelebAMask-HQ-mask-anno/ in {path}",
    )
