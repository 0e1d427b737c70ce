"""What a picture really costs: its payload and its share of the decoder's weights; when those pay for themselves.

Weights are sent once, to whoever decodes N pictures: a picture then costs payload + weights / N. At equal quality a
learned codec breaks even with another at N = (its weights - the other's) / (the other's payload - its own).

A codec counts as learned if its decoder's weights are larger than one uncompressed picture: tables of a few hundred
bytes, which stand for headers that are not sent, do not make it one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import Reading, bytes_at
from facebench.analysis.summary import WHOLE, Summary


def real_bytes(payload: float, weights: int, pictures: float) -> float:
    """Return the bytes that each of so many ``pictures`` costs, its share of the ``weights`` in bytes included."""
    return payload + weights / pictures


def pictures_to_break_even(payload: float, weights: int, rival_payload: float, rival_weights: int = 0) -> float:
    """Return how many pictures it takes for a codec to cost what its rival does, weights included; all in bytes.

    Infinite where the rival's payload is no larger.
    """
    if rival_payload <= payload:
        return math.inf
    return max(0, weights - rival_weights) / (rival_payload - payload)


@dataclass(frozen=True)
class Rival:
    """A codec that is not learned at the same quality: its curve, its payload there (None and the reason), and N.

    ``pictures`` is the number at which the learned one breaks even: infinite if never, None without a payload.
    """

    curve: str
    bytes: Reading
    pictures: float | None


@dataclass(frozen=True)
class RealCost:
    """A learned curve at one ``quality`` (value of the ranking metric), against each codec that is not, by name."""

    curve: str
    quality: float
    payload: float
    weights: int
    rivals: Mapping[str, Rival]

    def at(self, pictures: float) -> float:
        """Return the bytes per picture if so many are decoded."""
        return real_bytes(self.payload, self.weights, pictures)


def real_costs(summary: Summary, values: Sequence[float] = ()) -> list[RealCost]:
    """Return what a picture costs on each learned curve, over whole pictures, in the run's order.

    ``values`` are values of the ranking metric; without any, each curve is taken at the quality of its middle
    operating point. A curve that does not reach a value has no entry for it. The rivals are all codecs that are not
    learned, each with the curve of it that takes the fewest bytes there.
    """
    metric = summary.ranked_by
    higher = summary.higher_is_better(metric)
    weights: dict[str, int] = {}
    for row in summary.rows:
        weights[row.curve] = max(weights.get(row.curve, 0), row.weights_bytes)
    # Every row's ratio is raw size / bytes; rows whose pictures all failed have none.
    raw = max((row.ratio * row.bytes for row in summary.rows if row.bytes > 0), default=0.0)
    curves = {name: curve for name, curve in summary.curves(metric, WHOLE).items() if curve.points}
    rivals = [(curve, weights[name]) for name, curve in curves.items() if weights[name] < raw]
    costs = []
    for name, curve in curves.items():
        if weights[name] < raw:
            continue
        for value in values or (curve.points[len(curve.points) // 2].value,):
            payload = bytes_at(curve, value, higher_is_better=higher).value
            if payload is not None:
                best = _best_rivals(rivals, value, payload, weights[name], higher_is_better=higher)
                costs.append(RealCost(name, value, payload, weights[name], best))
    return costs


def _best_rivals(
    rivals: Sequence[tuple[Curve, int]], value: float, payload: float, weights: int, *, higher_is_better: bool
) -> dict[str, Rival]:
    best: dict[str, Rival] = {}
    for curve, tables in rivals:
        reading = bytes_at(curve, value, higher_is_better=higher_is_better)
        pictures = None
        if reading.value is not None:
            pictures = pictures_to_break_even(payload, weights, reading.value, tables)
        known = best.get(curve.codec)
        if known is None or _fewer(reading, known.bytes):
            best[curve.codec] = Rival(curve.name, reading, pictures)
    return best


def _fewer(one: Reading, other: Reading) -> bool:
    return one.value is not None and (other.value is None or one.value < other.value)
