"""The hierarchical VAE: its divergence, its conditional prior, and payloads that no floating-point number decides."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import pytest
import torch
from facebench_codecs import learned
from facebench_codecs.conditional import CLASSES, FITTED_STEPS, ConditionalPrior
from facebench_codecs.entropy import Quantiles, StaticCoder, open_payload, shortest_payload
from facebench_codecs.hierarchical import Group, HierarchicalAutoencoder, latent_groups, residual_nats
from facebench_codecs.learned import Nvae, train_learned
from facebench_codecs.recipe import named_recipe
from numpy.typing import NDArray
from torch.distributions import Normal, kl_divergence

from facebench import CodecError, TrainingJob, WeightsError

RECIPE = replace(
    named_recipe("nvae-flat"), widths=(8, 12), latent_channels=4, finer_channels=(2, 2), steps=None, decay="constant"
)
GROUPS = [Group(0, 3, 4), Group(48, 2, 8), Group(176, 1, 16)]


def structured(count: int, seed: int) -> NDArray[np.float32]:
    """Values (N, D) of GROUPS, each Gaussian; where a coarse one is large, finer ones about it are."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(0, 1, (count, 1, 4, 4)))
    parts = []
    for group in GROUPS:
        spread = size.repeat(group.side // 4, 2).repeat(group.side // 4, 3)
        parts.append((rng.normal(0, 2, (count, *group.shape)) * spread).reshape(count, -1))
    return np.concatenate(parts, 1).astype(np.float32)


@pytest.fixture(scope="module")
def prior_tensors() -> dict[str, NDArray[Any]]:
    return ConditionalPrior.fit(GROUPS, lambda step: structured(2000, 0))


def payload_of(prior: ConditionalPrior, symbols: NDArray[np.int32]) -> bytes:
    encoder = constriction.stream.queue.RangeEncoder()
    prior.write(encoder, symbols)
    return shortest_payload(encoder)


@pytest.fixture(scope="module")
def small_weights(small_job: TrainingJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two groups for pictures of 16 pixels, of a short training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "named_recipe", lambda name: replace(RECIPE, epochs=8, batch_size=40))
        return train_learned(replace(small_job, codec="nvae", out=tmp_path_factory.mktemp("nvae") / "w.safetensors"))


@pytest.fixture
def codec(small_weights: Path) -> Nvae:
    return Nvae((16, 16), step=1.0, weights=str(small_weights))


def test_the_divergence_of_a_group_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mean, shift, log_ratio, log_variance = torch.randn(4, 5, 3, 4, 4)
    prior = Normal(mean, (0.5 * log_variance).exp())
    posterior = Normal(mean + shift, (0.5 * (log_variance + log_ratio)).exp())
    wanted = kl_divergence(posterior, prior).sum((1, 2, 3)).mean()
    assert float(residual_nats(shift, log_ratio, log_variance)) == pytest.approx(float(wanted), rel=1e-5)


def test_an_untrained_group_has_no_divergence_where_nothing_is_said() -> None:
    zero = torch.zeros(2, 1, 4, 4)
    assert float(residual_nats(zero, zero, torch.ones(2, 1, 4, 4))) == 0


@pytest.mark.parametrize(("side", "sides"), [(8, [4]), (16, [4, 8]), (32, [4, 8, 16]), (128, [4, 8, 16])])
def test_groups_are_smaller_than_the_picture(side: int, sides: list[int]) -> None:
    groups = latent_groups(RECIPE, side)
    assert [group.side for group in groups] == sides
    model = HierarchicalAutoencoder(RECIPE, side).eval()
    pictures = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        mean, log_variance = model.posterior(pictures)
        assert mean.shape == log_variance.shape == (2, groups[-1].values.stop) == (2, *model.latent_shape)
        decoded = model.decoder(mean)
        assert decoded.shape == pictures.shape
        assert torch.allclose(decoded, model(pictures, model.without_chance(pictures)).pictures, atol=1e-6)


def test_what_was_lost_of_coarse_groups_reaches_the_finer_ones() -> None:
    torch.manual_seed(0)
    model = HierarchicalAutoencoder(RECIPE, 16).eval()
    pictures = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        exact, _ = model.posterior(pictures)
        coarse, _ = model.posterior(pictures, lambda first, values: torch.zeros_like(values))
    first = model.groups[1].first
    assert torch.equal(exact[:, :first], coarse[:, :first])
    assert not torch.allclose(exact[:, first:], coarse[:, first:])


@pytest.mark.parametrize("step", [0.5, 1.0, 3.0, 12.0])
def test_the_conditional_prior_costs_fewer_bytes_than_tables_without_context(
    step: float, prior_tensors: dict[str, NDArray[Any]]
) -> None:
    prior = ConditionalPrior(GROUPS, prior_tensors, step)
    static = StaticCoder.for_step(Quantiles.fit(structured(2000, 0)), step)
    symbols = np.rint(structured(200, 1) / step).astype(np.int32)
    conditional = np.mean([len(payload_of(prior, prior.clamp(row))) for row in symbols])
    unconditional = np.mean([len(static.encode(row)) for row in symbols])
    assert conditional < (0.97 if step < 10 else 1.0) * unconditional


def test_payloads_cost_their_information_and_decode_to_their_symbols(prior_tensors: dict[str, NDArray[Any]]) -> None:
    prior = ConditionalPrior(GROUPS, prior_tensors, 1.0)
    for row in prior.clamp(np.rint(structured(40, 2)).astype(np.int32)):
        payload = payload_of(prior, row)
        assert np.array_equal(prior.read(open_payload(payload)), row)
        assert prior.ideal_bits(row) - 8 <= 8 * len(payload) <= prior.ideal_bits(row) + 16


def test_without_structure_the_conditional_prior_costs_no_more_than_a_hundredth() -> None:
    values = np.random.default_rng(0).normal(0, 3, (2200, GROUPS[-1].values.stop)).astype(np.float32)
    prior = ConditionalPrior(GROUPS, ConditionalPrior.fit(GROUPS, lambda step: values[:2000]), 1.0)
    static = StaticCoder.for_step(Quantiles.fit(values[:2000]), 1.0)
    symbols = np.rint(values[2000:]).astype(np.int32)
    conditional = sum(prior.ideal_bits(prior.clamp(row)) for row in symbols)
    assert conditional < 1.01 * sum(static.ideal_bits(static.clamp(row)) for row in symbols)


def test_symbols_are_read_alike_whatever_the_network_computes(codec: Nvae, small_job: TrainingJob) -> None:
    images = small_job.valid.images
    payloads = codec.encode_batch(images)
    symbols = [codec.symbols(image) for image in images]
    pictures = codec.decode_batch(payloads)
    for parameter in codec._model.decoder.parameters():
        parameter.mul_(1 + 1e-5)
    for payload, wanted in zip(payloads, symbols, strict=True):
        assert np.array_equal(codec._coding.decode(payload), wanted)
    assert np.abs(codec.decode_batch(payloads).astype(int) - pictures).max() <= 1


def test_a_batch_decodes_as_its_payloads_alone(codec: Nvae, small_job: TrainingJob) -> None:
    payloads = codec.encode_batch(small_job.valid.images)
    assert payloads == [codec.encode(image) for image in small_job.valid.images]
    together = codec.decode_batch(payloads)
    alone = np.stack([codec.decode(payload) for payload in payloads])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_a_finer_step_comes_nearer(small_weights: Path, small_job: TrainingJob) -> None:
    images = small_job.valid.images
    errors, sizes = [], []
    for step in (8.0, 2.0, 0.5):
        codec = Nvae((16, 16), step=step, weights=str(small_weights))
        payloads = codec.encode_batch(images)
        errors.append(np.abs(codec.decode_batch(payloads) - images.astype(float)).mean())
        sizes.append(sum(map(len, payloads)))
    assert errors[0] > errors[1] > errors[2]
    assert sizes[0] < sizes[1] < sizes[2]


def test_any_payload_is_a_picture_or_refused(codec: Nvae, small_job: TrainingJob) -> None:
    source = random.Random(0)
    payload = codec.encode(small_job.valid.images[0])
    hostile = [source.randbytes(source.randrange(1, 200)) for _ in range(100)]
    hostile += [payload[:n] for n in range(1, len(payload))] + [payload + bytes(3), b"\xff" * 300, bytes(200)]
    for _ in range(100):
        flipped = bytearray(payload)
        flipped[source.randrange(len(payload))] ^= 1 << source.randrange(8)
        hostile.append(bytes(flipped))
    refused = 0
    for data in hostile:
        try:
            picture = codec.decode(data)
        except CodecError:
            refused += 1
        else:
            assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8
    assert refused < len(hostile)
    for data in (b"", bytes(1 << 20)):
        with pytest.raises(CodecError):
            codec.decode(data)


def test_decoder_weights_are_counted_without_the_encoder(codec: Nvae, small_weights: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(small_weights)
    assert codec.weights_bytes == sum(t.nbytes for n, t in tensors.items() if not n.startswith("encoder."))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("context.weights", lambda t: t[:, :-1]),
        ("context.weights", lambda t: t.astype(np.int16)),
        ("context.thresholds", lambda t: t[:, 1:]),
        ("context.scales", lambda t: 0 * t),
        ("context.scales", lambda t: t[:-1]),
        ("quantiles.positions", lambda t: t[:, ::-1]),
        ("quantiles.units", lambda t: -t),
        ("latent.scale", lambda t: t * np.nan),
        ("latent.scale", lambda t: t[:64]),
        ("decoder.start", lambda t: t[:, :4]),
        ("decoder.start", None),
        ("context.scales", None),
    ],
)
def test_damaged_weights_are_refused(name: str, damage: Any, small_weights: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(small_weights)
    with small_weights.open("rb") as file:
        meta = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    tensor = tensors.pop(name)
    if damage is not None:
        tensors[name] = np.ascontiguousarray(damage(tensor))
    save_file(tensors, tmp_path / "w.safetensors", meta)
    with pytest.raises(WeightsError):
        Nvae((16, 16), step=1.0, weights=str(tmp_path / "w.safetensors"))


def test_the_shipped_recipe_fits_three_megabytes() -> None:
    recipe = named_recipe("nvae-flat")
    with torch.device("meta"):
        model = HierarchicalAutoencoder(recipe, 64)
    network = sum(t.nbytes for t in model.state_dict().values())
    per_value = 4 + 2 * 143 + 8 + len(FITTED_STEPS) * 4 * (2 * CLASSES - 1)
    assert len(model.groups) >= 3
    assert network + model.latent_shape[0] * per_value < 3e6
