"""Entropy coding: lossless, near the ideal code length, safe on any bytes."""

from __future__ import annotations

import numpy as np
import pytest
from facebench_codecs.entropy import Quantiles, StaticCoder

from facebench import CodecError


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Laplacian coefficients of falling scale, as PCA gives them."""
    rng = np.random.default_rng(0)
    return rng.laplace(size=(3000, 200)).astype(np.float32) * np.geomspace(10, 0.05, 200, dtype=np.float32)


@pytest.mark.parametrize("step", [5.0, 1.0, 0.2, 0.05])
def test_symbols_come_back_exactly_and_cost_their_information(values: np.ndarray, step: float) -> None:
    coder = StaticCoder(Quantiles.fit(values[1500:]), step)
    symbols = coder.clamp(np.rint(values[:300] / step).astype(np.int32))
    payloads = [coder.encode(s) for s in symbols]
    assert all(np.array_equal(coder.decode(p), s) for p, s in zip(payloads, symbols, strict=True))
    # The ideal here is the symbols' own empirical entropy, not the coder's tables.
    everything = np.rint(values[:1500] / step).astype(np.int32)
    ideal = 0.0
    for column in everything.T:
        counts = np.unique(column, return_counts=True)[1] / len(column)
        ideal -= float((counts * np.log2(counts)).sum())
    assert np.mean([len(p) for p in payloads]) <= 1.03 * ideal / 8 + 2


def test_no_byte_is_spent_that_the_decoder_can_imply(values: np.ndarray) -> None:
    coder = StaticCoder(Quantiles.fit(values), 1.0)
    symbols = np.rint(values[:200] / 1.0).astype(np.int32)
    excess = [len(coder.encode(s)) - coder.ideal_bits(coder.clamp(s)) / 8 for s in symbols]
    assert np.mean(excess) < 1
    assert max(excess) < 2


def test_symbols_beyond_the_tables_are_clamped(values: np.ndarray) -> None:
    coder = StaticCoder(Quantiles.fit(values), 1.0)
    wild = np.full(200, 2_000_000_000, np.int32)
    assert np.array_equal(coder.decode(coder.encode(wild)), coder.clamp(wild))


def test_a_coefficient_that_never_varies_costs_nothing() -> None:
    coder = StaticCoder(Quantiles.fit(np.zeros((50, 10), np.float32)), 1.0)
    assert coder.encode(np.zeros(10, np.int32)) == b"\0"
    assert not coder.decode(b"\0").any()


def test_tables_are_made_by_integers_alone(values: np.ndarray) -> None:
    quantiles = Quantiles.fit(values)
    assert quantiles.positions.dtype == np.int16
    assert quantiles.units.dtype == np.int64
    for group in StaticCoder(quantiles, 0.37)._groups:
        scaled = group.probabilities.astype(np.float64) * 2**22
        assert np.array_equal(scaled, np.rint(scaled))
        assert np.array_equal(scaled.sum(axis=1), np.full(len(scaled), 2**22))


@pytest.mark.parametrize("length", [1, 2, 7, 50, 800])
def test_random_bytes_give_symbols_or_codec_error(values: np.ndarray, length: int) -> None:
    coder = StaticCoder(Quantiles.fit(values), 1.0)
    rng = np.random.default_rng(length)
    for _ in range(50):
        try:
            assert coder.decode(rng.bytes(length)).shape == (200,)
        except CodecError:
            pass


def test_empty_and_oversized_payloads_are_refused(values: np.ndarray) -> None:
    coder = StaticCoder(Quantiles.fit(values), 1.0)
    for payload in (b"", bytes(10_000_000)):
        with pytest.raises(CodecError):
            coder.decode(payload)
