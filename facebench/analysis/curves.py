"""Rate-distortion curves: a codec's operating points as (mean bytes, mean metric), sorted by bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """One operating point: its label, mean bytes per picture and mean metric; ``failures`` counts failed pictures."""

    label: str
    bytes: float
    value: float
    failures: int = 0


@dataclass(frozen=True)
class Curve:
    """A codec's curve in one metric: ``points`` sorted by bytes, no two at the same bytes.

    ``left_out`` are the labels of points that may not bear on it: those with failed pictures, and those
    without a finite mean.
    """

    name: str
    codec: str
    points: tuple[CurvePoint, ...]
    left_out: tuple[str, ...] = ()

    @property
    def span(self) -> tuple[float, float] | None:
        """The smallest and the largest mean bytes on the curve, or None if it has no points."""
        return (self.points[0].bytes, self.points[-1].bytes) if self.points else None


def make_curve(name: str, codec: str, points: Iterable[CurvePoint], *, higher_is_better: bool = False) -> Curve:
    """Return the curve through ``points``; of several points at the same bytes the best one counts."""
    best: dict[float, CurvePoint] = {}
    left_out = []
    for point in points:
        if point.failures or not math.isfinite(point.value) or not point.bytes > 0:
            left_out.append(point.label)
            continue
        rival = best.get(point.bytes)
        if rival is None or (point.value > rival.value if higher_is_better else point.value < rival.value):
            best[point.bytes] = point
    return Curve(name, codec, tuple(best[size] for size in sorted(best)), tuple(left_out))
