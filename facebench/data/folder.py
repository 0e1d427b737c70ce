"""Any folder of pictures as an image set."""

from __future__ import annotations

import hashlib
from collections import Counter
from posixpath import splitext

from facebench.data.named import Place
from facebench.data.source import PictureSource, decode_picture
from facebench.data.storage import open_place
from facebench.errors import DataError
from facebench.masks.annotation import find_masks

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def open_source(place: Place, split: str) -> PictureSource:
    """Open all pictures directly in the folder at ``place``, a path or URL, in the order of their names.

    ``split`` is "all". Masks are looked for beside the pictures (:func:`facebench.masks.annotation.find_masks`).
    Raises :class:`DataError` if there is no such folder or no picture in it.
    """
    if split != "all":
        raise DataError(f"a folder has no split '{split}': leave --split out")
    folder, archive = open_place(place)
    if archive:
        raise DataError(f"no folder {folder.path_of(archive)}: pictures in a zip archive are zip://FOLDER::URL")
    names = sorted(name for name in folder.names() if splitext(name)[1].lower() in EXTENSIONS)
    if not names:
        raise DataError(f"no pictures in {folder}; looked for {', '.join(sorted(EXTENSIONS))}")
    stems = [name.rpartition(".")[0] for name in names]
    masks = find_masks(folder, stems)
    if masks and (twice := [stem for stem, count in Counter(stems).items() if count > 1]):
        raise DataError(f"several pictures in {folder} are called {twice[0]} and would share a mask: rename one")
    state = hashlib.sha256()
    for fingerprint in folder.fingerprints(names):
        state.update(fingerprint.encode())
    return PictureSource(
        name="folder",
        split="all",
        ids=tuple(f"folder:{name}" for name in names),
        fingerprint=f"folder {state.hexdigest()} {masks[1] if masks else ''}",
        read=lambda index: decode_picture(folder.read(names[index]), folder.path_of(names[index])),
        read_mask=masks[0] if masks else None,
        no_mask_reason=f"no face_masks.zip, face_masks/ or CelebAMask-HQ-mask-anno/ in {folder}",
    )
