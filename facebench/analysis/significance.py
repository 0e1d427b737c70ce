"""Is a difference between two codecs more than chance? Paired over the pictures, corrected for looking often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import LEVEL, percentile_interval
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import value_at
from facebench.analysis.summary import Summary

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A codec against another at ``size`` bytes: ``outcome`` is "beats", "loses" or "level".

    ``low`` and ``high`` are the 95 % interval of the difference, ``ours`` minus ``theirs``, and ``p`` its two-sided
    p-value (NaN if undefined). "level": equal, or the interval holds zero.
    """

    size: float
    ours: float
    theirs: float
    low: float
    high: float
    p: float
    outcome: str


def compare_at(summary: Summary, curve: Curve, rival: Curve, metric: str, mask: str, size: float) -> Comparison | None:
    """Return ``curve`` against ``rival``, both in ``metric``, at ``size`` bytes, or None where either ends."""
    ours, theirs = value_at(curve, size).value, value_at(rival, size).value
    if ours is None or theirs is None:
        return None
    low = high = p = math.nan
    if summary.resampled:
        one, other = (summary.resampled_curve(c, metric, mask).at(size) for c in (curve, rival))
        low, high = difference_interval(one, other)
        p = bootstrap_p(one - other)
    if math.isclose(ours, theirs, abs_tol=1e-12) or low <= 0 <= high:
        outcome = "level"
    else:
        outcome = "beats" if (ours > theirs) == summary.higher_is_better(metric) else "loses"
    return Comparison(size, ours, theirs, low, high, p, outcome)


def difference_interval(one: Floats, other: Floats) -> tuple[float, float]:
    """Return the 95 % interval of ``one`` minus ``other``, (resamples,) each, from the same resamples."""
    low, high = percentile_interval((one - other)[:, None])
    return float(low[0]), float(high[0])


def bootstrap_p(differences: Floats) -> float:
    """Return the two-sided p-value of no difference, from the ``differences`` in the resamples, (resamples,).

    Twice the share of resamples on the rarer side of zero, the sample itself counted among them, so never 0
    (A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 4.4). NaN without resamples.
    """
    known = differences[~np.isnan(differences)]
    if not known.size:
        return math.nan
    rarer = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * (rarer + 1) / (known.size + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number (S. Holm, Scand. J. Statist. 6, 1979), in the given order.

    NaN stays NaN, and does not count.
    """
    corrected = [math.nan] * len(p)
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        corrected[place] = largest
    return corrected


def significant(p: float) -> bool:
    """Return whether a p-value says that there is a difference, at the level of the intervals."""
    return p < 1 - LEVEL
