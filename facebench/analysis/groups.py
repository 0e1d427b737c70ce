"""Whom a codec serves worse: its metric within groups of pictures, each group at the same bytes.

A group is read off its own rate-distortion curve: the mean bytes and the mean metric of its pictures at the curve's
operating points. So a codec that spends more bytes on the faces of one group does not hide its gap by that.

Some faces are simply harder to code. A codec's gap is therefore also held against that of the baseline at the same
bytes: what is beyond it is the codec's own doing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import RESAMPLES, cluster_codes, cluster_sums, percentile_interval, resampled_means
from facebench.analysis.curves import Curve, CurvePoint, make_curve
from facebench.analysis.equal_bytes import BUDGETS, Reading, Resampled, value_at
from facebench.analysis.significance import holm, pairwise_p
from facebench.analysis.summary import WHOLE, Summary
from facebench.data.facts import ATTRIBUTE, FACE_SIZE, YAW

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: Smaller groups are not judged: their means say more of single pictures, or of single persons, than of the group.
LEAST_PICTURES, LEAST_IDENTITIES = 20, 5
POSE = "pose"
#: Bytes per picture at which groups are compared unless hardly any curve reaches them.
DEFAULT_SIZE = 128

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """A part of the pictures: ``members``, (N,) bool in the order of the run's table of pictures."""

    name: str
    members: NDArray[np.bool_] = field(repr=False)
    pictures: int
    identities: int

    @property
    def unjudged(self) -> str:
        """Why nothing is said of the group, or ''."""
        if self.pictures >= LEAST_PICTURES and self.identities >= LEAST_IDENTITIES:
            return ""
        return (
            f"{self.pictures} pictures of {self.identities} identities: fewer than {LEAST_PICTURES} pictures or "
            f"{LEAST_IDENTITIES} identities"
        )


@dataclass(frozen=True)
class Grouping:
    """One way to part the pictures: an ``attribute`` (with it, without it), or thirds by "pose" or "face size".

    ``bounds`` are the largest values in all thirds but the last: of abs(yaw) in eye distances, of face size in pixels.
    """

    name: str
    groups: tuple[Group, ...]
    attribute: bool = False
    bounds: tuple[float, ...] = ()


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
    pictures; ``beyond`` that share minus the baseline's own gap at the same bytes (negative: the codec's is narrower).
    Each has its 95 % interval over identities. Worst and best were chosen by looking, so that a ``share`` near 0 lies
    a little too far from it. ``p`` is the two-sided p-value of no ``beyond``, corrected by Holm for all curves and
    groupings. NaN where undefined, such as ``beyond`` and ``p`` of the baseline itself.
    """

    worst: str
    best: str
    difference: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float
    beyond: float = math.nan
    beyond_low: float = math.nan
    beyond_high: float = math.nan
    p: float = math.nan


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


def groupings_of(run: Run) -> tuple[Grouping, ...]:
    """Return the ways in which the run's table of pictures parts them; none if it has no such table."""
    pictures = run.pictures
    if pictures is None or not len(pictures):
        return ()
    found = []
    for column in pictures.columns:
        if str(column).startswith(ATTRIBUTE):
            name = str(column).removeprefix(ATTRIBUTE)
            has = np.asarray(pictures[column].to_numpy(dtype=bool))
            groups = (_group(name, has, pictures), _group(f"not {name}", ~has, pictures))
            found.append(Grouping(name, groups, attribute=True))
    for name, column, thirds in (
        (POSE, YAW, ("frontal", "half", "turned")),
        (FACE_SIZE, FACE_SIZE, ("small", "medium", "large")),
    ):
        if column in pictures.columns:
            values = np.abs(pictures[column].to_numpy(dtype=np.float64, na_value=np.nan))
            if not np.isnan(values).all():
                found.append(_thirds(name, values, thirds, pictures))
    return tuple(found)


def _thirds(name: str, values: Floats, names: Sequence[str], pictures: pd.DataFrame) -> Grouping:
    bounds = np.nanquantile(values, [1 / 3, 2 / 3], method="lower")
    which = np.searchsorted(bounds, values)  # a value equal to a bound belongs below it; NaN is put last
    which[np.isnan(values)] = -1
    groups = tuple(_group(label, which == place, pictures) for place, label in enumerate(names))
    return Grouping(name, groups, bounds=tuple(float(bound) for bound in bounds))


def _group(name: str, members: NDArray[np.bool_], pictures: pd.DataFrame) -> Group:
    people = pictures["identity"][members]
    unknown = int((people == "").sum())  # each stands for itself
    return Group(name, members, int(members.sum()), int(people[people != ""].nunique()) + unknown)


def usual_size(summary: Summary) -> int:
    """Return the bytes at which to compare groups: 128, or the next budget at which many more curves have a value.

    Many more: over twice as many. 128 too if no curve has a value at any budget.
    """
    curves = summary.curves(summary.ranked_by).values()
    counts = {size: sum(value_at(curve, size).value is not None for curve in curves) for size in BUDGETS}
    most = max(counts.values())
    if 2 * counts[DEFAULT_SIZE] >= most:
        return DEFAULT_SIZE
    return min((s for s in BUDGETS if counts[s] == most), key=lambda size: abs(math.log(size / DEFAULT_SIZE)))


def fairness_gaps(run: Run, summary: Summary, *, size: float = DEFAULT_SIZE, mask: str = WHOLE) -> dict[str, float]:
    """Return each curve's fairness gap in the ranking metric at ``size`` bytes, a share of its mean (0.1: 10 %).

    That is the largest :attr:`Gap.share` of any attribute; pose and face size are not counted. NaN where the curve
    has no value at ``size``, and where no attribute's groups can be judged.
    """
    attributes = {grouping.name for grouping in groupings_of(run) if grouping.attribute}
    largest = dict.fromkeys(summary.curves(summary.ranked_by, mask), math.nan)
    for grouped in grouped_curves(run, summary, size=size, mask=mask, resamples=0):
        shares = [gap.share for name, gap in grouped.gaps.items() if name in attributes and not math.isnan(gap.share)]
        largest[grouped.curve] = max(shares, default=math.nan)
    return largest


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
    widest = {name: {g.name: _widest(g, levels[name], higher) for g in groupings} for name in curves}
    reference = widest.get(summary.baseline_curve or "", {})
    grouped = []
    for name in curves:
        rivals = {} if name == summary.baseline_curve else reference
        gaps = {which: _gap(own, rivals.get(which)) for which, own in widest[name].items() if own is not None}
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
        return cls(
            place=place.astype(np.int64),
            values=np.asarray(records[metric].to_numpy(dtype=np.float64, na_value=np.nan)),
            bytes=np.asarray(records["bits"].to_numpy(dtype=np.float64, na_value=np.nan)) / 8,
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
    """A mean at the size asked for, and its value in each resample, (R,), or None without resamples."""

    reading: Reading
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
        drawn = None
        if self.resamples and rows.cluster_count > 1:
            drawn = resampled_means(stacked, numbers, resamples=self.resamples)
            drawn = drawn.reshape(len(drawn), len(parts), len(labels), 2)
        return [
            self._level(curve, labels, means[place], None if drawn is None else drawn[:, place])
            for place in range(len(parts))
        ]

    def _level(self, curve: Curve, labels: Sequence[str], means: Floats, drawn: Floats | None) -> _Level:
        """Return the level from mean bytes and metric of the points, (points, 2), and those of each resample."""
        points = [
            CurvePoint(label, float(size), float(value)) for label, (size, value) in zip(labels, means, strict=True)
        ]
        own = make_curve(curve.name, curve.codec, points, higher_is_better=self.higher_is_better)
        reading = value_at(own, self.size)
        if reading.value is None or drawn is None:
            return _Level(reading)
        kept = [labels.index(point.label) for point in own.points]
        return _Level(reading, Resampled(drawn[:, kept, 0], drawn[:, kept, 1]).at(self.size))


def _value(grouping: Grouping, group: Group, levels: _Levels, failed: NDArray[np.int64]) -> GroupValue:
    failures = int(failed[group.members].sum())
    level = levels.groups.get((grouping.name, group.name))
    if level is None:
        return GroupValue(group, Reading(None, group.unjudged or levels.everyone.reading.reason), failures=failures)
    return GroupValue(group, level.reading, *_interval(level.resampled), failures=failures)


@dataclass(frozen=True)
class _Widest:
    """The largest difference between the groups of a grouping; ``differences`` and ``shares`` in each resample, (R,).

    The difference is that of the ``worst`` minus the ``best``, the share is positive where the worst is worse.
    """

    worst: str
    best: str
    difference: float
    share: float
    differences: Floats | None = None
    shares: Floats | None = None


def _widest(grouping: Grouping, levels: _Levels, higher_is_better: bool) -> _Widest | None:
    values: dict[str, float] = {}
    for group in grouping.groups:
        level = levels.groups.get((grouping.name, group.name))
        if level is not None and level.reading.value is not None:
            values[group.name] = level.reading.value
    mean = levels.everyone.reading.value
    if len(values) < 2 or mean is None:
        return None
    sign = -1 if higher_is_better else 1
    worst, best = max(values, key=lambda name: sign * values[name]), min(values, key=lambda name: sign * values[name])
    difference = values[worst] - values[best]
    found = _Widest(worst, best, difference, sign * difference / abs(mean) if mean else math.nan)
    means = levels.everyone.resampled
    one, other = (levels.groups[grouping.name, name].resampled for name in (worst, best))
    if means is None or one is None or other is None:
        return found
    with np.errstate(invalid="ignore", divide="ignore"):
        return replace(found, differences=one - other, shares=sign * (one - other) / np.abs(means))


def _gap(widest: _Widest, reference: _Widest | None) -> Gap:
    gap = Gap(
        widest.worst,
        widest.best,
        widest.difference,
        *_interval(widest.differences),
        widest.share,
        *_interval(widest.shares),
    )
    if reference is None:
        return gap
    gap = replace(gap, beyond=widest.share - reference.share)
    if widest.shares is None or reference.shares is None:
        return gap
    low, high = _interval(widest.shares - reference.shares)
    values, resampled = np.array([widest.share, reference.share]), np.stack([widest.shares, reference.shares], axis=1)
    return replace(gap, beyond_low=low, beyond_high=high, p=float(pairwise_p(values, resampled)[0, 1]))


def _interval(resampled: Floats | None) -> tuple[float, float]:
    if resampled is None:
        return math.nan, math.nan
    low, high = percentile_interval(resampled[:, None])
    return float(low[0]), float(high[0])


def _corrected(grouped: Sequence[GroupedCurve]) -> tuple[GroupedCurve, ...]:
    """Return ``grouped`` with the p-values of all its gaps corrected for their number."""
    corrected = iter(holm([gap.p for curve in grouped for gap in curve.gaps.values()]))
    return tuple(
        replace(curve, gaps={name: replace(gap, p=next(corrected)) for name, gap in curve.gaps.items()})
        for curve in grouped
    )
