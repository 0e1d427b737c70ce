"""Entropy coding of quantised coefficients under static integer tables.

One table per coefficient, made by integer arithmetic from quantiles that ship with the weights: every machine
makes the same tables, so a payload decodes everywhere to the same integers. The coder is constriction's range
coder (Bamler 2022); its 32-bit words are cut to the bytes that the decoder cannot imply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from facebench import CodecError

#: Probabilities of the stored quantiles, in units of 2**-14; dense in the tails, where rare symbols live.
_TAIL = (0, 1, 2, 4, 8, 16, 32, 64)
LEVELS = np.array([*_TAIL, *range(128, 16384, 128), *(16384 - t for t in reversed(_TAIL))], np.int64)
#: The frequencies of a table sum to this; a power of two, so that they are exact as float32 probabilities.
TOTAL = 1 << 22
_FRACTION = 1 << 8
#: Steps and units are held as integers in units of 2**-20.
FIXED_POINT = 1 << 20
#: Symbols reach this far beyond the training range; what lies further out is clamped by the encoder.
_MARGIN = 1.5
_MAX_SYMBOL = 4000
#: Integer arithmetic on larger units would leave 64 bits.
MAX_UNIT = 1 << 31


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
        units = np.maximum(np.ceil(reach / 32767 * FIXED_POINT), 1).astype(np.int64)
        positions = np.rint(wanted * FIXED_POINT / units[:, None]).clip(-32767, 32767).astype(np.int16)
        return cls(positions, units)

    @classmethod
    def unpack(cls, tensors: Mapping[str, NDArray[Any]], dimensions: int) -> Quantiles:
        """Read those of so many coefficients from a weights file; raises KeyError or ValueError on anything else."""
        positions, units = tensors["quantiles.positions"], tensors["quantiles.units"]
        if (positions.shape, positions.dtype) != ((dimensions, len(LEVELS)), np.int16):
            raise ValueError(f"the quantiles are {positions.dtype} {positions.shape}")
        if (units.shape, units.dtype) != ((dimensions,), np.int64) or units.min() < 1 or units.max() > MAX_UNIT:
            raise ValueError("the quantiles' units are not positive whole numbers")
        if (np.diff(positions.astype(np.int64)) < 0).any():
            raise ValueError("the quantiles do not ascend")
        return cls(positions, units)


@dataclass(frozen=True)
class Table:
    """The code of one coefficient: ``frequencies[i]`` of symbol ``lowest + i``; positive, summing to TOTAL."""

    lowest: int
    frequencies: NDArray[np.int64]


@dataclass(frozen=True)
class _Group:
    """Coefficients whose alphabets are padded to one width, coded in one call."""

    members: NDArray[np.intp]
    lowest: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    bits: NDArray[np.float64]


#: The range coder's models: rows of frequencies / TOTAL as float32.
FAMILY = constriction.stream.model.Categorical(perfect=False)


class StaticCoder:
    """Codes vectors of D integer symbols, each under a table of its own."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Coefficients with larger alphabets are coded first; a table of one symbol costs nothing."""
        self.dimensions = len(tables)
        self._lowest = np.array([table.lowest for table in tables], np.int32)
        self._highest = np.array([table.lowest + len(table.frequencies) - 1 for table in tables], np.int32)
        self._groups = list(_grouped(tables))

    @classmethod
    def for_step(cls, quantiles: Quantiles, step: float) -> StaticCoder:
        """Make the tables for symbols ``round(value / step)`` of the values that ``quantiles`` describes."""
        fixed_step = max(1, round(step * FIXED_POINT))
        rows = zip(quantiles.positions.astype(np.int64), quantiles.units, strict=True)
        return cls([table_of(positions, int(unit), fixed_step) for positions, unit in rows])

    def clamp(self, symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return ``symbols``, (..., D), limited to what the tables can code."""
        return np.clip(symbols, self._lowest, self._highest)

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        """Return the information content in bits of one vector of (clamped) symbols under the tables."""
        return float(sum(_picked(group, symbols).sum() for group in self._groups))

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        """Return the payload of one vector of D symbols, at least one byte; symbols out of range are clamped."""
        encoder = constriction.stream.queue.RangeEncoder()
        self.write(encoder, self.clamp(symbols))
        return shortest_payload(encoder)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        """Return the (D,) symbols of ``payload``; raises CodecError if it is empty or cannot be one."""
        check_length(payload, self.dimensions)
        return self.read(open_payload(payload))

    def write(self, encoder: constriction.stream.queue.RangeEncoder, symbols: NDArray[np.int32]) -> None:
        """Append one vector of D symbols, all within the tables, to what ``encoder`` holds."""
        for group in self._groups:
            encoder.encode(_indices(group, symbols), FAMILY, group.probabilities)

    def read(
        self, decoder: constriction.stream.queue.RangeDecoder, bits_left: float | None = None
    ) -> NDArray[np.int32]:
        """Return the next (D,) symbols of ``decoder``; raises CodecError where the payload ends in none.

        With ``bits_left``, the payload may have been cut: a symbol that ends beyond so many bits is 0, and so are
        all after it.
        """
        symbols = np.zeros(self.dimensions, np.int32)
        spent = 0.0
        for group in self._groups:
            try:
                indices = decoder.decode(FAMILY, group.probabilities)
            except (AssertionError, ValueError) as error:
                if bits_left is not None:
                    break
                raise CodecError("payload is damaged: it ends in no valid symbol") from error
            found = indices + group.lowest
            if bits_left is not None:
                ends = spent + np.cumsum(np.take_along_axis(group.bits, indices[:, None], axis=1)[:, 0])
                spent = float(ends[-1])
                found[ends > bits_left] = 0
            symbols[group.members] = found
            if bits_left is not None and spent > bits_left:
                break
        return symbols


def check_length(payload: bytes, symbols: int) -> None:
    """Raise CodecError if ``payload`` is longer than any that tables make of so many symbols."""
    if len(payload) > 4 * symbols + 16:
        raise CodecError(f"payload of {len(payload)} bytes is too long for {symbols} coefficients")


def open_payload(payload: bytes) -> constriction.stream.queue.RangeDecoder:
    """Return a decoder of ``payload`` continued with zero bytes; raises CodecError if it is empty."""
    if not payload:
        raise CodecError("empty payload")
    padded = payload + bytes(8 + -len(payload) % 4)
    return constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))


def shortest_payload(encoder: constriction.stream.queue.RangeEncoder, least: int = 1) -> bytes:
    """Return the fewest bytes (``least`` or more) that, continued with zero bytes, decode to what was encoded.

    The coder may end on any number of its last interval and writes one to whole words. The interval is read
    off its state: ``lower`` and ``width`` in 64 bits that begin at word ``position``.
    """
    position, (lower, width) = encoder.pos()
    words = encoder.get_compressed()
    bits = 64 + 32 * position
    inside = int.from_bytes(words.astype(">u4").tobytes(), "big") << (bits - 32 * len(words))
    start = inside - ((inside - lower) % (1 << 64))
    for length in range(least, bits // 8 + 1):
        shift = bits - 8 * length
        number = -(-start >> shift)
        if number << shift < start + width and number >> (8 * length) == 0:
            return number.to_bytes(length, "big")
    raise AssertionError("an interval of the range coder holds a number")


def _indices(group: _Group, symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    return (symbols[group.members] - group.lowest).astype(np.int32)


def _picked(group: _Group, symbols: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.take_along_axis(group.bits, _indices(group, symbols)[:, None], axis=1)[:, 0]


def table_of(positions: NDArray[np.int64], unit: int, fixed_step: int) -> Table:
    """Return the table of one coefficient, of which ``positions`` x ``unit`` are quantiles; integers only.

    Its symbols are values in whole steps of ``fixed_step``; units and steps are in FIXED_POINT.
    """
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
    cumulative[0], cumulative[-1] = 0, TOTAL
    frequencies = np.diff(cumulative)
    if frequencies[furthest] == TOTAL:  # never anything but zero in training: not coded at all
        return Table(0, np.array([TOTAL], np.int64))
    return Table(-furthest, with_total(np.maximum(frequencies, 1)))


def frequencies_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the frequencies of a table, summing to TOTAL, from how often each symbol was seen (at least once)."""
    return with_total(np.maximum(counts * TOTAL // counts.sum(), 1))


def with_total(frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return positive ``frequencies`` changed so that they sum to TOTAL, the largest first, none by more than half."""
    changed = frequencies.copy()
    excess = int(changed.sum()) - TOTAL
    for index in np.argsort(-changed, kind="stable"):
        part = min(excess, int(changed[index]) // 2)
        changed[index] -= part
        excess -= part
        if not excess:
            return changed
    raise ValueError(f"frequencies of {len(frequencies)} symbols do not fit {TOTAL}")


def _grouped(tables: Sequence[Table]) -> Iterator[_Group]:
    """Group coefficients by the power of two above their alphabet's size, so that little is padded."""
    by_width: dict[int, list[int]] = {}
    for d, table in enumerate(tables):
        if len(table.frequencies) > 1:
            by_width.setdefault(len(table.frequencies).bit_length(), []).append(d)
    for members in (by_width[key] for key in sorted(by_width, reverse=True)):
        width = max(len(tables[d].frequencies) for d in members)
        frequencies = np.zeros((len(members), width), np.int64)
        for row, d in enumerate(members):
            frequencies[row, : len(tables[d].frequencies)] = tables[d].frequencies
        lowest = np.array([tables[d].lowest for d in members], np.int32)
        probabilities = (frequencies / TOTAL).astype(np.float32)
        with np.errstate(divide="ignore"):
            bits = -np.log2(probabilities.astype(np.float64))
        yield _Group(np.array(members, np.intp), lowest, probabilities, bits)
