"""What codecs make of single pictures at byte budgets: the cells of a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facebench.codec import Codec
from facebench.errors import UnsupportedSize
from facebench.measure import CODEC_FAULTS, checked_payload, checked_picture, describe
from facebench.metrics.structural import score
from facebench.operating_point import OperatingPoint, make_codec
from facebench.plugins import Registry


@dataclass(frozen=True)
class Cell:
    """A codec's decoded picture, (H, W, 3) uint8, the bytes it took and its 1-SSIM; or no picture, and why.

    ``downscaled`` says that the picture was coded at a smaller size, because it does not fit otherwise. Without a
    picture, ``reason`` is one line, ``error`` is NaN and ``bytes`` the fewest that the codec can do, 0 if it does not
    work at all.
    """

    picture: NDArray[np.uint8] | None = None
    bytes: int = 0
    error: float = float("nan")
    downscaled: bool = False
    reason: str = ""


def budget_cells(pictures: NDArray[np.uint8], point: OperatingPoint, registry: Registry) -> list[Cell]:
    """Return a codec's cells of ``pictures``, (N, H, W, 3) uint8 RGB, at the budget of ``point``.

    Pictures that do not fit are tried again downscaled, if the codec takes smaller ones. What the codec raises becomes
    the reason of empty cells.
    """
    cells = _cells(pictures, point, registry)
    over = [index for index, cell in enumerate(cells) if cell.picture is None]
    if over and not point.downscale:
        smaller = _cells(pictures[over], replace(point, downscale=True), registry)
        for index, cell in zip(over, smaller, strict=True):
            if cell.picture is not None or 0 < cell.bytes < cells[index].bytes:
                cells[index] = cell
    return cells


def _cells(pictures: NDArray[np.uint8], point: OperatingPoint, registry: Registry) -> list[Cell]:
    spec, size = registry.codecs[point.codec], pictures.shape[1:3]
    try:
        # Two instances: a decoder has seen no picture.
        encoder, decoder = make_codec(spec, point, size), make_codec(spec, point, size)
    except UnsupportedSize:
        return [Cell(reason=f"takes no picture of {size[1]}x{size[0]}")] * len(pictures)
    except CODEC_FAULTS as error:
        return [Cell(reason=describe(error))] * len(pictures)
    return [_cell(picture, point, encoder, decoder) for picture in pictures]


def _cell(picture: NDArray[np.uint8], point: OperatingPoint, encoder: Codec, decoder: Codec) -> Cell:
    assert point.budget is not None
    try:
        payload, bits = checked_payload(encoder, encoder.encode(picture))
        used = -(-bits // 8)
        if used > point.budget:
            how = ", downscaled" if point.downscale else ""
            return Cell(bytes=used, downscaled=point.downscale, reason=f"smallest: {used:,} B{how}")
        decoded = checked_picture(decoder.decode(payload), picture.shape[:2])
    except CODEC_FAULTS as error:
        return Cell(reason=describe(error))
    dissimilarity = float(score(picture[None], decoded[None], None)["1-SSIM"][0, 0])
    return Cell(decoded, used, dissimilarity, point.downscale)


@dataclass(frozen=True)
class Sheet:
    """A contact sheet's content: at each budget in bytes the cell of each codec, picture by picture.

    ``names`` are the N pictures', ``originals`` is (N, H, W, 3) uint8 RGB, ``preprocessing`` says in words how they
    were made, ``codecs`` are the columns' names, and ``cells[picture][budget][codec]`` is what stands there.
    """

    names: Sequence[str]
    originals: NDArray[np.uint8]
    preprocessing: str
    codecs: Sequence[str]
    budgets: Sequence[int]
    cells: Sequence[Sequence[Sequence[Cell]]]


def best_of(row: Sequence[Cell]) -> Cell | None:
    """Return the cell of the smallest 1-SSIM, None if there is none."""
    scored = [cell for cell in row if cell.error == cell.error]
    return min(scored, key=lambda cell: cell.error) if scored else None
