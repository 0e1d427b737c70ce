"""Is a difference between two codecs more than chance? Paired over the pictures, corrected for looking often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import LEVEL, percentile_interval
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import value_at
from facebench.analysis.summary import Summary

Floats = NDArray[np.float64]

#: Means that differ by less are equal: it comes from the order in which they were summed.
_LAST_BITS = 1e-12


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
    if math.isclose(ours, theirs, abs_tol=_LAST_BITS) or low <= 0 <= high:
        outcome = "level"
    else:
        outcome = "beats" if (ours > theirs) == summary.higher_is_better(metric) else "loses"
    return Comparison(size, ours, theirs, low, high, p, outcome)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the ``comparisons`` with their p-values corrected for their number, "level" unless those are small.

    Without p-values (fewer than two identities) the values alone decide.
    """
    decided = []
    for comparison, p in zip(comparisons, holm([c.p for c in comparisons]), strict=True):
        undecided = not math.isnan(p) and not significant(p)
        decided.append(replace(comparison, p=p, outcome="level" if undecided else comparison.outcome))
    return decided


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


def pairwise_p(values: Floats, resampled: Floats, *, clusters: int | None = None) -> Floats:
    """Return the two-sided p-value of no difference between each two of K quantities, (K, K), symmetric.

    ``values`` are their means, (K,), and ``resampled`` these in the same resamples, (R, K). The difference, in units
    of its bootstrap standard error, is held against the normal distribution (B. Efron, R. Tibshirani, An Introduction
    to the Bootstrap, 1993, chapter 12). :func:`bootstrap_p` would not do: among 20 quantities there are 190 pairs, and
    190 times the least p that 1,000 resamples can tell is more than a third, so that Holm's correction would call
    everything a tie. 1 where two are equal, NaN where there are not two resamples.

    ``clusters`` is the number of identities that were drawn from: then Student's distribution takes the normal's place,
    which would see differences among a few dozen people where there are none.
    """
    known = ~np.isnan(resampled)
    count = known.sum(axis=0)
    means = np.where(known, resampled, 0).sum(axis=0) / np.maximum(count, 1)
    centred = np.where(known, resampled - means, 0)
    both = known.astype(np.float64).T @ known.astype(np.float64)
    covariance = centred.T @ centred / np.maximum(both - 1, 1)
    variance = np.diag(covariance)
    error = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0))
    gap = np.abs(values[:, None] - values[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = gap / error
    if clusters is not None:
        deviations = _as_normal(deviations, clusters)
    p = np.vectorize(math.erfc, otypes=[np.float64])(deviations / math.sqrt(2))
    return np.where(both < 2, np.nan, np.where(_equal(values), 1.0, p))


def _as_normal(deviations: Floats, clusters: int) -> Floats:
    """Return the normal deviates of the p-values that ``deviations`` in bootstrap standard errors have among few.

    D. L. Wallace, Bounds on normal approximations to Student's and the chi-square distributions, Ann. Math. Statist.
    30, 1959. A bootstrap's standard error is too small by sqrt(1 - 1/n) before.
    """
    freedom = clusters - 1
    with np.errstate(invalid="ignore"):  # of one person alone there is no p-value
        t = deviations * math.sqrt(freedom / clusters)
        return np.asarray((8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t**2 / freedom)))


def significantly_better(
    values: Floats, resampled: Floats, *, higher_is_better: bool, clusters: int | None = None
) -> NDArray[np.bool_]:
    """Return which of K quantities is better than which, (K, K), row better than column, by :func:`pairwise_p`.

    Corrected by Holm for all pairs. Without p-values the values alone decide.
    """
    above, below = np.triu_indices(len(values), k=1)
    p = np.full((len(values), len(values)), np.nan)
    p[above, below] = p[below, above] = holm(pairwise_p(values, resampled, clusters=clusters)[above, below].tolist())
    gain = values[:, None] - values[None, :] if higher_is_better else values[None, :] - values[:, None]
    return np.asarray((gain > 0) & ~_equal(values) & (np.isnan(p) | (p < 1 - LEVEL)))


def _equal(values: Floats) -> NDArray[np.bool_]:
    return np.isclose(values[:, None], values[None, :], rtol=1e-9, atol=_LAST_BITS)


def significant(p: float) -> bool:
    """Return whether a p-value says that there is a difference, at the level of the intervals."""
    return p < 1 - LEVEL
