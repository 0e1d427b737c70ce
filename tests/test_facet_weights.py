"""What facet's weights file is made of: the linear transform, rounded networks, and tables of symbols."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facebench_codecs.entropy import TOTAL
from facebench_codecs.facet.basis import Basis, principal_components
from facebench_codecs.facet.packing import pack, unpack
from facebench_codecs.facet.tables import RATES, Codebook, fit_codebook
from facebench_codecs.facet.weights import basis_tensors, read_basis
from numpy.typing import NDArray

from facebench.testing.pictures import faces

SIDE, COMPONENTS = 16, 40
CHROMA_WEIGHT = 2.4


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return faces((SIDE, SIDE), 120)


@pytest.fixture(scope="module")
def basis(pictures: NDArray[np.uint8]) -> Basis:
    return principal_components(pictures, COMPONENTS)


def plane_vectors(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma, then Cb and Cr averaged over 2x2 pixels and weighted, of (N, S, S, 3) pictures: (N, 1.5 S S)."""
    red, green, blue = np.moveaxis(pictures / 255.0, 3, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [(blue - luma) / 1.772, (red - luma) / 1.402]
    small = [plane.reshape(len(plane), SIDE // 2, 2, SIDE // 2, 2).mean((2, 4)) * CHROMA_WEIGHT for plane in chroma]
    return np.concatenate([plane.reshape(len(plane), -1) for plane in (luma, *small)], axis=1)


def test_components_are_orthonormal(basis: Basis) -> None:
    vectors = basis.vectors()
    assert vectors.shape == (COMPONENTS, SIDE * SIDE * 3 // 2)
    assert np.abs(vectors @ vectors.T - np.eye(COMPONENTS)).max() < 1e-4


def test_components_are_those_of_a_singular_value_decomposition(basis: Basis, pictures: NDArray[np.uint8]) -> None:
    vectors = plane_vectors(np.concatenate([pictures, pictures[:, :, ::-1]]))
    mean = vectors.mean(0)
    _, singular, components = np.linalg.svd(vectors - mean, full_matrices=False)
    deviation = singular[:COMPONENTS] / np.sqrt(len(vectors))
    assert np.abs(basis.whole_mean() - mean).max() < 1e-4
    assert basis.deviation == pytest.approx(deviation, rel=0.01, abs=1e-3)
    assert np.all(np.diff(basis.deviation) <= 0)
    # The first 20 span the same space (single components may swap or turn where variances are close).
    inside = basis.vectors()[:20] @ components[:22].T
    assert np.square(inside).sum(1) == pytest.approx(np.ones(20), abs=0.02)


def test_each_component_is_its_own_mirror_image_up_to_the_sign(basis: Basis) -> None:
    for vector, odd in zip(basis.vectors(), basis.odd, strict=True):
        luma = vector[: SIDE * SIDE].reshape(SIDE, SIDE)
        chroma = vector[SIDE * SIDE :].reshape(2, SIDE // 2, SIDE // 2)
        for plane in (luma, *chroma):
            assert np.array_equal(plane[:, ::-1], -plane if odd else plane)
    assert 0 < basis.odd.sum() < COMPONENTS


def test_the_stored_transform_comes_back_to_eight_bits_a_value_and_is_then_stored_the_same(basis: Basis) -> None:
    stored = basis_tensors(basis)
    read = read_basis(stored, SIDE)
    bound = np.abs(basis.halves).max(axis=1, keepdims=True) / 127 / 2
    assert np.all(np.abs(read.halves - basis.halves) <= bound * 1.001)
    for name in ("odd", "mean", "deviation"):
        assert np.array_equal(getattr(read, name), getattr(basis, name))
    again = basis_tensors(read)
    assert np.array_equal(again["linear.halves"], stored["linear.halves"])


def test_packed_networks_are_within_half_a_step_of_each_row() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Linear(7, 4))
    with torch.no_grad():
        network[1].weight[0] = 0  # a row of zeros has no scale of its own
        network[1].weight[1] *= 1000
    packed = pack(network.state_dict(), "part.")
    state = unpack(packed, "part.")
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        if name.endswith("weight"):
            assert packed[f"part.{name}"].dtype == np.int8
            step = value.flatten(1).abs().amax(1) / 127
            error = (state[name] - value).flatten(1).abs().amax(1)
            assert torch.all(error <= 0.5001 * step + 1e-12)
        else:
            assert torch.equal(state[name], value)
    assert unpack(packed, "other.") == {}


def test_a_missing_scale_is_an_error() -> None:
    packed = pack(torch.nn.Linear(3, 2).state_dict(), "")
    del packed["weight/scale"]
    with pytest.raises(KeyError):
        unpack(packed, "")


@pytest.fixture(scope="module")
def source() -> NDArray[np.float64]:
    """Laplacian values of falling scale, (600, 24)."""
    return np.random.default_rng(0).laplace(size=(600, 24)) * np.geomspace(8, 0.3, 24)


@pytest.fixture(scope="module")
def codebook(source: NDArray[np.float64]) -> Codebook:
    return fit_codebook(lambda rate: _symbols(source, rate))


def _symbols(source: NDArray[np.float64], rate: int) -> NDArray[np.int32]:
    return np.rint(source / (4 * 0.03 ** (rate / (RATES - 1)))).clip(-120, 120).astype(np.int32)


def test_every_table_is_positive_and_sums_to_the_total(codebook: Codebook) -> None:
    assert codebook.classes.shape == (RATES, 24)
    assert codebook.classes.dtype == np.uint8
    for table in codebook.tables:
        assert table.frequencies.sum() == TOTAL
        assert table.frequencies.min() >= 1


@pytest.mark.parametrize("rate", [0, 20, 40])
def test_symbols_cost_at_most_two_percent_over_their_entropy(
    rate: int, codebook: Codebook, source: NDArray[np.float64]
) -> None:
    symbols = _symbols(source, rate)
    coder = codebook.coder(rate)
    bits = np.mean([coder.ideal_bits(coder.clamp(row)) for row in symbols])
    assert bits == pytest.approx(codebook.typical_bits[rate], rel=1e-4)
    # The source's own distribution is known: the entropy of a Laplacian rounded to steps.
    step = 4 * 0.03 ** (rate / (RATES - 1))
    scales = np.geomspace(8, 0.3, 24)[:, None]
    edges = (np.arange(-2000, 2002) - 0.5) * step
    cumulative = np.where(edges < 0, 0.5 * np.exp(-np.abs(edges) / scales), 1 - 0.5 * np.exp(-np.abs(edges) / scales))
    mass = np.diff(cumulative, axis=1)
    entropy = -(mass * np.log2(np.maximum(mass, 1e-300))).sum()
    assert bits <= 1.02 * entropy


def test_bits_rise_with_the_rate_and_few_exceed_the_usual(codebook: Codebook, source: NDArray[np.float64]) -> None:
    assert np.all(np.diff(codebook.typical_bits) > 0)
    assert np.all(codebook.usual_bits > codebook.typical_bits)
    coder = codebook.coder(30)
    bits = np.array([coder.ideal_bits(coder.clamp(row)) for row in _symbols(source, 30)])
    assert (bits > codebook.usual_bits[30]).mean() <= 0.01


def test_payloads_of_fitted_tables_decode_to_their_symbols(codebook: Codebook, source: NDArray[np.float64]) -> None:
    for rate in (0, 31, 63):
        coder = codebook.coder(rate)
        for row in _symbols(source, rate)[:20]:
            clamped = coder.clamp(row)
            assert np.array_equal(coder.decode(coder.encode(clamped)), clamped)


def test_a_value_that_is_always_zero_is_not_coded() -> None:
    rng = np.random.default_rng(0)
    symbols = rng.integers(-2, 3, (200, 3)).astype(np.int32) * np.array([1, 0, 1], np.int32)
    codebook = fit_codebook(lambda rate: symbols)
    dead = codebook.tables[codebook.classes[0, 1]]
    assert (dead.lowest, len(dead.frequencies)) == (0, 1)


def test_packed_tables_come_back_exactly(codebook: Codebook) -> None:
    read = Codebook.unpack(codebook.pack("t."), "t.", codebook.classes.shape[1])
    for one, other in zip(codebook.tables, read.tables, strict=True):
        assert one.lowest == other.lowest
        assert np.array_equal(one.frequencies, other.frequencies)
    for name in ("classes", "typical_bits", "usual_bits"):
        assert np.array_equal(getattr(read, name), getattr(codebook, name))


def test_damaged_tables_are_refused(codebook: Codebook) -> None:
    packed = codebook.pack("")
    frequencies = packed["frequencies"].copy()
    frequencies[-1] += 1
    for changed in (
        {"frequencies": frequencies},
        {"classes": packed["classes"][:-1]},
        {"lowest": packed["lowest"][1:]},
    ):
        with pytest.raises(ValueError):
            Codebook.unpack({**packed, **changed}, "", codebook.classes.shape[1])
    with pytest.raises(KeyError):
        Codebook.unpack(packed, "other.", codebook.classes.shape[1])
