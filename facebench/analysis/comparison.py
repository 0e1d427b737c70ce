"""Two curves of a run against each other: at equal bytes, at equal quality, and on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facebench.analysis.bd_rate import BdReading, ResampledPair, bd_metric, bd_rate, scale_of
from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import BUDGETS, Reading, bytes_at, value_at
from facebench.analysis.significance import Comparison, compare_at, corrected
from facebench.analysis.summary import FACE, Summary, summarise
from facebench.errors import ResultsError, UnknownName
from facebench.plugins import unknown

if TYPE_CHECKING:
    from facebench.store import Run

#: Most round values that are chosen for the table of bytes at equal quality.
_MOST_VALUES = 5


@dataclass(frozen=True)
class AtBytes:
    """Both curves at ``size`` bytes; ``comparison``, corrected by Holm for all sizes, only where both are."""

    size: float
    ours: Reading
    theirs: Reading
    comparison: Comparison | None

    @property
    def outcome(self) -> str:
        """That of the comparison: "beats", "loses" or "level"; "" where there is none."""
        return self.comparison.outcome if self.comparison else ""


@dataclass(frozen=True)
class AtQuality:
    """The bytes that both curves take for ``value``; the difference in per cent of theirs, and its 95 % interval."""

    value: float
    ours: Reading
    theirs: Reading
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class CurveComparison:
    """All that is said of the curve ``ours`` against ``theirs`` in one metric and mask variant.

    ``at_bytes`` and ``at_quality`` go from few bytes to many, and from a bad quality to a good one.
    """

    run: Run
    ours: Curve
    theirs: Curve
    metric: str
    mask: str
    limits: tuple[float, float] | None
    higher_is_better: bool
    at_bytes: tuple[AtBytes, ...]
    at_quality: tuple[AtQuality, ...]
    bd_rate: BdReading
    bd_metric: BdReading

    @property
    def unit(self) -> str:
        """The metric's unit."""
        return str(self.run.manifest["metrics"][self.metric].get("unit") or "")


def curve_names(run: Run) -> list[str]:
    """Return the names of the curves of ``run``, in its order; raises ResultsError if no point of it lies on one."""
    points = run.manifest["points"].values()
    names = list(dict.fromkeys(str(about["curve"]) for about in points if about.get("budget") is None))
    if points and not names:
        raise ResultsError(f"run '{run.name}' holds byte budgets only, which lie on no curve; run it with --sweep")
    return names


def compare_curves(
    run: Run,
    name: str,
    rival: str,
    *,
    metric: str = "1-SSIM",
    mask: str = "none",
    limits: tuple[float, float] | None = None,
    values: Sequence[float] = (),
) -> CurveComparison:
    """Return how the curve ``name`` of ``run`` compares with its curve ``rival``.

    ``limits`` in bytes are those of the BD figures; ``values`` of the metric are those to tell the bytes of, by
    default round ones that both reach. Raises UnknownName for a curve, and ResultsError for a metric or mask
    variant, that the run lacks, or if it has no curve at all.
    """
    names = curve_names(run)
    for wanted in (name, rival):
        if wanted not in names:
            raise UnknownName(f"run '{run.name}' has no curve '{wanted}'; it has: {', '.join(names)}")
    summary = summarise(_only(run, {name, rival}))
    if metric not in summary.metrics:
        raise ResultsError(f"run '{run.name}': {unknown('metric', metric, summary.metrics)}")
    if mask == FACE and not summary.has_masks:
        raise ResultsError(f"run '{run.name}' has no face masks; leave out --mask face")
    curves = summary.curves(metric, mask)
    ours, theirs = curves[name], curves[rival]
    higher = summary.higher_is_better(metric)
    pair = ResampledPair.of(summary, ours, theirs, metric, mask)
    scale = scale_of(metric, higher_is_better=higher)
    return CurveComparison(
        run=run,
        ours=ours,
        theirs=theirs,
        metric=metric,
        mask=mask,
        limits=limits,
        higher_is_better=higher,
        at_bytes=_at_bytes(summary, ours, theirs, metric, mask),
        at_quality=tuple(
            _at_quality(ours, theirs, pair, value, higher) for value in values or _common_values(ours, theirs, higher)
        ),
        bd_rate=bd_rate(ours, theirs, scale, limits=limits, resampled=pair),
        bd_metric=bd_metric(ours, theirs, scale, limits=limits, resampled=pair),
    )


def _only(run: Run, curves: set[str]) -> Run:
    """Return the part of ``run`` that holds these ``curves``."""
    points = {label: about for label, about in run.manifest["points"].items() if about["curve"] in curves}
    records = run.records[run.records["point"].isin(list(points))]
    return replace(run, manifest={**run.manifest, "points": points}, records=records)


def _at_bytes(summary: Summary, ours: Curve, theirs: Curve, metric: str, mask: str) -> tuple[AtBytes, ...]:
    """Return the comparison at the usual sizes; at the bytes of our own points if the curves share none of those."""

    def at(size: float) -> AtBytes:
        comparison = compare_at(summary, ours, theirs, metric, mask, size)
        return AtBytes(size, value_at(ours, size), value_at(theirs, size), comparison)

    rows = [at(size) for size in BUDGETS]
    if not any(row.comparison for row in rows):
        rows = [at(point.bytes) for point in ours.points]
    decided = iter(corrected([row.comparison for row in rows if row.comparison]))
    return tuple(replace(row, comparison=next(decided)) if row.comparison else row for row in rows)


def _at_quality(ours: Curve, theirs: Curve, pair: ResampledPair | None, value: float, higher: bool) -> AtQuality:
    one, other = (bytes_at(curve, value, higher_is_better=higher) for curve in (ours, theirs))
    if one.value is None or other.value is None:
        return AtQuality(value, one, other)
    low = high = math.nan
    if pair is not None:
        numbers = [resampled.bytes_at(value, higher_is_better=higher) for resampled in (pair.curve, pair.reference)]
        bounds = percentile_interval(100 * (numbers[0] / numbers[1] - 1)[:, None])
        low, high = (float(bound[0]) for bound in bounds)
    return AtQuality(value, one, other, 100 * (one.value / other.value - 1), low, high)


def _common_values(ours: Curve, theirs: Curve, higher: bool) -> list[float]:
    """Return round values that both curves reach, the worst first."""
    if not (ours.points and theirs.points):
        return []
    ends = [sorted((curve.points[0].value, curve.points[-1].value)) for curve in (ours, theirs)]
    values = round_values(max(low for low, _ in ends), min(high for _, high in ends))
    return values if higher else values[::-1]


def round_values(low: float, high: float) -> list[float]:
    """Return up to five multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, ascending."""
    if not low < high:
        return []
    exponent = math.floor(math.log10((high - low) / _MOST_VALUES))
    for step in (m * 10.0**e for e in (exponent, exponent + 1) for m in (1, 2, 5)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < _MOST_VALUES:
            break
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]
