"""The embedded image set: synthetic faces that facebench makes itself (see :mod:`.make`), with their masks.

Nobody's picture: each face is drawn from a generative model (:mod:`.generator`). They are as hard to compress
as real ones (``figures.json`` beside this file has the measurements), but figures for publication need real faces.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facebench.data.source import PictureSource, decode_mask, decode_picture
from facebench.errors import DataError

HERE = Path(__file__).parent
#: Two sheets of tiles, row by row: the pictures (RGB, PNG) and their face masks (black and white, PNG).
FACES_FILE = "faces.png"
MASKS_FILE = "masks.png"
FIGURES_FILE = "figures.json"
SIDE = 64
COLUMNS = 16
COUNT = 256


def open_source(path: Path | None, split: str) -> PictureSource:
    """Open the embedded samples: 64x64 faces with masks; ``path`` is not used, ``split`` is "all".

    Raises :class:`DataError` on another split, or if the files that belong to the package are missing.
    """
    del path
    if split != "all":
        raise DataError(f"the samples have no split '{split}': leave --split out")
    return PictureSource(
        name="samples",
        split="all",
        ids=tuple(f"samples:{index:03d}" for index in range(COUNT)),
        fingerprint=_fingerprint(),
        read=lambda index: _faces()[index],
        read_mask=lambda index: _masks()[index],
        default_crop="full",
        synthetic=True,
    )


def to_sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, 64, 64, C) tiles as one sheet (N / 16 * 64, 1024, C), row by row."""
    rows = tiles.reshape(-1, COLUMNS, SIDE, SIDE, tiles.shape[-1])
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4)).reshape(-1, COLUMNS * SIDE, tiles.shape[-1])


def from_sheet(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a sheet (H, 1024, C) as its tiles (N, 64, 64, C): the inverse of :func:`to_sheet`."""
    rows = sheet.reshape(-1, SIDE, COLUMNS, SIDE, sheet.shape[-1])
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4)).reshape(-1, SIDE, SIDE, sheet.shape[-1])


def _read(name: str) -> bytes:
    try:
        return (HERE / name).read_bytes()
    except OSError as error:
        raise DataError(f"the samples' {name} cannot be read ({error}); install facebench again") from error


@cache
def _fingerprint() -> str:
    return "samples " + hashlib.sha256(_read(FACES_FILE) + _read(MASKS_FILE)).hexdigest()


@cache
def _faces() -> NDArray[np.uint8]:
    return _tiles(decode_picture(_read(FACES_FILE), FACES_FILE))


@cache
def _masks() -> NDArray[np.bool_]:
    return _tiles(decode_mask(_read(MASKS_FILE), MASKS_FILE).astype(np.uint8)[..., None])[..., 0] > 0


def _tiles(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if sheet.shape[:2] != (COUNT // COLUMNS * SIDE, COLUMNS * SIDE):
        raise DataError(f"the samples' files are damaged (sheet of {sheet.shape[:2]}); install facebench again")
    tiles = from_sheet(sheet)
    tiles.setflags(write=False)  # cached and shared
    return tiles
