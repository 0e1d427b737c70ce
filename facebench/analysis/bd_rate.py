"""BD-rate and BD-metric: the mean distance between two rate-distortion curves as one figure.

G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001, with PCHIP
(:mod:`facebench.analysis.pchip`) in place of its cubic polynomial, as usual since: the logarithm of the bytes is
interpolated over the quality. Then, over the qualities that both curves reach,

    BD-rate = exp(mean of log bytes of the curve - mean of log bytes of the reference) - 1

A quality is a metric's value turned so that more is better (:class:`Scale`). BD-rate depends on that scale: PSNR is
what most papers take. A mean squared error goes by -10 log10, the scale of PSNR: on its own scale the coarse end of a
curve would weigh most. Any other metric goes by its own values.

Only the points of a curve that give a better quality than every smaller one count: the others are dominated, no one
would use them, and a curve that turns back has no bytes for a quality. Nothing is extrapolated.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import LEVEL, percentile_interval
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import Resampled
from facebench.analysis.pchip import Pchip
from facebench.analysis.summary import Summary

#: Points that a curve must have. PCHIP is defined from two, but between so few the figure is the spline's, not the
#: codec's: VCEG-M33 and the common test conditions take four.
LEAST_POINTS = 4

#: Metrics that are mean squared errors of pictures in [0, 1].
SQUARED_ERRORS = ("L2",)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How a metric's values become qualities: negated if less is better, or -10 log10 of them if ``decibels``."""

    higher_is_better: bool
    decibels: bool = False

    def quality(self, values: Floats) -> Floats:
        """Return the qualities of ``values``; not finite where the scale is undefined (the decibels of 0)."""
        if self.decibels:
            with np.errstate(divide="ignore", invalid="ignore"):
                return -10 * np.log10(values)
        return values if self.higher_is_better else -values

    def value(self, quality: float) -> float:
        """Return the metric's value at ``quality``."""
        if self.decibels:
            return float(10 ** (-quality / 10))
        return quality if self.higher_is_better else -quality

    def gain(self, difference: float) -> float:
        """Return a difference of qualities in the metric's own direction; in decibels, more stays better."""
        return difference if self.higher_is_better or self.decibels else -difference


def scale_of(metric: str, *, higher_is_better: bool) -> Scale:
    """Return the scale that BD figures of ``metric`` go by."""
    return Scale(higher_is_better, decibels=metric in SQUARED_ERRORS)


@dataclass(frozen=True)
class BdReading:
    """A BD figure with its 95 % interval (NaN if undefined), or None and the reason.

    ``over`` is the range that the mean was taken over, worst quality or least bytes first: of the metric's own
    values for BD-rate, of bytes for BD-metric. ``dominated`` are the labels of the points that did not count.
    """

    value: float | None
    reason: str = ""
    low: float = math.nan
    high: float = math.nan
    over: tuple[float, float] = (math.nan, math.nan)
    dominated: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResampledPair:
    """A curve and its reference in the same bootstrap resamples."""

    curve: Resampled
    reference: Resampled

    @classmethod
    def of(cls, summary: Summary, curve: Curve, reference: Curve, metric: str, mask: str) -> ResampledPair | None:
        """Return the two curves of ``summary`` in its resamples; None if it has none, or a curve no points."""
        if not (summary.resampled and curve.points and reference.points):
            return None
        return cls(*(summary.resampled_curve(c, metric, mask) for c in (curve, reference)))


def bd_rate(
    curve: Curve,
    reference: Curve,
    scale: Scale,
    *,
    limits: tuple[float, float] | None = None,
    resampled: ResampledPair | None = None,
) -> BdReading:
    """Return how many per cent more bytes ``curve`` takes than ``reference`` for the same quality; below 0 it saves.

    ``limits`` cut both curves to bytes from the first to the second, ends included: each is followed along its own
    interpolant to exactly that many bytes, or to its end if that comes first. The qualities that both still reach
    are averaged over. So the shape of a curve never hangs on the limits, and points outside them still shape it.

    ``resampled`` gives the interval: the whole calculation is done in each resample, dominated points included. A
    resample may have fewer points than :data:`LEAST_POINTS` left; where more than 1 in 20 has no figure at all,
    there is no interval.

    Refused with the reason: fewer than :data:`LEAST_POINTS` points, no bytes within the limits, no common quality.
    """
    return _reading(curve, reference, _BdRate(scale, limits), resampled)


def bd_metric(
    curve: Curve,
    reference: Curve,
    scale: Scale,
    *,
    limits: tuple[float, float] | None = None,
    resampled: ResampledPair | None = None,
) -> BdReading:
    """Return the mean difference of the metric, ``curve`` minus ``reference``, over the bytes that both reach.

    Quality is interpolated over the logarithm of the bytes, and averaged over it; ``limits`` in bytes narrow
    the range. In the metric's unit and direction; in decibels, more being better, for a mean squared error.
    The rest is as in :func:`bd_rate`.
    """
    return _reading(curve, reference, _BdMetric(scale, limits), resampled)


@dataclass(frozen=True)
class _Method(ABC):
    """What is averaged, over which range of which axis; axes are qualities and log bytes."""

    scale: Scale
    limits: tuple[float, float] | None
    over: ClassVar[str]

    @abstractmethod
    def ends(self, fits: _Fits) -> tuple[Floats, Floats]:
        """Return where the range of each row begins and ends, (rows,) each, cut to the limits."""

    @abstractmethod
    def figure(self, one: _Fits, other: _Fits, low: Floats, high: Floats) -> Floats:
        """Return the figure of each row over the range from ``low`` to ``high``, (rows,) each."""

    @abstractmethod
    def shown(self, end: float) -> float:
        """Return an end of the range as the reading has it."""

    def overlap(self, one: _Fits, other: _Fits) -> tuple[Floats, Floats]:
        """Return the range that both reach, (rows,) each; empty where the second is not above the first."""
        (low, high), (other_low, other_high) = self.ends(one), self.ends(other)
        return np.maximum(low, other_low), np.minimum(high, other_high)

    def figures(self, one: _Fits, other: _Fits) -> Floats:
        """Return the figure of each row, (rows,); NaN where there is none."""
        low, high = self.overlap(one, other)
        empty = ~(high > low)
        return self.figure(one, other, np.where(empty, np.nan, low), np.where(empty, np.nan, high))


class _BdRate(_Method):
    over = "quality"

    def ends(self, fits: _Fits) -> tuple[Floats, Floats]:
        if self.limits is None:
            return fits.qualities()
        return fits.quality_at(self.limits[0]), fits.quality_at(self.limits[1])

    def figure(self, one: _Fits, other: _Fits, low: Floats, high: Floats) -> Floats:
        return 100 * np.expm1(one.mean_rate(low, high) - other.mean_rate(low, high))

    def shown(self, end: float) -> float:
        return self.scale.value(end)


class _BdMetric(_Method):
    over = "number of bytes"

    def ends(self, fits: _Fits) -> tuple[Floats, Floats]:
        low, high = fits.rates()
        if self.limits is None:
            return low, high
        return np.maximum(low, math.log(self.limits[0])), np.minimum(high, math.log(self.limits[1]))

    def figure(self, one: _Fits, other: _Fits, low: Floats, high: Floats) -> Floats:
        return self.scale.gain(1.0) * (one.mean_quality(low, high) - other.mean_quality(low, high))

    def shown(self, end: float) -> float:
        return math.exp(end)


def _reading(curve: Curve, reference: Curve, method: _Method, resampled: ResampledPair | None) -> BdReading:
    one, other = (_Fits.of(*_points(c), method.scale) for c in (curve, reference))
    for name, fits in ((curve.name, one), (reference.name, other)):
        if reason := _refusal(name, fits, method.limits):
            return BdReading(None, reason)
    low, high = method.overlap(one, other)
    if not high[0] > low[0]:
        within = " from {:g} to {:g} bytes".format(*method.limits) if method.limits else ""
        return BdReading(None, f"no {method.over} that {curve.name} and {reference.name} both reach{within}")
    bounds = (math.nan, math.nan)
    if resampled is not None:
        pair = (_Fits.of(r.bytes, r.values, method.scale) for r in (resampled.curve, resampled.reference))
        bounds = _interval(method.figures(*pair))
    return BdReading(
        float(method.figures(one, other)[0]),
        low=bounds[0],
        high=bounds[1],
        over=(method.shown(float(low[0])), method.shown(float(high[0]))),
        dominated=(*_dominated(curve, one), *_dominated(reference, other)),
    )


def _refusal(name: str, fits: _Fits, limits: tuple[float, float] | None) -> str:
    count, points = int(fits.kept.sum()), fits.kept.shape[1]
    if count < LEAST_POINTS:
        improving = f" that beat{'s' if count == 1 else ''} every smaller one" if points > count else ""
        has = "1 point" if count == 1 else f"{count} points"
        return f"{name} has {has}{improving}, BD figures take {LEAST_POINTS}"
    low, high = (float(np.exp(end[0])) for end in fits.rates())
    if limits and (limits[1] <= low or limits[0] >= high):
        return f"{name} was measured from {low:.4g} to {high:.4g} bytes only"
    return ""


def _dominated(curve: Curve, fits: _Fits) -> tuple[str, ...]:
    return tuple(point.label for point, counts in zip(curve.points, fits.kept[0], strict=True) if not counts)


def _points(curve: Curve) -> tuple[Floats, Floats]:
    return np.array([[p.bytes for p in curve.points]]), np.array([[p.value for p in curve.points]])


def _interval(figures: Floats) -> tuple[float, float]:
    if np.isnan(figures).mean() > 1 - LEVEL:
        return math.nan, math.nan
    low, high = percentile_interval(figures[:, None])
    return float(low[0]), float(high[0])


@dataclass(frozen=True)
class _Group:
    """Rows that kept the same number of points, with those points: quality and log bytes, both increasing."""

    rows: NDArray[np.int64]
    quality: Floats
    rate: Floats

    @property
    def rate_over_quality(self) -> Pchip:
        return Pchip(self.quality, self.rate)

    @property
    def quality_over_rate(self) -> Pchip:
        return Pchip(self.rate, self.quality)


@dataclass(frozen=True)
class _Fits:
    """A curve fitted in each of several rows; ``kept``, (rows, points), tells the points that count.

    Answers are NaN for a row with fewer than two of them.
    """

    kept: NDArray[np.bool_]
    groups: tuple[_Group, ...]

    @classmethod
    def of(cls, sizes: Floats, values: Floats, scale: Scale) -> _Fits:
        """Return the fits through ``sizes`` in bytes and ``values``, (rows, points) each, in any order."""
        quality = scale.quality(values)
        quality = np.where(np.isfinite(quality) & (sizes > 0), quality, -np.inf)
        order = np.lexsort((-quality, sizes), axis=1)
        quality = np.take_along_axis(quality, order, axis=1)
        rate = np.log(np.take_along_axis(sizes, order, axis=1))
        best = np.maximum.accumulate(quality, axis=1)
        before = np.pad(best, ((0, 0), (1, 0)), constant_values=-np.inf)[:, :-1]
        front = quality > before
        kept = np.zeros_like(front)
        np.put_along_axis(kept, order, front, axis=1)
        counts = front.sum(axis=1)
        groups = []
        for count in range(2, front.shape[1] + 1):
            rows = np.flatnonzero(counts == count)
            if rows.size:
                chosen = front[rows]
                shape = (rows.size, count)
                groups.append(_Group(rows, quality[rows][chosen].reshape(shape), rate[rows][chosen].reshape(shape)))
        return cls(kept, tuple(groups))

    def _by_row(self, answer: Callable[[_Group], Floats]) -> Floats:
        answers = np.full(len(self.kept), np.nan)
        for group in self.groups:
            answers[group.rows] = answer(group)
        return answers

    def qualities(self) -> tuple[Floats, Floats]:
        """Return the worst and the best quality of each row, (rows,) each."""
        return self._by_row(lambda group: group.quality[:, 0]), self._by_row(lambda group: group.quality[:, -1])

    def rates(self) -> tuple[Floats, Floats]:
        """Return the least and the most log bytes of each row, (rows,) each."""
        return self._by_row(lambda group: group.rate[:, 0]), self._by_row(lambda group: group.rate[:, -1])

    def quality_at(self, size: float) -> Floats:
        """Return the quality at which each row takes ``size`` bytes, or that at its nearer end, (rows,)."""
        return self._by_row(lambda group: group.rate_over_quality.inverse(math.log(size)))

    def mean_rate(self, low: Floats, high: Floats) -> Floats:
        """Return the mean log bytes over the qualities from ``low`` to ``high``, (rows,) each."""
        return self._means(lambda group: group.rate_over_quality, low, high)

    def mean_quality(self, low: Floats, high: Floats) -> Floats:
        """Return the mean quality over the log bytes from ``low`` to ``high``, (rows,) each."""
        return self._means(lambda group: group.quality_over_rate, low, high)

    def _means(self, interpolant: Callable[[_Group], Pchip], low: Floats, high: Floats) -> Floats:
        areas = self._by_row(lambda group: interpolant(group).integral(low[group.rows], high[group.rows]))
        return areas / (high - low)
