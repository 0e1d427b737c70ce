"""Folders of pictures to run on: CelebA's test split, repeated to any number, as files or prepared beforehand."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

MASKS = "face_masks"
#: The crop of all benchmarks, as ``--crop`` takes it: CelebA's usual one.
CROP = "centre-148"


def link_pictures(celeba: Path, folder: Path, count: int) -> Path:
    """Fill ``folder`` with ``count`` pictures and masks of the test split, repeated by hard links; return it."""
    from facebench.data.celeba import facebench_split

    numbers = [entry.number for entry in facebench_split() if entry.part == "test"]
    (folder / MASKS).mkdir(parents=True)
    for archive, member, ending, target in (
        ("img_align_celeba.zip", "img_align_celeba", ".jpg", folder),
        ("face_masks.zip", MASKS, ".png", folder / MASKS),
    ):
        with zipfile.ZipFile(celeba / archive) as opened:
            for index, number in enumerate(numbers[:count]):
                (target / f"{index:06}{ending}").write_bytes(opened.read(f"{member}/{number}{ending}"))
    _repeat(folder, len(numbers), count, ".jpg")
    return folder


def write_pngs(celeba: Path, size: int, plain: Path, masked: Path, count: int) -> None:
    """Write ``count`` pictures of the test split at ``size`` pixels as PNG files, ready for every program.

    ``plain`` gets the pictures alone (CompressAI reads all that lies in a folder and below), ``masked`` the same
    files by hard links and their masks.
    """
    import cv2
    import numpy as np

    from facebench.data.celeba import facebench_split
    from facebench.data.preprocess import Preprocessing
    from facebench.data.source import decode_mask, decode_picture

    numbers = [entry.number for entry in facebench_split() if entry.part == "test"]
    ready = Preprocessing(CROP, size)
    plain.mkdir(parents=True)
    (masked / MASKS).mkdir(parents=True)
    with (
        zipfile.ZipFile(celeba / "img_align_celeba.zip") as pictures,
        zipfile.ZipFile(celeba / "face_masks.zip") as masks,
    ):
        for index, number in enumerate(numbers[:count]):
            picture = ready.picture(decode_picture(pictures.read(f"img_align_celeba/{number}.jpg"), number))
            mask = ready.mask(decode_mask(masks.read(f"{MASKS}/{number}.png"), number))
            cv2.imwrite(str(masked / f"{index:06}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            cv2.imwrite(str(masked / MASKS / f"{index:06}.png"), mask.astype(np.uint8) * 255)
    _repeat(masked, len(numbers), count, ".png")
    for file in masked.glob("*.png"):
        os.link(file, plain / file.name)


def _repeat(folder: Path, written: int, count: int, ending: str) -> None:
    for index in range(written, count):
        source = index % written
        os.link(folder / f"{source:06}{ending}", folder / f"{index:06}{ending}")
        os.link(folder / MASKS / f"{source:06}.png", folder / MASKS / f"{index:06}.png")
