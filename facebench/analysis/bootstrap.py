"""95 % percentile-bootstrap confidence intervals of means, resampling whole identities (Efron & Tibshirani 1993).

Pictures of one person resemble each other, so that resampling pictures one by one would give intervals that
are too narrow: whole identities are drawn instead. A picture of unknown identity stands for itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
#: Fixed, so that the same records always give the same table.
SEED = 20181128
LEVEL = 0.95

#: Above this number, clusters are drawn in groups: memory stays bounded, and intervals of so large a set lose nothing
#: (the width estimated from 5,000 groups is good to 1 %, that from 1,000 resamples to 2 %).
MOST_CLUSTERS = 5000

#: Clusters drawn at a time, over all resamples of a block: bounds the memory, not the result.
_BLOCK = 2_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def cluster_codes(people: Ints, positions: Ints, *, most: int = MOST_CLUSTERS) -> tuple[Ints, int]:
    """Return the cluster (0 .. count - 1) of each row, and the count.

    ``people`` numbers the identities from 0, negative where unknown; ``positions`` tell the pictures apart; both
    (N,). More than ``most`` clusters are dealt at random into that many groups, each then drawn as one.
    """
    keys = np.where(people < 0, positions, people + positions.max(initial=0) + 1)
    clusters, codes = np.unique(keys, return_inverse=True)
    if len(clusters) <= most:
        return codes.astype(np.int64), len(clusters)
    group = np.random.default_rng(SEED).permutation(len(clusters)) % most
    return group[codes].astype(np.int64), most


def cluster_sums(values: Floats, clusters: Ints, count: int) -> tuple[Floats, Floats]:
    """Return sum and number of the ``values`` of each cluster, both (count,) float64; NaN values are left out."""
    there = ~np.isnan(values)
    sums = np.bincount(clusters[there], weights=values[there], minlength=count).astype(np.float64)
    return sums, np.bincount(clusters[there], minlength=count).astype(np.float64)


def resampled_means(sums: Floats, counts: Floats, *, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Return the mean of each of K quantities in each resample, (resamples, K).

    ``sums`` and ``counts``, (C, K), are those of :func:`cluster_sums`, one column per quantity. All quantities
    share the draws of clusters, so that differences between columns are paired. NaN where a resample holds
    no value; columns with infinite sums (the PSNR of a perfect copy) are NaN throughout.
    """
    clusters, quantities = sums.shape
    means = np.full((resamples, quantities), np.nan)
    finite = np.isfinite(sums).all(axis=0)
    # Most quantities are measured on the same pictures: multiply each distinct column of counts only once.
    # (Keyed by their bytes: numpy.unique would sort columns of thousands of clusters.)
    places: dict[bytes, int] = {}
    which = np.array([places.setdefault(column.tobytes(), len(places)) for column in counts.T], dtype=np.int64)
    distinct = counts[:, [int(np.argmax(which == place)) for place in range(len(places))]]
    which = which[finite]
    draw = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(1, clusters))
    for start in range(0, resamples if clusters else 0, step):
        rows = min(step, resamples - start)
        drawn = draw.integers(0, clusters, (rows, clusters)) + clusters * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + rows, finite] = (weights @ sums[:, finite]) / (weights @ distinct)[:, which]
    return means


def percentile_interval(resampled: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds of the 95 % interval of each column of ``resampled``, (R, K)."""
    low, high = np.full(resampled.shape[1], np.nan), np.full(resampled.shape[1], np.nan)
    known = ~np.isnan(resampled).all(axis=0)
    if known.any():
        tail = 100 * (1 - LEVEL) / 2
        low[known], high[known] = np.nanpercentile(resampled[:, known], [tail, 100 - tail], axis=0)
    return low, high


def mean_interval(
    values: Floats, clusters: Ints | None = None, *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of ``values``, (N,); NaN, NaN for fewer than two clusters.

    ``clusters`` says which values belong together, (N,) integers from 0; by default each stands for itself.
    """
    codes = np.arange(len(values)) if clusters is None else clusters
    sums, counts = cluster_sums(values, codes, int(codes.max(initial=-1)) + 1)
    if np.count_nonzero(counts) < 2:
        return float("nan"), float("nan")
    low, high = percentile_interval(resampled_means(sums[:, None], counts[:, None], resamples=resamples, seed=seed))
    return float(low[0]), float(high[0])
