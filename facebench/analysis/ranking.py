"""Who is better: the order of a leaderboard's rows, and of curves at a number of bytes, with ties.

A rank is 1 + the number of those that are significantly better: paired over identities, corrected by Holm for all pairs
that are ranked together (:func:`facebench.analysis.significance.significantly_better`). So two that differ by chance
only can share a rank, and nothing is ranked below another on the strength of noise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import value_at
from facebench.analysis.significance import significantly_better
from facebench.analysis.summary import WHOLE, Row, Summary


def requested_points(points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the labels that the user asked for; all of them if the run holds only the baseline's own."""
    asked = [label for label, about in points.items() if about.get("requested", True)]
    return asked or list(points)


def ranked_rows(summary: Summary, points: list[str], mask: str = WHOLE) -> list[tuple[int | None, Row]]:
    """Return the rows of ``points`` in that mask variant, best rank first, each with its rank from 1.

    Ranked by the mean of ``summary.ranked_by``. Rows that share a rank stand in the order of their labels, not of
    their means, which a new run of the same points may change by chance. One row more can still change the ranks of
    others: Holm's correction is for all pairs, and grows with their number. Rows with failed pictures or no finite
    mean follow, in the run's order, ranked None.
    """
    metric = summary.ranked_by
    chosen = set(points)
    rows = [row for row in summary.rows if row.mask == mask and row.point in chosen]
    sound = [row for row in rows if not row.failed and math.isfinite(row.metrics[metric].mean)]
    means = [row.metrics[metric].mean for row in sound]
    resampled = [summary.resampled[row.point, mask, metric] for row in sound] if summary.resampled else []
    clusters = summary.clusters([row.point for row in sound], metric, mask)
    ranks = ranks_of(means, resampled, higher_is_better=summary.higher_is_better(metric), clusters=clusters)
    ranked: list[tuple[int | None, Row]] = list(zip(ranks, sound, strict=True))
    ranked.sort(key=lambda pair: (pair[0], pair[1].point))
    return ranked + [(None, row) for row in rows if row not in sound]


def ranks_of(
    values: Sequence[float],
    resampled: Sequence[NDArray[np.float64]],
    *,
    higher_is_better: bool,
    clusters: int | None = None,
) -> list[int]:
    """Return the rank of each of ``values``, given each in the same bootstrap resamples, (resamples,).

    ``clusters`` is the number of identities that were drawn from. With no ``resampled`` values only those that are
    equal share a rank.
    """
    stacked = np.stack(resampled, axis=1) if resampled else np.empty((0, len(values)))
    better = significantly_better(
        np.asarray(values, float), stacked, higher_is_better=higher_is_better, clusters=clusters
    )
    return [int(rank) for rank in 1 + better.sum(axis=0)]


@dataclass(frozen=True)
class Place:
    """A curve's ``value`` at some number of bytes, its rank among the others there, and whether one shares it."""

    curve: Curve
    value: float
    rank: int
    shared: bool


@dataclass(frozen=True)
class RankingAt:
    """The curves that have a value at ``size`` bytes: all of them, and of each codec the one with the best value.

    ``curves`` goes by curve, ``codecs`` by codec; each is ranked among its own.
    """

    size: float
    curves: Mapping[str, Place]
    codecs: Mapping[str, Place]


def ranking_at(
    summary: Summary, metric: str, mask: str, size: float, *, only: Collection[str] | None = None
) -> RankingAt:
    """Return the ranking at ``size`` bytes by ``metric`` over ``mask``; empty where no curve has a value.

    ``only`` names the curves to rank, by default all.
    """
    readings = {
        curve: value
        for name, curve in summary.curves(metric, mask).items()
        if (only is None or name in only) and (value := value_at(curve, size).value) is not None
    }
    resampled = {}
    if summary.resampled:
        resampled = {curve.name: summary.resampled_curve(curve, metric, mask).at(size) for curve in readings}
    sign = -1 if summary.higher_is_better(metric) else 1
    best: dict[str, Curve] = {}
    for curve in sorted(readings, key=lambda curve: (sign * readings[curve], curve.name)):
        best.setdefault(curve.codec, curve)

    def placed(curves: Sequence[Curve]) -> list[Place]:
        values = [readings[curve] for curve in curves]
        draws = [resampled[curve.name] for curve in curves] if resampled else []
        better = summary.higher_is_better(metric)
        clusters = summary.clusters([point.label for curve in curves for point in curve.points], metric, mask)
        ranks = ranks_of(values, draws, higher_is_better=better, clusters=clusters)
        return [
            Place(curve, value, rank, shared=ranks.count(rank) > 1)
            for curve, value, rank in zip(curves, values, ranks, strict=True)
        ]

    return RankingAt(
        size,
        {place.curve.name: place for place in placed(list(readings))},
        {place.curve.codec: place for place in placed(list(best.values()))},
    )


def codec_order(rankings: Sequence[RankingAt]) -> list[str]:
    """Return the codecs that have a value in any of ``rankings``, which go from few bytes to many, in order.

    First those that come in at the fewest bytes; among them by their rank there, then by name.
    """
    first: dict[str, tuple[float, int]] = {}
    for ranking in rankings:
        for codec, place in ranking.codecs.items():
            first.setdefault(codec, (ranking.size, place.rank))
    return sorted(first, key=lambda codec: (*first[codec], codec))
