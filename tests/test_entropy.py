"""Entropy coding: lossless, near the ideal code length, safe on any bytes."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from facebench_codecs.entropy import (
    TOTAL,
    Quantiles,
    StaticCoder,
    Table,
    open_payload,
    shortest_payload,
    with_total,
)
from facebench_codecs.weights import load_weights, shipped_weights

from facebench import CodecError


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Laplacian coefficients of falling scale, as PCA gives them."""
    rng = np.random.default_rng(0)
    return rng.laplace(size=(3000, 200)).astype(np.float32) * np.geomspace(10, 0.05, 200, dtype=np.float32)


@pytest.mark.parametrize("step", [5.0, 1.0, 0.2, 0.05])
def test_symbols_come_back_exactly_and_cost_their_information(values: np.ndarray, step: float) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values[1500:]), step)
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
    coder = StaticCoder.for_step(Quantiles.fit(values), 1.0)
    symbols = np.rint(values[:200] / 1.0).astype(np.int32)
    excess = [len(coder.encode(s)) - coder.ideal_bits(coder.clamp(s)) / 8 for s in symbols]
    assert np.mean(excess) < 1
    assert max(excess) < 2


def test_symbols_beyond_the_tables_are_clamped(values: np.ndarray) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values), 1.0)
    wild = np.full(200, 2_000_000_000, np.int32)
    assert np.array_equal(coder.decode(coder.encode(wild)), coder.clamp(wild))


def test_a_coefficient_that_never_varies_costs_nothing() -> None:
    coder = StaticCoder.for_step(Quantiles.fit(np.zeros((50, 10), np.float32)), 1.0)
    assert coder.encode(np.zeros(10, np.int32)) == b"\0"
    assert not coder.decode(b"\0").any()


def test_tables_are_made_by_integers_alone(values: np.ndarray) -> None:
    quantiles = Quantiles.fit(values)
    assert quantiles.positions.dtype == np.int16
    assert quantiles.units.dtype == np.int64
    for group in StaticCoder.for_step(quantiles, 0.37)._groups:
        scaled = group.probabilities.astype(np.float64) * 2**22
        assert np.array_equal(scaled, np.rint(scaled))
        assert np.array_equal(scaled.sum(axis=1), np.full(len(scaled), 2**22))


@pytest.mark.parametrize("length", [1, 2, 7, 50, 800])
def test_random_bytes_give_symbols_or_codec_error(values: np.ndarray, length: int) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values), 1.0)
    rng = np.random.default_rng(length)
    for _ in range(50):
        try:
            assert coder.decode(rng.bytes(length)).shape == (200,)
        except CodecError:
            pass


def test_empty_and_oversized_payloads_are_refused(values: np.ndarray) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values), 1.0)
    for payload in (b"", bytes(10_000_000)):
        with pytest.raises(CodecError):
            coder.decode(payload)


def drawn_tables(rng: np.random.Generator, count: int) -> list[Table]:
    """Return tables of random alphabets and skews."""
    tables = []
    for _ in range(count):
        reach = int(rng.integers(1, 6))
        wanted = rng.dirichlet(np.full(2 * reach + 1, 0.5)) * TOTAL
        tables.append(Table(-reach, with_total(np.maximum(np.rint(wanted), 16).astype(np.int64))))
    return tables


def drawn_symbols(rng: np.random.Generator, tables: list[Table]) -> np.ndarray:
    """Return one vector of symbols drawn from ``tables``."""
    drawn = [t.lowest + rng.choice(len(t.frequencies), p=t.frequencies / TOTAL) for t in tables]
    return np.array(drawn, np.int32)


@pytest.mark.parametrize(("symbols", "cases"), [(4, 60), (6, 30), (9, 20)])
def test_no_shorter_payload_decodes_to_the_same(symbols: int, cases: int) -> None:
    rng = np.random.default_rng(symbols)
    tried = 0
    for _ in range(cases):
        tables = drawn_tables(rng, symbols)
        coder = StaticCoder(tables)
        wanted = drawn_symbols(rng, tables)
        payload = coder.encode(wanted)
        assert np.array_equal(coder.decode(payload), wanted)
        if 1 < len(payload) <= 2:
            shorter = (number.to_bytes(len(payload) - 1, "big") for number in range(256 ** (len(payload) - 1)))
            assert not any(_decodes_to(coder, candidate, wanted) for candidate in shorter)
            tried += 1
    assert tried > 0


def _decodes_to(coder: StaticCoder, payload: bytes, wanted: np.ndarray) -> bool:
    try:
        return np.array_equal(coder.decode(payload), wanted)
    except CodecError:
        return False


def test_a_payload_may_be_asked_to_be_longer() -> None:
    rng = np.random.default_rng(0)
    tables = drawn_tables(rng, 12)
    coder = StaticCoder(tables)
    wanted = drawn_symbols(rng, tables)
    shortest = len(coder.encode(wanted))
    for least in (1, shortest, shortest + 1, shortest + 2):
        encoder = constriction.stream.queue.RangeEncoder()
        coder.write(encoder, wanted)
        payload = shortest_payload(encoder, least)
        assert len(payload) == max(least, shortest)
        assert np.array_equal(coder.decode(payload), wanted)


def test_a_cut_payload_gives_its_first_symbols_and_zero_for_the_rest(values: np.ndarray) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values), 0.5)
    wanted = coder.clamp(np.rint(values[0] / 0.5).astype(np.int32))
    payload = coder.encode(wanted)
    assert np.array_equal(coder.read(open_payload(payload), 8 * len(payload) + 8), wanted)
    kept_before = 0
    for length in range(1, len(payload)):
        found = coder.read(open_payload(payload[:length]), 8 * length)
        bits = coder.ideal_bits(found)
        assert bits <= 8 * length + coder.ideal_bits(np.zeros_like(found))
        # Only the symbol that the cut goes through, and those within two bytes before it, may differ.
        longer = coder.read(open_payload(payload), 8 * (length - 2))
        assert np.array_equal(found[longer != 0], wanted[longer != 0])
        assert np.array_equal(longer[longer != 0], wanted[longer != 0])
        kept = int((longer != 0).sum())
        assert kept >= kept_before
        kept_before = kept
    assert kept_before > 0.5 * (wanted != 0).sum()


def test_a_cut_payload_ends_in_no_error_whatever_its_bytes(values: np.ndarray) -> None:
    coder = StaticCoder.for_step(Quantiles.fit(values), 1.0)
    rng = np.random.default_rng(0)
    for length in (1, 3, 20, 200):
        for _ in range(20):
            assert coder.read(open_payload(rng.bytes(length)), 8 * length).shape == (200,)


@pytest.mark.parametrize("count", [2, 3, 100, 5000])
def test_frequencies_are_made_to_fit_and_stay_positive(count: int) -> None:
    rng = np.random.default_rng(count)
    for skew in (0.01, 1.0):
        wanted = np.maximum(np.rint(rng.dirichlet(np.full(count, skew)) * TOTAL), 16).astype(np.int64)
        for frequencies in (wanted, np.maximum(wanted // 2, 1), np.ceil(wanted * 1.4).astype(np.int64)):
            before = frequencies.copy()
            fitted = with_total(frequencies)
            assert fitted.sum() == TOTAL
            assert fitted.min() >= 1
            assert np.array_equal(frequencies, before)


def test_frequencies_that_cannot_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        with_total(np.array([3 * TOTAL, 1]))


@pytest.mark.filterwarnings("error")  # the logarithm of a negative frequency
@pytest.mark.parametrize("step", [0.02, 0.05])
def test_fine_steps_of_eigenfaces_have_a_code_for_every_symbol(step: float) -> None:
    tensors = load_weights(shipped_weights("eigenfaces-64"), "eigenfaces").tensors
    coder = StaticCoder.for_step(Quantiles(tensors["quantiles.positions"], tensors["quantiles.units"]), step)
    rng = np.random.default_rng(0)
    lowest, highest = (coder.clamp(np.full(coder.dimensions, end, np.int32)) for end in (-(10**6), 10**6))
    vectors = [lowest, highest, *rng.integers(lowest, highest + 1, (10, coder.dimensions), np.int32)]
    for symbols in [*vectors, np.zeros_like(lowest)]:
        assert np.isfinite(coder.ideal_bits(symbols))
        assert np.array_equal(coder.decode(coder.encode(symbols)), symbols)
