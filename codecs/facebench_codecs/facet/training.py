"""facet's training loop, with checkpoints that resume to the same steps.

Batches, rates, noise and augmentation of step ``s`` depend only on the seed and ``s``, whatever the number of
processes.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from facebench_codecs.checkpoint import load_checkpoint, save_checkpoint
from facebench_codecs.facet.network import Facet, hat
from facebench_codecs.facet.rate import LogisticMixture
from facebench_codecs.facet.recipe import FacetRecipe
from facebench_codecs.losses import one_minus_ssim
from facebench_codecs.networks import pictures_to_tensor
from facebench_codecs.parallel import ALONE, Processes

EVALUATE_EVERY = 1000
#: Rates and number of validation pictures that the curve is made of.
CURVE_RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_CURVE_PICTURES = 400
_WARM_UP = 300
_LOWEST_RATE = 0.02
_AVERAGE = 0.999
#: Steps and gains start near their values and may move faster than kernels.
_TABLE_SPEED = 2.0
_SHIFT = 2


@dataclass
class FacetCurve:
    """On the validation split, one entry per evaluation: lists over CURVE_RATES of mean bytes (by the training's
    density, not coded), mean 1-SSIM and mean squared error."""

    steps: list[int] = field(default_factory=list)
    bytes: list[list[float]] = field(default_factory=list)
    one_minus_ssim: list[list[float]] = field(default_factory=list)
    mse: list[list[float]] = field(default_factory=list)


@dataclass
class FacetTrained:
    """The network of averaged weights, and how it was trained; ``stopped`` says why it ended, ``processes`` in how
    many it was trained, one number after the other."""

    network: Facet
    curve: FacetCurve
    steps: int
    seconds: float
    stopped: str
    processes: list[int]


def run_identity(recipe: FacetRecipe, seed: int, train_digest: str, valid_digest: str, start_digest: str) -> str:
    """Return what a checkpoint belongs to: a digest of the recipe, seed, data and the weights it started from."""
    what = [asdict(recipe), seed, train_digest, valid_digest, start_digest]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def train_facet_network(
    network: Facet,
    recipe: FacetRecipe,
    pictures: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    identity: str,
    features: Callable[[Tensor], Tensor] | None = None,
    time_limit: float = math.inf,
    report: Callable[[int, float, float | None, float], None] = lambda step, loss, valid, speed: None,
    processes: Processes = ALONE,
) -> FacetTrained:
    """Train ``network`` by ``recipe`` on ``pictures``, watched on ``validation``; both (N, S, S, 3) uint8.

    ``features`` maps pictures to the recogniser's (N, F) unit vectors. An existing ``checkpoint`` of the same
    ``identity`` is continued; it is rewritten at each evaluation. ``report`` gets the step, its loss, the mean
    validation 1-SSIM where there is one, and pictures per second. Several ``processes`` call this alike, with the
    same ``network``; only the first one evaluates and writes. Raises :class:`facebench.WeightsError` on a
    checkpoint that does not fit.
    """
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    prior = LogisticMixture(network.linear.deviation, network.log_step.detach()).to(device)
    trained = _Trained(network, prior, recipe)
    curve = FacetCurve()
    step, seconds = 0, 0.0
    counts: list[int] = []  # in how many processes the steps were taken
    if processes.numbers_of_first(checkpoint.is_file())[0]:
        trained.average, counters = load_checkpoint(
            checkpoint, [network, prior], [trained.optimizer], identity, processes
        )
        curve, step, seconds = FacetCurve(**counters["curve"]), counters["step"], counters["seconds"]
        counts = counters.get("processes", [1])  # older checkpoints are of one
    clock = time.monotonic()
    stopped = f"after {recipe.steps} steps"
    while step < recipe.steps:
        loss = _step(trained, pictures, seed, step, device, features, processes)
        step += 1
        counts = processes.after(counts)
        now = time.monotonic()
        seconds, speed, clock = seconds + now - clock, recipe.batch_size / max(now - clock, 1e-9), now
        valid = None
        if step % EVALUATE_EVERY == 0 or step == recipe.steps:
            valid = 0.0
            if processes.first:
                valid = _evaluate(trained, validation[:_CURVE_PICTURES], step, device, curve)
                counters = {"identity": identity, "step": step, "seconds": seconds, "curve": asdict(curve)}
                counters["processes"] = counts
                save_checkpoint(checkpoint, [network, prior], [trained.optimizer], trained.average, counters)
            valid, seconds = processes.numbers_of_first(valid, seconds)
            clock = time.monotonic()
        report(step, loss, valid, speed)
        if valid is not None and seconds > time_limit:
            stopped = f"at the time limit of {time_limit / 60:.0f} minutes"
            break
    network.load_state_dict(trained.average, strict=False)
    return FacetTrained(network.eval(), curve, step, seconds, stopped, counts)


class _Trained:
    """What training changes: network, prior, optimiser and the moving average of the network's weights."""

    def __init__(self, network: Facet, prior: LogisticMixture, recipe: FacetRecipe) -> None:
        self.network, self.prior, self.recipe = network, prior, recipe
        tables, kernels = [], []
        for name, parameter in network.named_parameters():
            if recipe.frozen_analysis and (name == "log_step" or name.startswith("analysis.")):
                parameter.requires_grad_(False)
            elif name in ("log_step", "synthesis.gain"):
                tables.append(parameter)
            else:
                kernels.append(parameter)
        tables.extend(prior.parameters())
        self.optimizer = torch.optim.Adam([{"params": kernels}, {"params": tables}], betas=(0.9, 0.99))
        self.average = {k: v.detach().clone() for k, v in network.named_parameters()}

    def rates_of_learning(self, step: int) -> None:
        progress = 0.5 * (1 + math.cos(math.pi * step / self.recipe.steps))
        rate = min(1.0, (step + 1) / _WARM_UP) * (_LOWEST_RATE + (1 - _LOWEST_RATE) * progress)
        for group, speed in zip(self.optimizer.param_groups, (1.0, _TABLE_SPEED), strict=True):
            group["lr"] = self.recipe.learning_rate * rate * speed

    def add_to_average(self, step: int) -> None:
        decay = min(_AVERAGE, (step + 10) / (step + 100))
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                self.average[name].lerp_(parameter, 1 - decay)


def _step(
    trained: _Trained,
    pictures: NDArray[np.uint8],
    seed: int,
    step: int,
    device: str,
    features: Callable[[Tensor], Tensor] | None,
    processes: Processes,
) -> float:
    """Take one step; returns its loss. All that is random is drawn for the whole batch, then each takes its share."""
    recipe = trained.recipe
    share = processes.share(recipe.batch_size)
    draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
    chosen = torch.randint(0, len(pictures), (recipe.batch_size,), generator=draw).numpy()
    augmentation = _Augmentation(recipe.batch_size, draw)
    batch = augmentation.apply(pictures_to_tensor(pictures[chosen[share]], "cpu"), share.start).to(device)
    rate = torch.rand(recipe.batch_size, generator=draw)[share].to(device)
    price = recipe.lambda_high * (recipe.lambda_low / recipe.lambda_high) ** rate
    noise = torch.rand((recipe.batch_size, recipe.shape.components), generator=draw)[share] - 0.5
    decoded, bits = _through(trained, batch, rate, noise)
    distortion = _distortion(recipe, decoded, batch, features)
    weight = (price / recipe.lambda_high) ** -recipe.rate_weight
    loss = ((distortion + price * bits / 8) * weight).mean() * processes.weight(recipe.batch_size)
    trained.rates_of_learning(step)
    trained.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    whole_loss = processes.sum_gradients([*trained.network.parameters(), *trained.prior.parameters()], loss)
    nn.utils.clip_grad_norm_(trained.network.parameters(), 1.0)
    trained.optimizer.step()
    trained.add_to_average(step)
    return whole_loss


def _through(trained: _Trained, batch: Tensor, rate: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return decoded pictures and bits: rounded, with gradients as if not; training counts bits with ``noise``.

    Training's convolutions are in bfloat16: half the time, and the noise does not matter to it.
    """
    network = trained.network
    hats = hat(rate)
    with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=noise is not None):
        latent = network.analysis(batch, hats, network.linear).float()
        steps = network.steps(hats)
        exact = latent / steps
        rounded = exact + (torch.round(exact) - exact).detach()
        bits = trained.prior.bits(rounded if noise is None else exact + noise.to(exact), hats)
        decoded = network.synthesis(rounded * steps, hats, network.linear).float()
    return decoded, bits


def _distortion(
    recipe: FacetRecipe, decoded: Tensor, batch: Tensor, features: Callable[[Tensor], Tensor] | None
) -> Tensor:
    total = torch.zeros(len(batch), device=batch.device)
    if recipe.ssim:
        total = total + recipe.ssim * one_minus_ssim(decoded, batch)
    if recipe.l1:
        total = total + recipe.l1 * (decoded - batch).abs().mean((1, 2, 3))
    if recipe.l2:
        total = total + recipe.l2 * (decoded - batch).square().mean((1, 2, 3))
    if recipe.identity:
        assert features is not None
        with torch.no_grad():
            wanted = features(batch)
        total = total + recipe.identity * (1 - (features(decoded.clamp(0, 1)) * wanted).sum(1))
    return total


class _Augmentation:
    """Mirrors half of the pictures, shifts three of ten by up to two pixels, changes the brightness of one of ten."""

    def __init__(self, count: int, draw: torch.Generator) -> None:
        """Draw for a batch of ``count`` pictures."""
        self._mirrored = torch.rand(count, generator=draw) < 0.5
        kinds = torch.rand(count, generator=draw)
        self._shifted = (kinds < 0.3).tolist()
        self._shifts = torch.randint(0, 2 * _SHIFT + 1, (count, 2), generator=draw).tolist()
        self._gains = [
            1 + 0.15 * float(torch.randn(1, generator=draw)) if 0.3 <= kind < 0.4 else None for kind in kinds.tolist()
        ]

    def apply(self, batch: Tensor, start: int) -> Tensor:
        """Return the batch's pictures from ``start`` on, (N, 3, S, S), augmented."""
        batch = batch.clone()
        height, width = batch.shape[2:]
        mirrored = self._mirrored[start : start + len(batch)]
        batch[mirrored] = batch[mirrored].flip(3)
        for index in range(len(batch)):
            gain = self._gains[start + index]
            if self._shifted[start + index]:
                down, right = self._shifts[start + index]
                wide = pad(batch[index : index + 1], (_SHIFT,) * 4, mode="reflect")
                batch[index] = wide[0, :, down : down + height, right : right + width]
            elif gain is not None:
                batch[index] = (batch[index] * gain).clamp(0, 1)
        return batch


def _evaluate(trained: _Trained, pictures: NDArray[np.uint8], step: int, device: str, curve: FacetCurve) -> float:
    """Append to ``curve`` what the averaged weights do on ``pictures``; returns the mean 1-SSIM over the rates."""
    network = trained.network
    current = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.load_state_dict(trained.average, strict=False)
    sums = np.zeros((3, len(CURVE_RATES)))
    with torch.no_grad():
        for column, rate in enumerate(CURVE_RATES):
            for start in range(0, len(pictures), 100):
                batch = pictures_to_tensor(pictures[start : start + 100], device)
                decoded, bits = _through(trained, batch, torch.full((len(batch),), rate, device=device), None)
                decoded = (decoded.clamp(0, 1) * 255).round() / 255
                error = (decoded - batch).square().mean((1, 2, 3))
                for row, values in enumerate((bits / 8, one_minus_ssim(decoded, batch), error)):
                    sums[row, column] += float(values.sum())
    network.load_state_dict(current, strict=False)
    means = sums / len(pictures)
    curve.steps.append(step)
    for row, entries in zip(means, (curve.bytes, curve.one_minus_ssim, curve.mse), strict=True):
        entries.append([round(float(value), 6) for value in row])
    return float(means[1].mean())
