"""Which pictures a codec does worst on at about a set number of bytes, and which are hard for many codecs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facebench.analysis.summary import WHOLE, Row, Summary

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: Pictures per curve at most, and at most this part of those that have a value: most of a few are no worst ones.
COUNT, PART = 20, 5
#: An operating point is at about the bytes asked for if it has neither more nor less than so many times them.
NEAR = 2.0


@dataclass(frozen=True)
class WorstPicture:
    """A picture's name, its value in the metric, and its payload in bytes."""

    picture: str
    value: float
    bytes: int


@dataclass(frozen=True)
class WorstPictures:
    """The worst pictures of a curve at one of its operating points, the worst first; ``bytes``: the point's mean.

    ``failures`` counts by error kind the pictures that failed there ("over budget" among them), and were not judged.
    """

    curve: str
    codec: str
    point: str
    bytes: float
    pictures: tuple[WorstPicture, ...]
    failures: Mapping[str, int] = field(default_factory=dict)


def worst_pictures(
    run: Run, summary: Summary, *, size: float, metric: str | None = None, count: int | None = None
) -> tuple[WorstPictures, ...]:
    """Return for each curve of ``run`` its ``count`` worst whole pictures at about ``size`` bytes.

    By default :data:`COUNT`, but no more than a fifth of those that have a value, and at least one. Taken are those
    of its budget point of ``size`` bytes if the run has one (pictures over the budget are not among them), else of
    the point nearest to ``size`` in the logarithm of the mean bytes. Curves without a point within a factor of two,
    and lossless codecs, are left out. ``metric`` is the ranking one by default.
    """
    metric = metric or summary.ranked_by
    points = run.manifest["points"]
    by_curve: dict[str, list[Row]] = {}
    for row in summary.rows:
        if row.mask == WHOLE and row.pictures and not points[row.point].get("lossless"):
            by_curve.setdefault(row.plain_curve, []).append(row)
    found = []
    whole = run.records[run.records["mask"] == WHOLE]
    for curve, rows in by_curve.items():
        row = min(rows, key=lambda row: _distance(row, size))
        if row.budget == size or 1 / NEAR <= row.bytes / size <= NEAR:
            worst = _worst(whole[whole["point"] == row.point], metric, count, summary.higher_is_better(metric))
            found.append(WorstPictures(curve, row.codec, row.point, row.bytes, worst, row.failures))
    return tuple(found)


def shared_worst(worst: Iterable[WorstPictures]) -> list[tuple[str, int]]:
    """Return the pictures in the lists of at least two codecs with the number of those, the most widely shared first.

    Curves of one codec count once: they resemble each other.
    """
    codecs: dict[str, set[str]] = {}
    for of_curve in worst:
        for picture in of_curve.pictures:
            codecs.setdefault(picture.picture, set()).add(of_curve.codec)
    shared = [(picture, len(names)) for picture, names in codecs.items() if len(names) > 1]
    return sorted(shared, key=lambda item: (-item[1], item[0]))


def _distance(row: Row, size: float) -> tuple[bool, int, float]:
    """Return a key by which the point to take is the first: the budget's that fits most pictures, then the nearest."""
    if row.budget == size:
        return False, row.failed, 0.0
    return True, 0, abs(math.log(row.bytes / size)) if row.bytes > 0 else math.inf


def _worst(records: pd.DataFrame, metric: str, count: int | None, higher_is_better: bool) -> tuple[WorstPicture, ...]:
    records = records[(records["status"] == "ok") & records[metric].notna()]
    if count is None:
        count = max(1, min(COUNT, len(records) // PART))
    values = records[metric].to_numpy(dtype=np.float64)
    order = np.argsort(values if higher_is_better else -values, kind="stable")[:count]
    chosen = records.iloc[order]
    rows = zip(chosen["picture"], chosen[metric], chosen["payload_bytes"], strict=True)
    return tuple(WorstPicture(str(picture), float(value), int(size)) for picture, value, size in rows)
