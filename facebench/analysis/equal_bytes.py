"""What a codec would give at a set number of bytes, and the bytes that a set quality takes: read off its own curve.

Nothing is read beyond a curve's ends. Between two neighbouring operating points the metric is interpolated linearly in
the logarithm of the bytes. Nothing smoother is fitted: a spline would invent a shape that was not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.curves import Curve

#: Bytes per picture of the equal-bytes tables.
BUDGETS = (32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Reading:
    """What was read off a curve, or None and the reason."""

    value: float | None
    reason: str = ""


def value_at(curve: Curve, size: float) -> Reading:
    """Return the value of ``curve`` at ``size`` bytes; None outside it.

    A curve of one point has a value at exactly its own bytes only.
    """
    if not curve.points:
        return Reading(None, _nothing_on(curve))
    sizes = [point.bytes for point in curve.points]
    if not sizes[0] <= size <= sizes[-1]:
        if len(sizes) == 1:
            return Reading(None, f"{curve.name} has a single point, at {sizes[0]:.4g} bytes")
        return Reading(None, f"{curve.name} was measured from {sizes[0]:.4g} to {sizes[-1]:.4g} bytes only")
    return Reading(float(np.interp(math.log(size), np.log(sizes), [point.value for point in curve.points])))


def bytes_at(curve: Curve, value: float, *, higher_is_better: bool = False) -> Reading:
    """Return the bytes at which ``curve`` reaches ``value``: the inverse of :func:`value_at`; None outside it.

    Where the curve turns back and reaches ``value`` more than once, the fewest bytes count. A curve that is better
    than ``value`` at its fewest bytes already has no reading: how few would do was not measured.
    """
    if not curve.points:
        return Reading(None, _nothing_on(curve))
    sizes = np.array([point.bytes for point in curve.points])
    values = np.array([point.value for point in curve.points])
    sign = 1 if higher_is_better else -1
    reached = sign * values >= sign * value
    if not reached.any():
        best = float(values.max() if higher_is_better else values.min())
        return Reading(None, f"{curve.name} reaches {best:.4g} at best")
    if reached[0] and values[0] != value:
        return Reading(None, f"{curve.name} has {values[0]:.4g} at its fewest bytes, {sizes[0]:.4g}, already")
    return Reading(float(_first_reaching(np.log(sizes), sign * values, sign * value)))


def _nothing_on(curve: Curve) -> str:
    why = "every point has failed pictures or no finite mean" if curve.left_out else "no points"
    return f"{curve.name}: {why}"


def _first_reaching(log_sizes: NDArray[np.float64], quality: NDArray[np.float64], wanted: float) -> float:
    """Return the fewest bytes with at least the ``wanted`` quality; those of the nearer end where that is outside."""
    after = int(np.argmax(quality >= wanted)) if quality.max() >= wanted else len(quality) - 1
    if after == 0 or quality[after] < wanted:
        return math.exp(log_sizes[after])
    share = (wanted - quality[after - 1]) / (quality[after] - quality[after - 1])
    return math.exp(log_sizes[after - 1] + share * (log_sizes[after] - log_sizes[after - 1]))


@dataclass(frozen=True)
class Resampled:
    """A curve in each bootstrap resample: mean bytes and mean metric of its points, both (resamples, points)."""

    bytes: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, size: float) -> NDArray[np.float64]:
        """Return the value at ``size`` bytes in each resample, (resamples,).

        A resample whose curve ends just short of ``size`` gives the value at its end: the point estimate lies
        inside the curve, and its resamples scatter about it.
        """
        log_sizes, values = self._sorted()
        if log_sizes.shape[1] == 1:
            return values[:, 0]
        rows = np.arange(len(log_sizes))
        after = np.clip((log_sizes <= math.log(size)).sum(axis=1), 1, log_sizes.shape[1] - 1)
        start, stop = log_sizes[rows, after - 1], log_sizes[rows, after]
        width = np.where(stop > start, stop - start, 1.0)
        share = np.clip((math.log(size) - start) / width, 0.0, 1.0)
        return np.asarray(values[rows, after - 1] + share * (values[rows, after] - values[rows, after - 1]))

    def bytes_at(self, value: float, *, higher_is_better: bool = False) -> NDArray[np.float64]:
        """Return the fewest bytes at which each resample reaches ``value``, (resamples,).

        A resample that does not give the bytes of its nearer end, as :meth:`at` gives its value there.
        """
        sign = 1 if higher_is_better else -1
        return np.array([_first_reaching(s, sign * v, sign * value) for s, v in zip(*self._sorted(), strict=True)])

    def _sorted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log bytes and values in the order of the bytes, both (resamples, points)."""
        order = np.argsort(self.bytes, axis=1)
        return np.log(np.take_along_axis(self.bytes, order, axis=1)), np.take_along_axis(self.values, order, axis=1)
