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
    # Names, not Path objects: a folder may hold very many.
    names = sorted(f.name for f in path.iterdir() if f.suffix.lower() in EXTENSIONS and f.is_file())
    if not names:
        raise DataError(f"no pictures in {path}; looked for {', '.join(sorted(EXTENSIONS))}")
    masks = find_masks(path, [name.rpartition(".")[0] for name in names])
    state = hashlib.sha256()
    for name in names:
        state.update(file_fingerprint(path / name).encode())
    return PictureSource(
        name="folder",
        split="all",
        ids=tuple(f"folder:{name}" for name in names),
        fingerprint=f"folder {state.hexdigest()} {masks[1] if masks else ''}",
        read=lambda index: decode_picture((path / names[index]).read_bytes(), str(path / names[index])),
        read_mask=masks[0] if masks else None,
        no_mask_reason=f"no face_masks.zip, face_masks/ or CelebAMask-HQ-mask-anno/ in {path}",
    )
