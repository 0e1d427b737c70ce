"""What a codec would give at a set number of bytes: read off its own curve, never beyond its ends.

Between two neighbouring operating points the metric is interpolated linearly in the logarithm of the bytes.
Nothing smoother is fitted: a spline would invent a shape that was not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.curves import Curve

#: Bytes per picture of the equal-bytes tables.
BUDGETS = (32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Reading:
    """A curve's value at a number of bytes, or None and the reason."""

    value: float | None
    reason: str = ""


def value_at(curve: Curve, size: float) -> Reading:
    """Return the value of ``curve`` at ``size`` bytes; None outside it.

    A curve of one point has a value at exactly its own bytes only.
    """
    if not curve.points:
        why = "every point has failed pictures or no finite mean" if curve.left_out else "no points"
        return Reading(None, f"{curve.name}: {why}")
    sizes = [point.bytes for point in curve.points]
    if not sizes[0] <= size <= sizes[-1]:
        if len(sizes) == 1:
            return Reading(None, f"{curve.name} has a single point, at {sizes[0]:.4g} bytes")
        return Reading(None, f"{curve.name} was measured from {sizes[0]:.4g} to {sizes[-1]:.4g} bytes only")
    return Reading(float(np.interp(math.log(size), np.log(sizes), [point.value for point in curve.points])))


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
        order = np.argsort(self.bytes, axis=1)
        sizes = np.log(np.take_along_axis(self.bytes, order, axis=1))
        values = np.take_along_axis(self.values, order, axis=1)
        return np.array([np.interp(math.log(size), s, v) for s, v in zip(sizes, values, strict=True)])


def difference_interval(one: Resampled, other: Resampled, size: float) -> tuple[float, float]:
    """Return the 95 % interval of ``one`` minus ``other`` at ``size`` bytes, both from the same resamples."""
    low, high = percentile_interval((one.at(size) - other.at(size))[:, None])
    return float(low[0]), float(high[0])
