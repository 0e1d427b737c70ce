"""The prior of a latent in groups: tables of each value's symbols under a context of what was coded before.

Groups go from coarse to fine, the channels of a group one after the other, and a channel in the two colours of a
chessboard. The context is a class: how much is not zero about the same place in coarser groups, in channels before, and
in the channel's other colour. A table is that of the value's own distribution, made wider or narrower by the class.
Contexts and tables are of whole numbers, so they are the same on every machine; what a network of floating-point
numbers expects decides nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError
from facebench_codecs.entropy import FAMILY, FIXED_POINT, MAX_UNIT, TOTAL, Quantiles, Table, table_of, with_total
from facebench_codecs.hierarchical import Group

#: Classes of contexts that have tables of their own.
CLASSES = 5
#: Quantiser steps that contexts are fitted at; another step takes those of the nearest.
FITTED_STEPS = (1.0, 2.0, 4.0, 8.0)
#: The fitted step whose values give all tables their form.
_FORM_STEP = 2.0
#: Scales are held as integers in units of 2**-16.
_SCALE_BITS = 16
#: A class's scale starts from that of all classes, which counts as so many pictures.
_PRIOR_PICTURES = 20.0
#: Pictures at a time when fitting.
_CHUNK = 256


@dataclass(frozen=True)
class Contexts:
    """What is fitted at one quantiser step.

    ``weights``: for each part of :func:`_parts`, (F,) int8, those of its features; ``thresholds`` (D, CLASSES - 1)
    int32, ascending: a class is how many of them a value's activity exceeds; ``scales`` (D, CLASSES) int32, positive:
    mean absolute values in units of 2**-16.
    """

    weights: list[NDArray[np.int8]]
    thresholds: NDArray[np.int32]
    scales: NDArray[np.int32]


class ConditionalPrior:
    """Codes vectors of D integer symbols in groups, coarse to fine."""

    @classmethod
    def fit(cls, groups: Sequence[Group], values_at: Callable[[float], NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Return its tensors, fitted to ``values_at`` each of FITTED_STEPS: (N, D), in standard deviations of noise.

        At a step, the values of a group follow on those of coarser groups having been quantised by it.
        """
        fitted = []
        for step in FITTED_STEPS:
            values = values_at(step)
            contexts, classes = _fitted(groups, values, step)
            fitted.append(contexts)
            if step == _FORM_STEP:
                normal = np.empty_like(values)
                for number in range(CLASSES):
                    scale = contexts.scales[:, number].astype(np.float32) / (1 << _SCALE_BITS)
                    np.divide(values, scale, out=normal, where=classes == number)
                form = Quantiles.fit(normal)
        return {
            "quantiles.positions": form.positions,
            "quantiles.units": form.units,
            "context.weights": np.stack([np.concatenate(one.weights) for one in fitted]),
            "context.thresholds": np.stack([one.thresholds for one in fitted]),
            "context.scales": np.stack([one.scales for one in fitted]),
        }

    def __init__(self, groups: Sequence[Group], tensors: Mapping[str, NDArray[Any]], step: float) -> None:
        """Raises KeyError or ValueError if ``tensors`` are not those of such groups."""
        self._groups = groups
        self.dimensions = groups[-1].values.stop
        self._step = max(1, round(step * FIXED_POINT))
        # The nearest in proportion.
        nearest = min(range(len(FITTED_STEPS)), key=lambda n: max(FITTED_STEPS[n] / step, step / FITTED_STEPS[n]))
        self._fitted_step = round(FITTED_STEPS[nearest] * FIXED_POINT)
        contexts = _unpacked(groups, tensors)[nearest]
        self._weights = [weights.astype(np.int64) for weights in contexts.weights]
        self._thresholds = contexts.thresholds.astype(np.int64)
        quantiles = Quantiles.unpack(tensors, self.dimensions)
        tables = [
            _of_one_alphabet([table_of(positions, min(max(1, unit), MAX_UNIT), self._step) for unit in units])
            for positions, units in zip(
                quantiles.positions.astype(np.int64),
                ((quantiles.units[:, None] * contexts.scales) >> _SCALE_BITS).tolist(),
                strict=True,
            )
        ]
        self._highest = np.array([rows.shape[1] // 2 for rows in tables], np.int32)
        self._blocks = [
            _block(members, tables) for members, _ in _parts(groups, np.zeros((1, self.dimensions), np.int32))
        ]

    def clamp(self, symbols: NDArray[np.int32], first: int = 0) -> NDArray[np.int32]:
        """Return ``symbols``, (..., n), those from dimension ``first`` on, limited to what the tables can code."""
        highest = self._highest[first : first + symbols.shape[-1]]
        return np.clip(symbols, -highest, highest)

    def write(self, encoder: constriction.stream.queue.RangeEncoder, symbols: NDArray[np.int32]) -> None:
        """Append one vector of D symbols, all within the tables, to what ``encoder`` holds."""
        for members, highest, rows in self._coded(symbols):
            encoder.encode((symbols[members] + highest).astype(np.int32), FAMILY, rows)

    def read(self, decoder: constriction.stream.queue.RangeDecoder) -> NDArray[np.int32]:
        """Return the next (D,) symbols of ``decoder``; raises CodecError where the payload ends in none."""
        symbols = np.zeros(self.dimensions, np.int32)
        for members, highest, rows in self._coded(symbols):
            try:
                symbols[members] = decoder.decode(FAMILY, rows) - highest
            except (AssertionError, ValueError) as error:
                raise CodecError("payload is damaged: it ends in no valid symbol") from error
        return symbols

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        """Return the information content in bits of one vector of (clamped) symbols under the tables."""
        total = 0.0
        for members, highest, rows in self._coded(symbols):
            shares = np.take_along_axis(rows, (symbols[members] + highest)[:, None].astype(np.intp), axis=1)
            total -= float(np.log2(shares.astype(np.float64)).sum())
        return total

    def _coded(
        self, symbols: NDArray[np.int32]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]]:
        """Yield what is coded at once: its dimensions, their highest symbols, and their tables.

        ``symbols`` may be filled in on the way: only those that were coded before matter.
        """
        parts = _parts(self._groups, symbols[None])
        for (members, features), weights, block in zip(parts, self._weights, self._blocks, strict=True):
            activity = weights @ features[0]
            # Both sides in the same unit: activity counts steps.
            classes = (activity[:, None] * self._step > self._thresholds[members] * self._fitted_step).sum(1)
            if len(block.places):
                coded = members[block.places]
                yield coded, self._highest[coded], block.rows(classes)


@dataclass(frozen=True)
class _Block:
    """The tables of a part: of those of its ``places`` that have more than one symbol, padded to one width."""

    places: NDArray[np.intp]
    probabilities: NDArray[np.float32]  # (n, CLASSES, width)

    def rows(self, classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the tables, (n, width), by the classes of all places of the part."""
        return np.ascontiguousarray(self.probabilities[np.arange(len(self.places)), classes[self.places]])


def _of_one_alphabet(tables: Sequence[Table]) -> NDArray[np.int64]:
    """Return the frequencies of tables that are symmetric about 0, each with as many symbols: (CLASSES, width)."""
    highest = max(-table.lowest for table in tables)
    rows = np.ones((len(tables), 2 * highest + 1), np.int64)
    for row, table in zip(rows, tables, strict=True):
        row[highest + table.lowest : highest - table.lowest + 1] = table.frequencies
    return np.stack([row if row.sum() == TOTAL else with_total(row) for row in rows])


def _block(members: NDArray[np.intp], tables: Sequence[NDArray[np.int64]]) -> _Block:
    places = [place for place, d in enumerate(members) if tables[d].shape[1] > 1]
    width = max((tables[members[place]].shape[1] for place in places), default=1)
    frequencies = np.zeros((len(places), CLASSES, width), np.int64)
    for row, place in zip(frequencies, places, strict=True):
        table = tables[members[place]]
        row[:, : table.shape[1]] = table
    return _Block(np.array(places, np.intp), (frequencies / TOTAL).astype(np.float32))


def _parts(groups: Sequence[Group], symbols: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Yield what is coded at once, in order: its n dimensions, and (N, F, n) features of the context in (N, D) symbols.

    A feature is how large symbols are about each place: of each channel of coarser groups and of each channel before,
    and last of the channel's own four neighbours, which is 0 for the first colour. ``symbols`` are read when a part is
    asked for: those coded later do not matter.
    """
    count = len(symbols)
    known = np.zeros((count, 0, groups[0].side, groups[0].side), np.int64)
    for group in groups:
        doubled = group.side // known.shape[2]
        coarser = known.shape[1]
        grown = known.repeat(doubled, 2).repeat(doubled, 3)
        known = np.concatenate([grown, np.zeros((count, *group.shape), np.int64)], 1)
        flat = known.reshape(count, known.shape[1], -1)
        colour = np.add.outer(np.arange(group.side), np.arange(group.side)).reshape(-1) % 2
        for channel in range(group.channels):
            first = group.first + channel * group.side**2
            for number in (0, 1):
                places = np.flatnonzero(colour == number)
                features = np.zeros((count, coarser + channel + 1, len(places)), np.int64)
                features[:, :-1] = flat[:, : coarser + channel, places]
                if number:
                    features[:, -1] = _neighbours(symbols, first, group.side).reshape(count, -1)[:, places]
                yield first + places, features
            known[:, coarser + channel] = _spread(symbols, first, group.side)


def _padded(symbols: NDArray[np.int32], first: int, side: int) -> NDArray[np.int64]:
    """Return how large a channel's symbols are, (N, S + 2, S + 2); beyond the edge is nothing."""
    large = np.zeros((len(symbols), side + 2, side + 2), np.int64)
    large[:, 1:-1, 1:-1] = np.abs(symbols[:, first : first + side**2]).reshape(-1, side, side)
    return large


def _neighbours(symbols: NDArray[np.int32], first: int, side: int) -> NDArray[np.int64]:
    large = _padded(symbols, first, side)
    return large[:, :-2, 1:-1] + large[:, 2:, 1:-1] + large[:, 1:-1, :-2] + large[:, 1:-1, 2:]


def _spread(symbols: NDArray[np.int32], first: int, side: int) -> NDArray[np.int64]:
    large = _padded(symbols, first, side)
    rows = large[:, :-2] + 2 * large[:, 1:-1] + large[:, 2:]
    spread: NDArray[np.int64] = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]
    return spread


def _in_chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)


def _fitted(groups: Sequence[Group], values: NDArray[np.float32], step: float) -> tuple[Contexts, NDArray[np.int8]]:
    """Return the contexts of (N, D) values that are coded in steps of ``step``, and their classes, (N, D)."""
    count, dimensions = values.shape
    symbols = np.rint(values / step).astype(np.int32)
    weights = _regressions(groups, symbols, np.abs(values))
    activity = np.zeros((count, dimensions), np.int32)
    for rows in _in_chunks(count):
        for (members, features), chosen in zip(_parts(groups, symbols[rows]), weights, strict=True):
            activity[rows, members] = np.einsum("f,nfp->np", chosen.astype(np.int64), features)
    thresholds = _equal_parts(activity)
    classes = np.zeros((count, dimensions), np.int8)
    for number in range(CLASSES - 1):
        classes += activity > thresholds[:, number]
    sizes = np.abs(values)
    overall = np.maximum(sizes.mean(0, dtype=np.float64), 1e-4)
    scales = []
    for number in range(CLASSES):
        of_class = classes == number
        total = np.where(of_class, sizes, 0).sum(0, dtype=np.float64) + _PRIOR_PICTURES * overall
        scales.append(total / (of_class.sum(0) + _PRIOR_PICTURES))
    fixed = np.rint(np.stack(scales, 1) * (1 << _SCALE_BITS)).clip(1, (1 << 31) - 1).astype(np.int32)
    return Contexts(weights, thresholds, fixed), classes


def _regressions(
    groups: Sequence[Group], symbols: NDArray[np.int32], sizes: NDArray[np.float32]
) -> list[NDArray[np.int8]]:
    """Return the weights, (F,) for each part, with which its features best tell the (N, D) ``sizes`` of values.

    Least squares over places and pictures; sizes and features are seen relative to their means at each place.
    """
    relative = sizes / np.maximum(sizes.mean(0), 1e-4)
    relative -= relative.mean(0)
    sums: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for rows in _in_chunks(len(symbols)):
        for number, (members, features) in enumerate(_parts(groups, symbols[rows])):
            flat = features.transpose(1, 0, 2).reshape(features.shape[1], -1).astype(np.float64)
            found = features.sum(0, dtype=np.float64), flat @ flat.T, flat @ relative[rows, members].reshape(-1)
            if number == len(sums):
                sums.append(found)
            else:
                of_places, moments, products = sums[number]
                sums[number] = of_places + found[0], moments + found[1], products + found[2]
    weights = []
    for of_places, moments, products in sums:
        moments = moments - of_places @ of_places.T / len(symbols)
        ridge = 1e-3 * np.trace(moments) / len(moments) + 1e-9
        best = np.linalg.solve(moments + ridge * np.eye(len(moments)), products)
        weights.append(np.asarray(np.rint(best / max(np.abs(best).max(), 1e-12) * 127), np.int8))
    return weights


def _equal_parts(activity: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the thresholds, (D, CLASSES - 1), that part (N, D) activities; what equals one is not above it.

    Where many are equal, the next threshold parts those that are left.
    """
    ordered = np.sort(activity, axis=0)
    count = len(ordered)
    below = np.zeros(activity.shape[1], np.int64)
    thresholds = []
    for left in range(CLASSES, 1, -1):
        place = np.minimum(below + (count - below) // left, count - 1)
        thresholds.append(np.take_along_axis(ordered, place[None], axis=0)[0])
        below = (ordered <= thresholds[-1]).sum(0)
    return np.stack(thresholds, 1)


def _unpacked(groups: Sequence[Group], tensors: Mapping[str, NDArray[Any]]) -> list[Contexts]:
    """Return the contexts of each of FITTED_STEPS; raises KeyError or ValueError if they are those of other groups."""
    weights, thresholds, scales = (tensors[f"context.{name}"] for name in ("weights", "thresholds", "scales"))
    parts = _parts(groups, np.zeros((1, groups[-1].values.stop), np.int32))
    ends = np.cumsum([features.shape[1] for _, features in parts])
    steps, dimensions, total = len(FITTED_STEPS), groups[-1].values.stop, int(ends[-1])
    if (weights.dtype, weights.shape) != (np.int8, (steps, total)):
        raise ValueError(f"the weights of contexts are {weights.dtype} {weights.shape}")
    if (thresholds.dtype, thresholds.shape) != (np.int32, (steps, dimensions, CLASSES - 1)):
        raise ValueError(f"the thresholds of contexts are {thresholds.dtype} {thresholds.shape}")
    if (scales.dtype, scales.shape) != (np.int32, (steps, dimensions, CLASSES)) or scales.min() < 1:
        raise ValueError(f"the scales of contexts are {scales.dtype} {scales.shape}, or not positive")
    return [
        Contexts(
            np.split(weights[n], ends[:-1]),
            thresholds[n],
            scales[n],
        )
        for n in range(steps)
    ]
