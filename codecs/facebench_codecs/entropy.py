"""Entropy coding of quantised coefficients under static integer tables.

One table per coefficient, made by integer arithmetic from quantiles that ship with the weights: every machine
makes the same tables, so a payload decodes everywhere to the same integers. The coder is constriction's range
coder (Bamler 2022); its 32-bit words are cut to the bytes that the decoder cannot imply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import constriction
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError

#: Probabilities of the stored quantiles, in units of 2**-14; dense in the tails, where rare symbols live.
_TAIL = (0, 1, 2, 4, 8, 16, 32, 64)
LEVELS = np.array([*_TAIL, *range(128, 16384, 128), *(16384 - t for t in reversed(_TAIL))], np.int64)
#: Frequencies sum to this; a power of two, so that they are exact as float32 probabilities.
_TOTAL = 1 << 22
_FRACTION = 1 << 8
#: Steps and units are held as integers in units of 2**-20.
_FIXED_POINT = 1 << 20
#: Symbols reach this far beyond the training range; what lies further out is clamped by the encoder.
_MARGIN = 1.5
_MAX_SYMBOL = 4000


@dataclass(frozen=True)
class Quantiles:
    """The distribution of D coefficients: ``positions[d, j]`` x ``units[d]`` x 2**-20 is quantile LEVELS[j].

    ``positions`` is (D, len(LEVELS)) int16, ascending in j; ``units`` (D,) int64, positive.
    """

    positions: NDArray[np.int16]
    units: NDArray[np.int64]

    @classmethod
    def fit(cls, values: NDArray[np.float32]) -> Quantiles:
        """Fit to ``values``, (N, D) coefficients."""
        wanted = np.quantile(values.astype(np.float64), LEVELS / LEVELS[-1], axis=0).T
        reach = np.maximum(np.abs(wanted).max(axis=1), 1e-4)
        units = np.maximum(np.ceil(reach / 32767 * _FIXED_POINT), 1).astype(np.int64)
        positions = np.rint(wanted * _FIXED_POINT / units[:, None]).clip(-32767, 32767).astype(np.int16)
        return cls(positions, units)


@dataclass(frozen=True)
class _Group:
    """Coefficients whose alphabets are padded to one width, coded in one call."""

    members: NDArray[np.intp]
    lowest: NDArray[np.int32]
    probabilities: NDArray[np.float32]


class StaticCoder:
    """Codes vectors of D integer symbols under tables made for one quantiser step."""

    def __init__(self, quantiles: Quantiles, step: float) -> None:
        """Make the tables for symbols ``round(value / step)`` of the values that ``quantiles`` describes."""
        self.dimensions = len(quantiles.units)
        fixed_step = max(1, round(step * _FIXED_POINT))
        self._lowest = np.zeros(self.dimensions, np.int32)
        self._highest = np.zeros(self.dimensions, np.int32)
        tables: dict[int, NDArray[np.int64]] = {}
        for d in range(self.dimensions):
            lowest, table = _table(quantiles.positions[d].astype(np.int64), int(quantiles.units[d]), fixed_step)
            self._lowest[d], self._highest[d] = lowest, lowest + len(table) - 1
            if len(table) > 1:
                tables[d] = table
        self._groups = list(_grouped(tables, self._lowest))
        self._family = constriction.stream.model.Categorical(perfect=False)

    def clamp(self, symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return ``symbols``, (..., D), limited to what the tables can code."""
        return np.clip(symbols, self._lowest, self._highest)

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        """Return the information content in bits of one vector of (clamped) symbols under the tables."""
        bits = 0.0
        for group in self._groups:
            picked = np.take_along_axis(group.probabilities, self._indices(group, symbols)[:, None], axis=1)
            bits -= float(np.log2(picked.astype(np.float64)).sum())
        return bits

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        """Return the payload of one vector of D symbols, at least one byte; symbols out of range are clamped."""
        symbols = self.clamp(symbols)
        encoder = constriction.stream.queue.RangeEncoder()
        for group in self._groups:
            encoder.encode(self._indices(group, symbols), self._family, group.probabilities)
        whole = encoder.get_compressed().astype(">u4").tobytes()
        return self._shortest(whole, symbols)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        """Return the (D,) symbols of ``payload``; raises CodecError if it is empty or cannot be one."""
        if not payload:
            raise CodecError("empty payload")
        if len(payload) > 4 * self.dimensions + 16:
            raise CodecError(f"payload of {len(payload)} bytes is too long for {self.dimensions} coefficients")
        return self._decode(payload)

    def _decode(self, payload: bytes) -> NDArray[np.int32]:
        padded = payload + bytes(8 + -len(payload) % 4)
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))
        symbols = np.zeros(self.dimensions, np.int32)
        try:
            for group in self._groups:
                symbols[group.members] = decoder.decode(self._family, group.probabilities) + group.lowest
        except (AssertionError, ValueError) as error:
            raise CodecError("payload is damaged: it ends in no valid symbol") from error
        return symbols

    @staticmethod
    def _indices(group: _Group, symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        return (symbols[group.members] - group.lowest).astype(np.int32)

    def _shortest(self, whole: bytes, symbols: NDArray[np.int32]) -> bytes:
        """Return the shortest payload that, continued with zero bytes, still decodes to ``symbols``.

        The coder may end on any number of its last interval; it writes one to whole words. Cut to k bytes,
        either that number or the next larger of k bytes lies in the interval, or none does.
        """
        shortest = whole.rstrip(b"\0") or b"\0"
        low, high = max(0, len(whole) - 9), len(shortest) - 1
        while low <= high:
            length = (low + high) // 2
            fitting = self._fitting(whole, length, symbols)
            if fitting is None:
                low = length + 1
            else:
                shortest, high = fitting, length - 1
        return shortest.rstrip(b"\0") or b"\0"

    def _fitting(self, whole: bytes, length: int, symbols: NDArray[np.int32]) -> bytes | None:
        number = int.from_bytes(whole[:length], "big")
        for candidate in (number, number + 1):
            if candidate >> (8 * length):
                continue
            cut = candidate.to_bytes(length, "big")
            try:
                if np.array_equal(self._decode(cut), symbols):
                    return cut
            except CodecError:
                continue
        return None


def _table(positions: NDArray[np.int64], unit: int, fixed_step: int) -> tuple[int, NDArray[np.int64]]:
    """Return the lowest symbol and the frequencies, summing to _TOTAL, of one coefficient; integers only."""
    reach = int(max(-positions[0], positions[-1], 0)) * unit
    furthest = min(int(reach * _MARGIN) // fixed_step + 1, _MAX_SYMBOL)
    edges = np.arange(-2 * furthest - 1, 2 * furthest + 2, 2, dtype=np.int64) * fixed_step
    # Edges in quantile positions, with 8 fractional bits; then the distribution function, interpolated linearly.
    edges = (edges * (_FRACTION // 2)) // unit
    knots = positions * _FRACTION
    right = np.clip(np.searchsorted(knots, edges, side="right"), 1, len(LEVELS) - 1)
    gap = np.maximum(knots[right] - knots[right - 1], 1)
    inside = np.clip(edges - knots[right - 1], 0, gap)
    rise = (LEVELS[right] - LEVELS[right - 1]) * _FRACTION
    cumulative = LEVELS[right - 1] * _FRACTION + rise * inside // gap
    cumulative[0], cumulative[-1] = 0, _TOTAL
    frequencies = np.diff(cumulative)
    if frequencies[furthest] == _TOTAL:  # never anything but zero in training: not coded at all
        return 0, np.array([_TOTAL], np.int64)
    frequencies = np.maximum(frequencies, 1)
    frequencies[np.argmax(frequencies)] -= frequencies.sum() - _TOTAL
    return -furthest, frequencies


def _grouped(tables: dict[int, NDArray[np.int64]], lowest: NDArray[np.int32]) -> Iterator[_Group]:
    """Group coefficients by the power of two above their alphabet's size, so that little is padded."""
    by_width: dict[int, list[int]] = {}
    for d, table in tables.items():
        by_width.setdefault(len(table).bit_length(), []).append(d)
    for members in (by_width[key] for key in sorted(by_width, reverse=True)):
        width = max(len(tables[d]) for d in members)
        frequencies = np.zeros((len(members), width), np.int64)
        for row, d in enumerate(members):
            frequencies[row, : len(tables[d])] = tables[d]
        probabilities = (frequencies / _TOTAL).astype(np.float32)
        yield _Group(np.array(members, np.intp), lowest[members], probabilities)
