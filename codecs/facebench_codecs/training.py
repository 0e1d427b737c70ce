"""The training loop of the learned codecs, with checkpoints that resume to the same curve.

Batches, latent noise and mirroring of step ``s`` depend only on the seed and ``s``, so a run that was killed
and resumed takes the same steps as one that was not, and several processes take those of one.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from facebench_codecs.adversary import decoder_loss, discriminator_loss
from facebench_codecs.build import build_model
from facebench_codecs.checkpoint import load_checkpoint, save_checkpoint
from facebench_codecs.losses import Features, Loss, named_loss
from facebench_codecs.networks import Discriminator, LatentModel, Reconstruction, pictures_to_tensor
from facebench_codecs.parallel import ALONE, Processes
from facebench_codecs.recipe import COSINE, Recipe

#: Validation losses are compared over the last fifth of the steps; "flat" is less than 0.5 % better.
FLAT_WINDOW = 0.2
FLAT_GAIN = 0.005
#: Until flat: the learning rate falls by this factor, this often, each time the curve is flat.
RATE_DROP = 0.25
RATE_DROPS = 2
MIN_STEPS = 2000
CHECKPOINT_SECONDS = 60.0


@dataclass
class Curve:
    """The losses over the steps: ``train`` are means since the last entry, ``valid`` is over the whole split.

    ``accuracy`` is the share of real and decoded pictures that the discriminator tells, since the last entry.
    """

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    kl_nats: list[float] = field(default_factory=list)
    discriminator: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)


@dataclass
class Progress:
    """What is reported after each step."""

    step: int
    total_steps: int | None
    loss: float
    valid: float | None
    pictures_per_second: float


@dataclass
class Trained:
    """The result of a training run; ``stopped`` says why it ended, ``processes`` in how many it was trained, one
    number after the other."""

    model: LatentModel
    curve: Curve
    steps: int
    seconds: float
    stopped: str
    processes: list[int]


class _Run:
    """The state that a checkpoint holds: networks, optimisers, curve and counters."""

    def __init__(self, recipe: Recipe, side: int, seed: int, device: str, processes: Processes) -> None:
        torch.manual_seed(seed)
        model = build_model(recipe, side)
        processes.share_batch_norm(model)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator: Discriminator | None = None
        betas = (recipe.adam_beta1, 0.999)
        self.optimizers = [torch.optim.Adam(self.model.parameters(), recipe.learning_rate, betas)]
        if recipe.discriminator_widths:
            self.discriminator = Discriminator(recipe, side).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.optimizers.append(torch.optim.Adam(self.discriminator.parameters(), recipe.learning_rate, betas))
        self.discriminator_rate = (recipe.discriminator_rate or recipe.learning_rate) / recipe.learning_rate
        self.curve = Curve()
        self.step = 0
        self.seconds = 0.0
        self.drops: list[int] = []  # steps at which the learning rate was lowered
        self.best: dict[str, Tensor] = {}  # the model's state at its lowest validation loss
        self.processes: list[int] = []  # in how many the steps were taken
        processes.copy_first(*self.networks())

    def networks(self) -> list[nn.Module]:
        return [self.model] if self.discriminator is None else [self.model, self.discriminator]

    def save(self, path: Path, identity: str) -> None:
        counters = {
            "identity": identity,
            "step": self.step,
            "seconds": self.seconds,
            "drops": self.drops,
            "curve": asdict(self.curve),
            "processes": self.processes,
        }
        save_checkpoint(path, self.networks(), self.optimizers, self.best, counters)

    def load(self, path: Path, identity: str, processes: Processes) -> None:
        self.best, counters = load_checkpoint(path, self.networks(), self.optimizers, identity, processes)
        self.curve = Curve(**counters["curve"])
        self.step, self.seconds, self.drops = counters["step"], counters["seconds"], counters["drops"]
        self.processes = counters.get("processes", [1])  # older checkpoints are of one


def run_identity(recipe: Recipe, seed: int, train_digest: str, valid_digest: str) -> str:
    """Return what a checkpoint belongs to: a digest of the recipe, seed and data."""
    what = [asdict(recipe), seed, train_digest, valid_digest]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _batches(count: int, batch_size: int, seed: int, first_step: int) -> Iterator[NDArray[np.int64]]:
    """Yield index batches from ``first_step`` on; every epoch is a new permutation, its remainder dropped."""
    per_epoch = max(1, count // batch_size)
    step = first_step
    while True:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(position, per_epoch):
            yield np.sort(order[start * batch_size : (start + 1) * batch_size])
            step += 1


@dataclass(frozen=True)
class Faces:
    """Pictures (N, S, S, 3) uint8 and their face masks (N, S, S) bool, or None."""

    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, rows: slice | NDArray[np.int64], device: str) -> tuple[Tensor, Tensor | None]:
        """Return pictures (N, 3, S, S) in [0, 1] and masks (N, S, S), 0 or 1, or None."""
        masks = None if self.masks is None else torch.from_numpy(np.array(self.masks[rows])).to(device).float()
        return pictures_to_tensor(self.pictures[rows], device), masks


def _reconstruction_loss(
    recipe: Recipe, loss_of: Loss, made: Reconstruction, pictures: Tensor, masks: Tensor | None
) -> Tensor:
    """Return the recipe's loss without KL and adversary, and with its loss of the mask."""
    decoded = made.pictures
    if recipe.mask == "pasted":
        decoded = _pasted(decoded, pictures, masks)
    loss = recipe.loss_weight * loss_of(decoded, pictures, masks if recipe.mask == "face" else None)
    if made.mask is not None:
        assert masks is not None
        loss = loss + _mask_loss(made.mask, masks)
    return loss


def _pasted(decoded: Tensor, pictures: Tensor, masks: Tensor | None) -> Tensor:
    """Return ``decoded`` pictures on the face, the originals outside."""
    assert masks is not None
    return torch.where(masks[:, None] > 0, decoded, pictures)


def _mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy + Dice (Toledo & Antonelo 2021), means over N pictures."""
    found = torch.sigmoid(logits)
    common = (found * masks).sum((1, 2))
    dice = 1 - (2 * common + 1) / (found.sum((1, 2)) + masks.sum((1, 2)) + 1)
    return binary_cross_entropy_with_logits(logits, masks) + dice.mean()


def _validate(run: _Run, recipe: Recipe, loss_of: Loss, faces: Faces, device: str) -> tuple[float, float]:
    """Return the reconstruction loss (latent mean, not sampled; unweighted) and the KL in nats per picture."""
    loss = nats = 0.0
    run.model.eval()
    with torch.no_grad():
        for start in range(0, len(faces), 256):
            pictures, masks = faces.batch(slice(start, start + 256), device)
            made = run.model(pictures, run.model.without_chance(pictures))
            loss += float(_reconstruction_loss(recipe, loss_of, made, pictures, masks)) * len(pictures)
            nats += float(made.latent_loss) * len(pictures)
    run.model.train()
    return loss / recipe.loss_weight / len(faces), nats / len(faces)


def is_flat(steps: list[int], valid: list[float]) -> bool:
    """Whether the best validation loss improved by less than 0.5 % over the last fifth of the steps."""
    if not steps:
        return False
    cut = steps[-1] * (1 - FLAT_WINDOW)
    before = [v for s, v in zip(steps, valid, strict=True) if s <= cut]
    return bool(before) and min(valid) > min(before) * (1 - FLAT_GAIN)


def train(
    recipe: Recipe,
    faces: Faces,
    validation: Faces,
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    identity: str,
    time_limit: float = math.inf,
    report: Callable[[Progress], None] = lambda progress: None,
    processes: Processes = ALONE,
    features: Features | None = None,
) -> Trained:
    """Train ``recipe`` on ``faces``, watched on ``validation``; both with masks if it needs them.

    An existing ``checkpoint`` of the same ``identity`` is continued; it is rewritten every minute and at the
    end. With neither epochs nor steps in the recipe it runs until the validation loss is flat at the lowest learning
    rate, or ``time_limit`` seconds of training have passed, and the result is the model of the lowest validation loss;
    otherwise it is the last one (the paper stopped at its epochs, whatever the loss). Several ``processes`` call
    this alike; only the first one validates and writes. ``features`` are those of the recipe's loss. Raises
    :class:`facebench.WeightsError` on a checkpoint that does not fit.
    """
    side = faces.pictures.shape[1]
    run = _Run(recipe, side, seed, device, processes)
    if processes.numbers_of_first(checkpoint.is_file())[0]:
        run.load(checkpoint, identity, processes)
    per_epoch = max(1, len(faces) // recipe.batch_size)
    total = recipe.steps if recipe.epochs is None else recipe.epochs * per_epoch
    validate_every = min(per_epoch, 200)
    loss_of = named_loss(recipe.loss, features)
    loss_sum = discriminator_sum = told_sum = 0.0
    last_entry = run.curve.steps[-1] if run.curve.steps else 0
    last_save = clock = time.monotonic()
    stopped = ""
    for indices in _batches(len(faces), recipe.batch_size, seed, run.step):
        if total is not None and run.step >= total:
            stopped = f"after {total} steps" if recipe.epochs is None else f"after {recipe.epochs} epochs"
        elif run.seconds > time_limit and run.step == last_entry:  # where the running sums are empty
            stopped = f"at the time limit of {time_limit / 60:.0f} minutes, not flat"
        elif total is None and _settled(run):
            stopped = "when the validation loss was flat"
        if stopped:
            break
        rate = recipe.learning_rate * RATE_DROP ** len(run.drops)
        if recipe.decay == COSINE:
            assert total is not None
            rate *= 0.5 + 0.5 * math.cos(math.pi * run.step / total)
        run.optimizers[0].param_groups[0]["lr"] = rate
        for optimizer in run.optimizers[1:]:
            optimizer.param_groups[0]["lr"] = rate * run.discriminator_rate
        # Drawn for the whole batch, whatever this process's share of it.
        draw = torch.Generator().manual_seed(seed * 1_000_003 + run.step)
        share, weight = processes.share(len(indices)), processes.weight(len(indices))
        batch, masks = faces.batch(indices[share], device)
        if recipe.mirror:
            flip = (torch.rand(len(indices), generator=draw) < 0.5)[share]
            batch[flip] = batch[flip].flip(3)
            if masks is not None:
                masks[flip] = masks[flip].flip(2)
        noise = run.model.draw(len(indices), draw)[share].to(device)
        made = run.model(batch, noise)
        loss = _reconstruction_loss(recipe, loss_of, made, batch, masks)
        loss = loss + recipe.kl_weight * made.latent_loss
        if run.discriminator is not None:
            # Outside the face it sees the originals on both sides, where a loss sees nothing.
            judged = made.pictures if recipe.mask == "none" else _pasted(made.pictures, batch, masks)
            for _ in range(recipe.discriminator_steps):
                found = _discriminator_step(run, recipe, batch, judged.detach(), weight, processes)
            discriminator_sum += found[0]
            told_sum += found[1]
            run.discriminator.requires_grad_(False)
            loss = loss + recipe.adversarial_weight * decoder_loss(recipe, run.discriminator(judged))
        run.optimizers[0].zero_grad(set_to_none=True)
        loss = loss * weight
        loss.backward()
        whole_loss = processes.sum_gradients(run.model.parameters(), loss)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
        run.optimizers[0].step()
        run.step += 1
        run.processes = processes.after(run.processes)
        loss_sum += whole_loss
        valid = None
        if run.step % validate_every == 0 or run.step == total:
            checked = _validate(run, recipe, loss_of, validation, device) if processes.first else (0.0, 0.0)
            valid, nats = processes.numbers_of_first(*checked)
            since = run.step - last_entry
            run.curve.steps.append(run.step)
            run.curve.train.append(loss_sum / since)
            run.curve.valid.append(valid)
            run.curve.kl_nats.append(nats)
            run.curve.discriminator.append(discriminator_sum / since)
            run.curve.accuracy.append(told_sum / since)
            run.curve.learning_rate.append(rate)
            if total is None and valid == min(run.curve.valid):
                run.best = {k: v.clone().contiguous() for k, v in run.model.state_dict().items()}
            loss_sum, discriminator_sum, told_sum, last_entry = 0.0, 0.0, 0.0, run.step
            if total is None and len(run.drops) < RATE_DROPS and run.step >= MIN_STEPS and _is_flat_since(run):
                run.drops.append(run.step)
        now = time.monotonic()
        run.seconds += now - clock
        if valid is not None:
            run.seconds = processes.numbers_of_first(run.seconds)[0]  # or not all might stop at the time limit
        report(Progress(run.step, total, whole_loss, valid, len(indices) / max(now - clock, 1e-9)))
        clock = now
        # Only where the running sums are empty: a resumed curve is then the same as an undisturbed one.
        if processes.first and valid is not None and now - last_save > CHECKPOINT_SECONDS:
            run.save(checkpoint, identity)
            last_save = now
    if processes.first:
        run.save(checkpoint, identity)
    if run.best:
        run.model.load_state_dict(run.best)
    run.model.eval()
    return Trained(run.model, run.curve, run.step, run.seconds, stopped, run.processes)


def _discriminator_step(
    run: _Run, recipe: Recipe, real: Tensor, decoded: Tensor, weight: float, processes: Processes
) -> tuple[float, float]:
    """Take one step of the discriminator; returns its loss, and the share of pictures that it told before."""
    assert run.discriminator is not None
    run.discriminator.requires_grad_(True)
    logits = run.discriminator(torch.cat([real, decoded]))
    loss = discriminator_loss(recipe, logits) * weight
    run.optimizers[1].zero_grad(set_to_none=True)
    loss.backward()
    whole_loss = processes.sum_gradients(run.discriminator.parameters(), loss)
    run.optimizers[1].step()
    told = torch.cat([logits[: len(real)] > 0, logits[len(real) :] <= 0]).double().mean() * weight
    processes.sum(told)
    return whole_loss, float(told)


def _is_flat_since(run: _Run) -> bool:
    """Whether the curve is flat and the learning rate has had a fifth of the steps since it last fell."""
    recent = not run.drops or run.step - run.drops[-1] >= FLAT_WINDOW * run.step
    return recent and is_flat(run.curve.steps, run.curve.valid)


def _settled(run: _Run) -> bool:
    return len(run.drops) == RATE_DROPS and _is_flat_since(run)
