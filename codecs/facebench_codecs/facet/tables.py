"""The tables that facet's symbols are coded under: a codebook of distributions, and which one each latent value uses
at each rate.

A table for each of 64 rates x 1,024 values would outweigh the networks. Like distributions share one: Lloyd's
algorithm with the code length as its distance. Everything that decoding depends on is an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench_codecs.entropy import TOTAL, StaticCoder, Table, with_total

#: Rate settings 0 (smallest payload) to RATES - 1.
RATES = 64
_CLASSES = 255
#: Symbols beyond this are clamped by the encoder.
REACH = 120
_ROUNDS = 12
#: The share of the training faces that count as usual, and the margin on their bits.
USUAL, _USUAL_MARGIN = 0.999, 1.05
#: A value that is other than zero more rarely than this is not coded at all.
_DEAD = 2e-4
#: Of a class, against its commonest symbol: no symbol is impossible.
_FLOOR = 1e-6


def linear_step(rate: int) -> float:
    """Return the quantiser step of bare PCA coefficients of pictures in [0, 1]: 4 at rate 0, 0.06 at the last."""
    return float(4.0 * (0.06 / 4.0) ** (rate / (RATES - 1)))


@dataclass(frozen=True)
class Codebook:
    """``tables`` by class; ``classes`` (RATES, D) uint8, each value's class at each rate; ``typical_bits`` (RATES,)
    mean bits of a training face, ``usual_bits`` (RATES,) what few of them exceed."""

    tables: tuple[Table, ...]
    classes: NDArray[np.uint8]
    typical_bits: NDArray[np.float32]
    usual_bits: NDArray[np.float32]

    def coder(self, rate: int) -> StaticCoder:
        """Return the coder of the symbols at ``rate``."""
        return StaticCoder([self.tables[c] for c in self.classes[rate]])

    def pack(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the codebook as arrays for a weights file."""
        return {
            f"{prefix}frequencies": np.concatenate([table.frequencies for table in self.tables]).astype(np.int32),
            f"{prefix}lengths": np.array([len(table.frequencies) for table in self.tables], np.int16),
            f"{prefix}lowest": np.array([table.lowest for table in self.tables], np.int16),
            f"{prefix}classes": self.classes,
            f"{prefix}typical_bits": self.typical_bits,
            f"{prefix}usual_bits": self.usual_bits,
        }

    @classmethod
    def unpack(cls, tensors: Mapping[str, NDArray[Any]], prefix: str, dimensions: int) -> Codebook:
        """Read what :meth:`pack` made for so many values; raises KeyError or ValueError on anything else."""
        lengths = tensors[f"{prefix}lengths"].astype(int)
        if not len(lengths) or lengths.min() < 1 or lengths.max() > 2 * REACH + 1:
            raise ValueError("a table has too many symbols, or none")
        ends = np.cumsum(lengths)
        parts = np.split(tensors[f"{prefix}frequencies"].astype(np.int64), ends[:-1])
        if any(part.sum() != TOTAL or part.min() < 1 for part in parts):
            raise ValueError("a table's frequencies are not positive or have the wrong sum")
        tables = tuple(Table(int(low), part) for low, part in zip(tensors[f"{prefix}lowest"], parts, strict=True))
        classes = tensors[f"{prefix}classes"]
        if classes.dtype != np.uint8 or classes.shape != (RATES, dimensions) or classes.max() >= len(tables):
            raise ValueError("the classes do not fit the tables")
        typical, usual = tensors[f"{prefix}typical_bits"], tensors[f"{prefix}usual_bits"]
        if typical.shape != (RATES,) or usual.shape != (RATES,):
            raise ValueError("there are not as many numbers of bits as rates")
        return cls(tables, classes, typical, usual)


def fit_codebook(symbols_at: Callable[[int], NDArray[np.int32]]) -> Codebook:
    """Return the codebook for symbols; ``symbols_at(rate)`` gives (N, D) examples, N the same at every rate."""
    kept = [np.clip(symbols_at(rate), -REACH, REACH).astype(np.int8) for rate in range(RATES)]
    tables, classes = _fit_tables(np.stack([_histogram(symbols) for symbols in kept]))
    codebook = Codebook(tables, classes, np.zeros(RATES, np.float32), np.zeros(RATES, np.float32))
    for rate, symbols in enumerate(kept):
        coder = codebook.coder(rate)
        bits = np.array([coder.ideal_bits(coder.clamp(s.astype(np.int32))) for s in symbols])
        codebook.typical_bits[rate] = bits.mean()
        codebook.usual_bits[rate] = np.quantile(bits, USUAL) * _USUAL_MARGIN
    return codebook


def _histogram(symbols: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return how often each of D values is each of -REACH .. REACH in symbols (N, D): (D, 2 REACH + 1)."""
    width = 2 * REACH + 1
    dimensions = symbols.shape[1]
    shifted = symbols.astype(np.int64) + REACH + np.arange(dimensions) * width
    return np.bincount(shifted.ravel(), minlength=dimensions * width).reshape(dimensions, width).astype(np.float32)


def _fit_tables(histograms: NDArray[np.float32]) -> tuple[tuple[Table, ...], NDArray[np.uint8]]:
    """Return the tables and the classes (RATES, D) for histograms (RATES, D, 2 REACH + 1) of equal counts."""
    rates, dimensions, width = histograms.shape
    rows = histograms.reshape(-1, width)
    rows = rows / rows.sum(axis=1, keepdims=True)
    dead = 1 - rows[:, REACH] < _DEAD
    alive = np.flatnonzero(~dead)
    spread = rows[alive] @ np.abs(np.arange(width) - REACH).astype(np.float32)
    ranks = np.argsort(np.argsort(spread))
    assigned = ranks * (_CLASSES - 1) // max(len(alive), 1)
    for _ in range(_ROUNDS):
        lengths = -np.log2(np.stack([_smooth(rows[alive[assigned == c]]) for c in range(_CLASSES - 1)]))
        assigned = np.argmin(rows[alive] @ lengths.T.astype(np.float32), axis=1)
    classes = np.zeros(len(rows), np.uint8)
    classes[alive] = assigned + 1
    tables = [Table(0, np.array([TOTAL], np.int64))]
    tables += [_table(rows[alive[assigned == c]]) for c in range(_CLASSES - 1)]
    return tuple(tables), classes.reshape(rates, dimensions)


def _smooth(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean distribution of ``rows`` with thin tails under it, so that no symbol is impossible."""
    width = 2 * REACH + 1
    size = np.abs(np.arange(width) - REACH)
    if not len(rows):
        return np.full(width, 1 / width)
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = max(float(mean @ size), 0.02)
    tails = np.exp(-size / (2 * scale)) + _FLOOR
    return 0.999 * mean + 0.001 * tails / tails.sum()


def _table(rows: NDArray[np.float32]) -> Table:
    """Return the integer table of the class of ``rows``; it reaches half as far again as its members did."""
    if not len(rows):
        return Table(0, np.array([TOTAL], np.int64))
    reach = int(np.abs(np.flatnonzero(rows.max(axis=0)) - REACH).max())
    reach = min(reach + reach // 2 + 1, REACH)
    smooth = _smooth(rows)[REACH - reach : REACH + reach + 1]
    frequencies = np.rint(smooth / smooth.sum() * TOTAL).astype(np.int64)
    return Table(-reach, with_total(np.maximum(frequencies, 16)))
