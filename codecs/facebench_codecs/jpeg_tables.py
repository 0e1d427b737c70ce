"""Huffman tables fixed per quality, for JPEGs without headers: how they are fitted, kept and found.

A set of tables is 412 bytes: the four tables as in a DHT segment. The file has one for each quality and each of
a few picture sides, since small pictures have more energy per block. Every symbol that a baseline scan may
have gets a code, so any picture can be coded. The shipped file is ``facebench train jpeg --size 128`` on CelebA.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError, SettingError, TrainedOn, TrainingJob, WeightsError, kept_weights_dir
from facebench_codecs.jpeg_file import encode_jpeg
from facebench_codecs.jpeg_stream import LEGAL_SYMBOLS, HuffmanTable, ScanReader, Tables, mcus_of, take_apart
from facebench_codecs.weights import load_weights, save_weights

KIND = "jpeg-huffman"
QUALITIES = range(1, 101)
SMALLEST_SIDE = 16
#: How many training pictures are counted at each quality and side; more do not change the tables' cost.
PICTURES = 600
MAX_CODE_BITS = 16
_SET_BYTES = sum(16 + len(symbols) for symbols in LEGAL_SYMBOLS)


@dataclass(frozen=True)
class FittedTables:
    """The tables for one quality and picture size; ``data`` are the bytes that a decoder has to hold."""

    tables: Tables
    data: bytes
    trained_on: TrainedOn

    @property
    def digest(self) -> str:
        """SHA-256 of ``data``."""
        return hashlib.sha256(self.data).hexdigest()


def shipped_tables() -> Path:
    """Return the path of the tables that come with the codec."""
    return Path(str(resources.files("facebench_codecs").joinpath("tables", "jpeg.safetensors")))


def load_tables(path: Path, quality: int, size: tuple[int, int]) -> FittedTables:
    """Return the tables for ``quality`` and pictures of ``size`` = (height, width) coded pixels.

    Those of the nearest side are taken. Raises :class:`facebench.WeightsError`.
    """
    weights = load_weights(path, KIND)
    try:
        sets, sides = weights.tensors["tables"], weights.tensors["sides"]
        side = math.sqrt(size[0] * size[1])
        nearest = int(np.argmin(np.abs(np.log2(sides) - math.log2(side))))
        data = sets[nearest, QUALITIES.index(quality)].tobytes()
        return FittedTables(_tables_from(data), data, weights.trained_on)
    except (KeyError, IndexError, ValueError, TypeError, CodecError) as error:
        raise WeightsError(f"weights {path} have no usable tables ({error}); train or copy them again") from None


def _tables_from(data: bytes) -> Tables:
    tables, position = [], 0
    for legal in LEGAL_SYMBOLS:
        stop = position + 16 + len(legal)
        table = HuffmanTable(tuple(data[position : position + 16]), tuple(data[position + 16 : stop]))
        if sorted(table.symbols) != sorted(legal):
            raise CodecError("a symbol has no code")
        tables.append(table)
        position = stop
    one, two, three, four = tables
    return one, two, three, four


def train_jpeg(job: TrainingJob) -> Path:
    """Fit the tables to the training pictures, at their own side and its halves; returns the weights file.

    Raises :class:`facebench.SettingError` on options that have no meaning here.
    """
    if job.loss is not None or job.epochs is not None or job.recipe is not None:
        raise SettingError("jpeg's tables have no loss, epochs or recipe to choose: leave these options out")
    chosen = np.unique(np.linspace(0, len(job.train) - 1, min(PICTURES, len(job.train))).astype(int))
    images = np.ascontiguousarray(job.train.images[chosen])
    sides = _sides(images.shape[1])
    sets = np.empty((len(sides), len(QUALITIES), _SET_BYTES), np.uint8)
    total = len(sides) * len(QUALITIES)
    job.log(f"counting symbols of {len(images)} pictures at {len(QUALITIES)} qualities and sides {sides}")
    for row, side in enumerate(sides):
        small = [_resized(image, side) for image in images]
        for column, quality in enumerate(QUALITIES):
            sets[row, column] = np.frombuffer(fit_tables(count_symbols(small, quality)), np.uint8)
            job.progress(row * len(QUALITIES) + column + 1, total, {"quality": float(quality)})
    path = job.out or kept_weights_dir() / "jpeg.safetensors"
    meta = {"kind": KIND, "side": sides[-1], "trained_on": job.trained_on}
    tensors: dict[str, NDArray[Any]] = {"tables": sets, "sides": np.array(sides, np.int32)}
    save_weights(path, tensors, meta, {**job.card(), "pictures": len(images)})
    return path


def _sides(side: int) -> list[int]:
    """Return ``side`` and its halves down to :data:`SMALLEST_SIDE`, ascending."""
    sides = [side]
    while sides[0] // 2 >= SMALLEST_SIDE:
        sides.insert(0, sides[0] // 2)
    return sides


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if image.shape[0] == side:
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def count_symbols(images: list[NDArray[np.uint8]], quality: int) -> NDArray[np.int64]:
    """Return how often each symbol occurs in the JPEGs of ``images``, (4, 256) by table and value."""
    counts = np.zeros(4 * 256, np.int64)
    for image in images:
        parts = take_apart(encode_jpeg(image, quality))
        symbols = ScanReader(parts.tables).read(parts.scan, mcus_of(image.shape[:2]))
        counts += np.bincount(symbols.table * 256 + symbols.value, minlength=4 * 256)
    return counts.reshape(4, 256)


def fit_tables(counts: NDArray[np.int64]) -> bytes:
    """Return the set of tables, 412 bytes, whose codes are the shortest for ``counts``, (4, 256)."""
    return b"".join(
        _fit_table(legal, [int(count) for count in row[list(legal)]]).to_bytes()
        for legal, row in zip(LEGAL_SYMBOLS, counts, strict=True)
    )


def _fit_table(legal: tuple[int, ...], counts: list[int]) -> HuffmanTable:
    # The additional symbol of no weight keeps the code of ones, which JPEG forbids, free. Symbols never seen
    # weigh little, yet more than it.
    weights = [0, *(2 * count + 1 for count in counts)]
    lengths = code_lengths(weights, MAX_CODE_BITS)[1:]
    # Codes of one length go to the frequent symbols first: theirs then have the most leading zeros, which makes
    # more payloads end in zeros, and these are not sent.
    order = sorted(range(len(legal)), key=lambda i: (lengths[i], -counts[i]))
    return HuffmanTable(tuple(lengths.count(bits) for bits in range(1, 17)), tuple(legal[i] for i in order))


def code_lengths(weights: list[int], limit: int) -> list[int]:
    """Return the lengths of an optimal prefix code for ``weights`` of at most ``limit`` bits.

    Package-merge (Larmore & Hirschberg 1990).
    """
    leaves = sorted((weight, (index,)) for index, weight in enumerate(weights))
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(limit):
        merged = sorted(leaves + packages, key=lambda item: item[0])
        pairs = zip(merged[::2], merged[1::2], strict=False)
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
    lengths = [0] * len(weights)
    for _, members in packages[: len(weights) - 1]:
        for index in members:
            lengths[index] += 1
    return lengths
