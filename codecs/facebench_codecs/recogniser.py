"""A small face recogniser, trained on the identities of the training split, whose features are compared in losses.

Those of facet's tune "identity" and of the loss "perceptual". It serves training only and is not shipped. Who is
recognised in the end is judged by another network (facebench-identity), which training never sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear, normalize

from facebench import SettingError, TrainingJob
from facebench_codecs.checkpoint import load_checkpoint, save_checkpoint
from facebench_codecs.networks import pictures_to_tensor
from facebench_codecs.parallel import Processes

_STEPS = 4000
_BATCH = 64
_LEARNING_RATE = 1e-3
_SAVE_EVERY = 1000
#: CosFace (Wang et al. 2018): scale of the cosines, and the margin that the right person's loses.
_SCALE, _MARGIN = 24.0, 0.2
WIDTHS = (32, 64, 128, 192)
_FEATURES = 128


class Recogniser(nn.Module):
    """Pictures (N, 3, S, S) in [0, 1] to unit vectors (N, 128); ``widths`` are those of its stages, which halve S."""

    def __init__(self, side: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for width in widths:
            stages += [
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.BatchNorm2d(width),
                nn.GELU(),
                _Residual(width),
            ]
            before = width
        self.stages = nn.Sequential(*stages)
        self.drop = nn.Dropout(0.3)
        self.leave = nn.Linear(before * (side // 2 ** len(widths)) ** 2, _FEATURES)

    def forward(self, pictures: Tensor) -> Tensor:
        return normalize(self.leave(self.drop(self.stages(pictures - 0.5).flatten(1))))

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Return what each stage makes of the pictures: (N, width, S / 2, S / 2), then half the side and so on."""
        values, found = pictures - 0.5, []
        for layer in self.stages:
            values = layer(values)
            if isinstance(layer, _Residual):
                found.append(values)
        return found


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.two = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(gelu(self.norm(self.one(x))))


def recogniser_for(
    job: TrainingJob, checkpoint: Path, processes: Processes, widths: Sequence[int] = WIDTHS
) -> Recogniser:
    """Return a frozen recogniser of the people that ``job`` trains on, trained by the first process alone.

    Its own checkpoint lies beside ``checkpoint``. Raises :class:`facebench.SettingError` if nobody knows who they are.
    """
    if job.train.identities is None:
        raise SettingError("a recogniser is trained on pictures whose identities are known, such as CelebA's")
    if not processes.first:
        network = Recogniser(job.train.size[0], widths).to(job.device).eval().requires_grad_(False)
    else:
        job.log("training the recogniser")
        network = train_recogniser(
            job.train.images,
            job.train.identities,
            widths=widths,
            seed=job.seed,
            device=job.device,
            checkpoint=checkpoint.with_name(f"{checkpoint.stem}-recogniser.checkpoint"),
            identity=job.train.digest,
            log=job.log,
        )
    processes.copy_first(network)
    return network


def train_recogniser(
    pictures: NDArray[np.uint8],
    identities: Sequence[str],
    *,
    widths: Sequence[int] = WIDTHS,
    seed: int,
    device: str,
    checkpoint: Path,
    identity: str,
    log: Callable[[str], None] = lambda line: None,
) -> Recogniser:
    """Train on (N, S, S, 3) uint8 pictures of the people in ``identities`` (N,); returns the frozen network.

    A ``checkpoint`` of the same ``identity`` is continued.
    """
    torch.manual_seed(seed)
    people = np.unique(np.array(identities), return_inverse=True)[1]
    side = pictures.shape[1]
    network = Recogniser(side, widths).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    classes = nn.Linear(_FEATURES, int(people.max()) + 1, bias=False).to(device)
    optimizer = torch.optim.AdamW([*network.parameters(), *classes.parameters()], weight_decay=0.01)
    first = 0
    if checkpoint.is_file():
        first = load_checkpoint(checkpoint, [network, classes], [optimizer], identity)[1]["step"]
    right = torch.zeros(())
    for step in range(first, _STEPS):
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(0, len(pictures), (_BATCH,), generator=draw).numpy()
        batch = _augmented(pictures_to_tensor(pictures[chosen], device), draw)
        wanted = torch.from_numpy(people[chosen]).to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):  # many CPUs are slow at it
            features = network(batch).float()
        cosines = linear(features, normalize(classes.weight))
        right = 0.98 * right + 0.02 * (cosines.argmax(1) == wanted).float().mean().cpu()
        cosines = cosines - _MARGIN * nn.functional.one_hot(wanted, cosines.shape[1])
        loss = cross_entropy(_SCALE * cosines, wanted, label_smoothing=0.05)
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / _STEPS))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % _SAVE_EVERY == 0:
            save_checkpoint(checkpoint, [network, classes], [optimizer], {}, {"identity": identity, "step": step + 1})
            log(f"recogniser: step {step + 1} of {_STEPS}, {float(right):.0%} of its training faces recognised")
    network.eval().requires_grad_(False)
    return network


def _augmented(batch: Tensor, draw: torch.Generator) -> Tensor:
    """Mirror, shift and blur: reconstructions are blurred, and must not be strange to the network."""
    mirrored = torch.rand(len(batch), generator=draw) < 0.5
    batch[mirrored] = batch[mirrored].flip(3)
    down, right = torch.randint(-2, 3, (2,), generator=draw).tolist()
    batch = batch.roll((down, right), (2, 3))
    blurred = torch.rand(len(batch), generator=draw) < 0.3
    if blurred.any():
        batch[blurred] = nn.functional.avg_pool2d(batch[blurred], 3, stride=1, padding=1, count_include_pad=False)
    return batch
