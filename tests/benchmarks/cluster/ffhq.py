"""What is to be done: FFHQ, 70,000 pictures at 1024x1024, 20 codecs x 10 points; and pictures like its."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

PICTURES, SIZE, POINTS_OF_A_CODEC = 70_000, 1024, 10
#: The lossy codecs that take pictures of this size, at their defaults, and five of them at a faster setting.
CODECS = (
    "jpeg,webp,jpeg2000,jpegxl,avif,heic,jpegxr,htj2k,mozjpeg,jpegli,jpegls,vp9,h264,astc,palettepng,"
    "jpeg:scale=0.5,webp:method=0,avif:speed=8,jpegxl:effort=4,heic:preset=medium"
)
#: FFHQ's README: 89.1 GB in 70,000 PNG files. The pictures measured here get grain until theirs have that size.
SOURCE_BYTES = 89.1e9 / PICTURES
GRAIN = 1.2


def write_pictures(celeba: Path, folder: Path, count: int) -> None:
    """Write ``count`` faces of CelebA, enlarged to 1024x1024 and with grain, as PNG files of about FFHQ's size."""
    chance = np.random.default_rng(0)
    folder.mkdir()
    with zipfile.ZipFile(celeba / "img_align_celeba.zip") as pictures:
        names = sorted(name for name in pictures.namelist() if name.endswith(".jpg"))[:count]
        for index, name in enumerate(names):
            face = cv2.imdecode(np.frombuffer(pictures.read(name), np.uint8), cv2.IMREAD_COLOR)[20:198]
            large = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).astype(float)
            grainy = np.clip(large + chance.normal(0, GRAIN, large.shape), 0, 255).round().astype(np.uint8)
            cv2.imwrite(str(folder / f"{index:05}.png"), grainy)
