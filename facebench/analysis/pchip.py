"""Monotone piecewise cubic Hermite interpolation (PCHIP), with its integral and inverse in closed or bisected form.

F. N. Fritsch and J. Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM J. Sci.
Stat. Comput. 5(2), 1984, with the three-point end slopes of C. Moler's ``pchiptx``: what scipy.interpolate's
PchipInterpolator computes. Many curves at a time: each row of the arrays is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Halvings of an interval until its width is lost in double precision.
_BISECTIONS = 60


@dataclass(frozen=True)
class Pchip:
    """The interpolants through (``x``, ``y``), (rows, knots >= 2) each; ``x`` increases strictly along a row."""

    x: Floats
    y: Floats

    @cached_property
    def slopes(self) -> Floats:
        """The derivatives at the knots, (rows, knots)."""
        widths = np.diff(self.x, axis=1)
        secants = np.diff(self.y, axis=1) / widths
        if secants.shape[1] == 1:
            return np.repeat(secants, 2, axis=1)
        left, right = secants[:, :-1], secants[:, 1:]
        near, far = 2 * widths[:, 1:] + widths[:, :-1], widths[:, 1:] + 2 * widths[:, :-1]
        inner = np.zeros_like(left)
        # A weighted harmonic mean where the curve goes on in one direction, else flat: no overshoot.
        steady = left * right > 0
        np.divide(near + far, near / np.where(steady, left, 1) + far / np.where(steady, right, 1), inner, where=steady)
        first = _end_slope(widths[:, 0], widths[:, 1], secants[:, 0], secants[:, 1])
        last = _end_slope(widths[:, -1], widths[:, -2], secants[:, -1], secants[:, -2])
        return np.column_stack([first, inner, last])

    @cached_property
    def _coefficients(self) -> tuple[Floats, Floats, Floats]:
        """The linear, square and cubic coefficients of each piece about its left knot, (rows, knots - 1) each."""
        widths = np.diff(self.x, axis=1)
        secants = np.diff(self.y, axis=1) / widths
        left, right = self.slopes[:, :-1], self.slopes[:, 1:]
        return left, (3 * secants - 2 * left - right) / widths, (left + right - 2 * secants) / widths**2

    def _into_pieces(self, at: Floats) -> Floats:
        """Return how far ``at``, (rows,), lies into each piece, (rows, knots - 1): 0 before it, its width beyond it."""
        return np.clip(at[:, None] - self.x[:, :-1], 0, np.diff(self.x, axis=1))

    def value(self, at: Floats) -> Floats:
        """Return each row's value at its ``at``, (rows,); that of the nearer end outside the knots."""
        linear, square, cubic = self._coefficients
        t = self._into_pieces(at)
        rises: Floats = (((cubic * t + square) * t + linear) * t).sum(axis=1)
        return self.y[:, 0] + rises

    def integral(self, low: Floats, high: Floats) -> Floats:
        """Return each row's integral from ``low`` to ``high``, (rows,) each, both within the knots."""
        return self._area(high) - self._area(low)

    def _area(self, at: Floats) -> Floats:
        linear, square, cubic = self._coefficients
        t = self._into_pieces(at)
        area: Floats = ((((cubic / 4 * t + square / 3) * t + linear / 2) * t + self.y[:, :-1]) * t).sum(axis=1)
        return area

    def inverse(self, value: float) -> Floats:
        """Return where each row takes ``value``, (rows,); the nearer end where it never does. ``y`` must not fall."""
        low, high = self.x[:, 0].copy(), self.x[:, -1].copy()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self.value(middle) < value
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


def _end_slope(width: Floats, next_width: Floats, secant: Floats, next_secant: Floats) -> Floats:
    """Return the three-point slope at an end, cut back where it would turn the curve round."""
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    overshoots = (np.sign(secant) != np.sign(next_secant)) & (np.abs(slope) > 3 * np.abs(secant))
    kept = np.where(overshoots, 3 * secant, slope)
    return np.where(np.sign(slope) != np.sign(secant), 0.0, kept)
