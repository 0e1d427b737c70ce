"""Whom a codec serves worse: its metric within groups of pictures, each group at the same bytes.

A group is read off its own rate-distortion curve: the mean bytes and the mean metric of its pictures at the curve's
operating points. So a codec that spends more bytes on the faces of one group does not hide its gap by that.

Some faces are simply harder to code. A codec's gap is therefore also held against that of the baseline at the same
bytes: what is beyond it is the codec's own doing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import RESAMPLES, cluster_codes, cluster_sums, percentile_interval, resampled_means
from facebench.analysis.curves import Curve, CurvePoint, make_curve
from facebench.analysis.equal_bytes import BUDGETS, Reading, Resampled, value_at
from facebench.analysis.groupings import Group, Grouping, groupings_of
from facebench.analysis.significance import holm, pairwise_p
from facebench.analysis.summary import WHOLE, Summary

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: Bytes per picture at which groups are compared unless hardly any curve reaches them.
DEFAULT_SIZE = 128

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupValue:
    """The metric's mean within ``group``, its 95 % interval (NaN if undefined); ``failures`` over the whole curve."""

    group: Group
    reading: Reading
    low: float = math.nan
    high: float = math.nan
    failures: int = 0


@dataclass(frozen=True)
class Gap:
    """The largest difference between the groups of a grouping: the group that fares ``worst`` against the ``best``.

    ``difference`` is worst minus best in the metric's unit; ``share`` its size as a share of the mean over all
    pictures; ``beyond`` that share minus the baseline's between the same two groups at the same bytes, which is
    negative where the baseline serves them the other way round. Each has its 95 % interval over identities, not
    corrected for having chosen worst and best by looking. ``share_p`` and ``beyond_p`` are the two-sided p-values of
    no such share, held against Student's distribution of as many identities as the smaller group has, and corrected: by
    Bonferroni for the pairs of groups that there were to choose from, then by Holm for all curves and groupings. NaN
    where undefined, such as ``beyond`` of the baseline itself.
    """

    worst: str
    best: str
    difference: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float
    share_p: float = math.nan
    beyond: float = math.nan
    beyond_low: float = math.nan
    beyond_high: float = math.nan
    beyond_p: float = math.nan


@dataclass(frozen=True)
class GroupedCurve:
    """A curve at ``size`` bytes: over all pictures, and by the grouping's name within its groups, with their gap.

    A grouping of which fewer than two groups can be judged and have a value there has no gap.
    """

    curve: str
    size: float
    reading: Reading
    values: Mapping[str, tuple[GroupValue, ...]]
    gaps: Mapping[str, Gap]


def usual_size(summary: Summary) -> int:
    """Return the bytes at which to compare groups: 128, or the next budget at which many more curves have a value.

    Many more: over twice as many. If no curve has a value at any: that of the budgets of the run's points that is
    nearest to 128, by ratio, and 128 if it has none.
    """
    curves = summary.curves(summary.ranked_by).values()
    counts = {size: sum(value_at(curve, size).value is not None for curve in curves) for size in BUDGETS}
    most = max(counts.values())
    if not most:
        return min(summary.budgets, key=_from_default, default=DEFAULT_SIZE)
    if 2 * counts[DEFAULT_SIZE] >= most:
        return DEFAULT_SIZE
    return min((size for size in BUDGETS if counts[size] == most), key=_from_default)


def _from_default(size: float) -> float:
    return abs(math.log(size / DEFAULT_SIZE))


def fairness_gap(curve: GroupedCurve, groupings: Sequence[Grouping]) -> tuple[str, Gap] | None:
    """Return the attribute whose groups ``curve`` treats most unequally, by the share of its mean, and their gap.

    Of the ``groupings`` pose and face size are not counted. None where no attribute has a gap.
    """
    named = [(grouping.name, curve.gaps.get(grouping.name)) for grouping in groupings if grouping.attribute]
    found = [(name, gap) for name, gap in named if gap is not None and not math.isnan(gap.share)]
    return max(found, key=lambda one: one[1].share, default=None)


def grouped_curves(
    run: Run,
    summary: Summary,
    *,
    size: float = DEFAULT_SIZE,
    metric: str | None = None,
    mask: str = WHOLE,
    resamples: int = RESAMPLES,
) -> tuple[GroupedCurve, ...]:
    """Return every curve of ``summary``, the summary of ``run``, at ``size`` bytes within the groups of its pictures.

    ``metric`` is the ranking one by default. Without intervals and p-values if ``resamples`` is 0. Empty if the run
    has no facts of its pictures.
    """
    groupings = groupings_of(run)
    if not groupings:
        return ()
    metric = metric or summary.ranked_by
    higher = summary.higher_is_better(metric)
    reader = _Reader(_Rows.of(run, metric, mask), groupings, size, higher, resamples)
    curves = summary.curves(metric, mask)
    levels = {name: reader.levels(curve) for name, curve in curves.items()}
    reference = levels.get(summary.baseline_curve or "")
    grouped = []
    for name in curves:
        rival = None if name == summary.baseline_curve else reference
        widest = {g.name: _widest(g, levels[name], higher) for g in groupings}
        gaps = {which: _gap(own, rival, higher) for which, own in widest.items() if own is not None}
        failed = reader.rows.failures(name)
        values = {g.name: tuple(_value(g, group, levels[name], failed) for group in g.groups) for g in groupings}
        grouped.append(GroupedCurve(name, size, levels[name].everyone.reading, values, gaps))
    return _corrected(grouped)


@dataclass(frozen=True)
class _Rows:
    """The records in one metric and mask variant: the place of each row's picture, its value, bytes and status."""

    place: NDArray[np.int64]
    values: Floats
    bytes: Floats
    ok: NDArray[np.bool_]
    curve: pd.Series
    of_point: Mapping[Any, NDArray[np.int64]]
    clusters: NDArray[np.int64]
    cluster_count: int

    @classmethod
    def of(cls, run: Run, metric: str, mask: str) -> _Rows:
        import pandas as pd

        assert run.pictures is not None
        records = run.records[run.records["mask"] == mask]
        place = pd.Index(run.pictures["picture"]).get_indexer(pd.Index(records["picture"]))
        records, place = records[place >= 0], place[place >= 0]
        people, names = pd.factorize(run.pictures["identity"])
        people = np.where(np.isin(people, np.flatnonzero(names == "")), -1, people).astype(np.int64)
        clusters, count = cluster_codes(people, np.arange(len(people)))
        values = np.asarray(records[metric].to_numpy(dtype=np.float64, na_value=np.nan))
        sizes = np.asarray(records["bits"].to_numpy(dtype=np.float64, na_value=np.nan)) / 8
        return cls(
            place=place.astype(np.int64),
            values=values,
            bytes=np.where(np.isnan(values), np.nan, sizes),  # as on a curve: means over the same pictures
            ok=np.asarray((records["status"] == "ok").to_numpy(dtype=bool)),
            curve=records["curve"],
            of_point=records.groupby("point", sort=False, observed=True).indices,
            clusters=clusters,
            cluster_count=count,
        )

    def failures(self, curve: str) -> NDArray[np.int64]:
        """Return how many of the curve's points failed on each picture, (N,)."""
        failed = ~self.ok & np.asarray((self.curve == curve).to_numpy(dtype=bool))
        return np.bincount(self.place[failed], minlength=len(self.clusters))


@dataclass(frozen=True)
class _Level:
    """A mean over so many ``people`` at the size asked for; ``resampled`` in each resample, (R,), None without."""

    reading: Reading
    people: int = 0
    resampled: Floats | None = None


@dataclass(frozen=True)
class _Levels:
    """A curve's level over all pictures, and within each group that is judged, by grouping and group."""

    everyone: _Level
    groups: Mapping[tuple[str, str], _Level]


@dataclass(frozen=True)
class _Reader:
    """Reads curves within groups, all at one size."""

    rows: _Rows
    groupings: tuple[Grouping, ...]
    size: float
    higher_is_better: bool
    resamples: int

    def levels(self, curve: Curve) -> _Levels:
        """Return ``curve`` over everyone and within the groups that can be judged."""
        whole = value_at(curve, self.size)
        if whole.value is None:
            return _Levels(_Level(whole), {})
        judged = {
            (grouping.name, group.name): group.members
            for grouping in self.groupings
            for group in grouping.groups
            if not group.unjudged
        }
        everyone, *others = self._read(curve, [np.ones(len(self.rows.clusters), np.bool_), *judged.values()])
        return _Levels(everyone, dict(zip(judged, others, strict=True)))

    def _read(self, curve: Curve, parts: Sequence[NDArray[np.bool_]]) -> list[_Level]:
        """Return the level of ``curve`` within each of the ``parts``, (N,) bool each."""
        rows, labels = self.rows, [point.label for point in curve.points]
        sums, counts = [], []
        for members in parts:
            for label in labels:
                index = rows.of_point[label]
                index = index[members[rows.place[index]]]
                for values in (rows.bytes, rows.values):
                    total, number = cluster_sums(values[index], rows.clusters[rows.place[index]], rows.cluster_count)
                    sums.append(total)
                    counts.append(number)
        stacked, numbers = np.stack(sums, axis=1), np.stack(counts, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (stacked.sum(axis=0) / numbers.sum(axis=0)).reshape(len(parts), len(labels), 2)
        people = np.count_nonzero(numbers, axis=0).reshape(len(parts), -1).min(axis=1)
        drawn = None
        if self.resamples and rows.cluster_count > 1:
            drawn = resampled_means(stacked, numbers, resamples=self.resamples)
            drawn = drawn.reshape(len(drawn), len(parts), len(labels), 2)
        return [
            self._level(curve, labels, means[place], int(people[place]), None if drawn is None else drawn[:, place])
            for place in range(len(parts))
        ]

    def _level(self, curve: Curve, labels: Sequence[str], means: Floats, people: int, drawn: Floats | None) -> _Level:
        """Return the level from mean bytes and metric of the points, (points, 2), and those of each resample."""
        points = [
            CurvePoint(label, float(size), float(value)) for label, (size, value) in zip(labels, means, strict=True)
        ]
        own = make_curve(curve.name, curve.codec, points, higher_is_better=self.higher_is_better)
        reading = value_at(own, self.size)
        if reading.value is None or drawn is None:
            return _Level(reading, people)
        kept = [labels.index(point.label) for point in own.points]
        return _Level(reading, people, Resampled(drawn[:, kept, 0], drawn[:, kept, 1]).at(self.size))


def _value(grouping: Grouping, group: Group, levels: _Levels, failed: NDArray[np.int64]) -> GroupValue:
    failures = int(failed[group.members].sum())
    level = levels.groups.get((grouping.name, group.name))
    if level is None:
        return GroupValue(group, Reading(None, group.unjudged or levels.everyone.reading.reason), failures=failures)
    return GroupValue(group, level.reading, *_interval(level.resampled), failures=failures)


@dataclass(frozen=True)
class _Share:
    """How much worse off one group is than another, as a share of the mean; ``resampled`` in each resample, (R,).

    ``people`` are those of the smaller group.
    """

    value: float
    people: int
    resampled: Floats | None = None


@dataclass(frozen=True)
class _Widest:
    """The groups of a grouping that are furthest apart, of ``pairs`` that there were to choose from.

    ``difference`` is that of the ``worst`` minus the ``best``, ``differences`` in each resample, (R,).
    """

    grouping: str
    worst: Group
    best: Group
    pairs: int
    difference: float
    differences: Floats | None
    share: _Share


def _widest(grouping: Grouping, levels: _Levels, higher_is_better: bool) -> _Widest | None:
    values: list[tuple[float, Group]] = []
    sign = -1 if higher_is_better else 1
    for group in grouping.groups:
        level = levels.groups.get((grouping.name, group.name))
        if level is not None and level.reading.value is not None:
            values.append((sign * level.reading.value, group))
    if len(values) < 2:
        return None
    (most, worst), (least, best) = max(values, key=lambda one: one[0]), min(values, key=lambda one: one[0])
    share = _share(grouping.name, worst, best, levels, higher_is_better)
    if share is None:
        return None
    one, other = (levels.groups[grouping.name, group.name].resampled for group in (worst, best))
    differences = None if one is None or other is None else one - other
    return _Widest(grouping.name, worst, best, math.comb(len(values), 2), sign * (most - least), differences, share)


def _share(grouping: str, worst: Group, best: Group, levels: _Levels, higher_is_better: bool) -> _Share | None:
    """Return how much worse off ``worst`` is than ``best``, negative if it is better; None where one has no value."""
    one, other = (levels.groups.get((grouping, group.name)) for group in (worst, best))
    mean = levels.everyone.reading.value
    if one is None or other is None or one.reading.value is None or other.reading.value is None or mean is None:
        return None
    sign = -1 if higher_is_better else 1
    value = sign * (one.reading.value - other.reading.value) / abs(mean) if mean else math.nan
    means = levels.everyone.resampled
    people = min(one.people, other.people)
    if means is None or one.resampled is None or other.resampled is None:
        return _Share(value, people)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Share(value, people, sign * (one.resampled - other.resampled) / np.abs(means))


def _gap(widest: _Widest, reference: _Levels | None, higher_is_better: bool) -> Gap:
    """Return the gap, also against the same groups' at the levels of the baseline; p-values are not yet Holm's."""
    own = widest.share
    gap = Gap(
        widest.worst.name,
        widest.best.name,
        widest.difference,
        *_interval(widest.differences),
        own.value,
        *_interval(own.resampled),
        share_p=_p(own, widest.pairs),
    )
    if reference is None:
        return gap
    rival = _share(widest.grouping, widest.worst, widest.best, reference, higher_is_better)
    if rival is None:
        return gap
    resampled = None if own.resampled is None or rival.resampled is None else own.resampled - rival.resampled
    beyond = _Share(own.value - rival.value, min(own.people, rival.people), resampled)
    low, high = _interval(resampled)
    return replace(gap, beyond=beyond.value, beyond_low=low, beyond_high=high, beyond_p=_p(beyond, widest.pairs))


def _p(share: _Share, pairs: int) -> float:
    """Return the p-value of no ``share``, corrected for the ``pairs`` of groups that were looked at."""
    if share.resampled is None or math.isnan(share.value):
        return math.nan
    values = np.array([share.value, 0.0])
    resampled = np.stack([share.resampled, np.zeros_like(share.resampled)], axis=1)
    p = float(pairwise_p(values, resampled, clusters=share.people)[0, 1])
    return math.nan if math.isnan(p) else min(1.0, pairs * p)


def _interval(resampled: Floats | None) -> tuple[float, float]:
    if resampled is None:
        return math.nan, math.nan
    low, high = percentile_interval(resampled[:, None])
    return float(low[0]), float(high[0])


def _corrected(grouped: Sequence[GroupedCurve]) -> tuple[GroupedCurve, ...]:
    """Return ``grouped`` with the p-values of all its gaps corrected for their number."""
    gaps = [gap for curve in grouped for gap in curve.gaps.values()]
    share, beyond = (iter(holm(p)) for p in ([gap.share_p for gap in gaps], [gap.beyond_p for gap in gaps]))
    return tuple(
        replace(
            curve,
            gaps={name: replace(gap, share_p=next(share), beyond_p=next(beyond)) for name, gap in curve.gaps.items()},
        )
        for curve in grouped
    )
