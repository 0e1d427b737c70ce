"""Trains the face parser on pictures of LFW with human part labels, aligned to CelebA's frame.

Usage: python -m facebench.masks.parser.training LFW [--steps 4000] [--seed 0] [--out FILE.safetensors]

Beside the weights it writes their card, with how well they do on people held out. Without --out they take the place
of the shipped ones.

``LFW`` holds ``lfw_parts_aligned.zip``: ``images/NAME.jpg``, ``labels/NAME.png`` (0 background, 1 skin, 2 hair) and
``masks/NAME.png`` (hair and face without neck and ears), all 178x218. The people are split by a hash of their names:
eight tenths are trained on, one chooses the weights, and one is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import shlex
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample, one_hot, pad

from facebench.errors import DataError, FacebenchError
from facebench.masks.parser import VERSION
from facebench.masks.parser.folding import folded, tensors_of
from facebench.masks.parser.network import CLASSES, MASK_CLASSES, SIDE, FaceParser, mask_score
from facebench.masks.parser.weights import SHIPPED, save_weights
from facebench.paths import reason

ARCHIVE = "lfw_parts_aligned.zip"
_MODULE = "facebench.masks.parser.training"
_BATCH = 32
_RATE, _DECAY = 2e-3, 1e-4
#: Weights are averaged over so many steps; the average is what is judged and kept.
_AVERAGED = 300
_JUDGE_EVERY = 250
#: The side of what is cut from a picture, in its own pixels: CelebA's usual crop.
CROP = 148


@dataclass(frozen=True)
class Pairs:
    """Pictures (N, 3, 218, 178) in [0, 1] as uint8, their classes (N, 218, 178) uint8, and names."""

    pictures: Tensor
    classes: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, part: str) -> Pairs:
        """Return the pairs of the people of one part: "train", "valid" or "test"."""
        rows = [row for row, name in enumerate(self.names) if part_of(name) == part]
        return Pairs(self.pictures[rows], self.classes[rows], tuple(self.names[row] for row in rows))


def part_of(name: str) -> str:
    """Return the part of the person in "First_Last_0001"."""
    person = name.rpartition("_")[0]
    tenth = hashlib.sha256(person.encode()).digest()[0] % 10
    return {0: "test", 1: "valid"}.get(tenth, "train")


def read_pairs(folder: Path, part: str | None = None) -> Pairs:
    """Read all pairs of ``folder``, or of the people of one ``part``.

    Raises :class:`DataError` if its archive is missing, damaged or lacks some.
    """
    try:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            return _pairs_in(archive, part)
    except OSError as error:
        raise DataError(f"no {folder / ARCHIVE} ({reason(error)}): give the folder of the labelled faces") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{folder / ARCHIVE} is damaged ({error}); get it again") from error


def _pairs_in(archive: zipfile.ZipFile, part: str | None) -> Pairs:
    pictures, classes, names = [], [], []
    for member in sorted(archive.namelist()):
        if not member.startswith("images/") or not member.endswith(".jpg"):
            continue
        name = Path(member).stem
        if part not in (None, part_of(name)):
            continue
        picture = _decoded(archive, member, cv2.IMREAD_COLOR)[..., ::-1]
        labels = _decoded(archive, f"labels/{name}.png", cv2.IMREAD_GRAYSCALE)
        mask = _decoded(archive, f"masks/{name}.png", cv2.IMREAD_GRAYSCALE) > 127
        found = np.where(labels == 2, 2, np.where(mask, 1, np.where(labels == 1, 3, 0)))
        found = np.where((labels == 2) & ~mask, 0, found)  # what the mask leaves out of the hair
        pictures.append(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        classes.append(found.astype(np.uint8))
        names.append(name)
    if not names:
        raise KeyError("it has no images/NAME.jpg")
    return Pairs(torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(classes)), tuple(names))


def _decoded(archive: zipfile.ZipFile, member: str, flags: int) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(archive.read(member), np.uint8), flags)
    if image is None:
        raise KeyError(f"{member} cannot be decoded")
    return np.asarray(image, np.uint8)


def framed(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the centre-148 crops at 64x64, (N, 3, 64, 64) in [0, 1], and their masks, (N, 64, 64) bool."""
    top, left = (pairs.pictures.shape[2] - CROP) // 2, (pairs.pictures.shape[3] - CROP) // 2
    pictures, masks = [], []
    for picture, classes in zip(pairs.pictures, pairs.classes, strict=True):
        cut = picture[:, top : top + CROP, left : left + CROP].permute(1, 2, 0).contiguous().numpy()
        inside = np.isin(classes[top : top + CROP, left : left + CROP].numpy(), MASK_CLASSES).astype(np.float32)
        pictures.append(cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_AREA) >= 0.5)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(np.stack(masks))


def augmented(pictures: Tensor, classes: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures (N, 3, 64, 64) in [0, 1] and soft classes (N, 4, 64, 64), moved and recoloured at random."""
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=draw)

    angle = uniform(-0.2, 0.2)
    scale = torch.exp(uniform(-0.15, 0.15))
    stretch = torch.exp(uniform(-0.06, 0.06))
    mirror = torch.where(torch.rand(count, generator=draw) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # From the output's [-1, 1] to the frame's: the crop is 148 of 178x218 pixels.
    across, down = CROP / pictures.shape[3], CROP / pictures.shape[2]
    rows = [
        torch.stack([cos * stretch * mirror * across, -sin * across, uniform(-0.08, 0.08)], 1),
        torch.stack([sin * stretch * mirror * down, cos * down, uniform(-0.08, 0.08)], 1),
    ]
    twice = 2 * SIDE
    grid = affine_grid(torch.stack(rows, 1), [count, 3, twice, twice], align_corners=False)
    moved = avg_pool2d(grid_sample(pictures.float() / 255, grid, padding_mode="reflection", align_corners=False), 2)
    labels = grid_sample(
        classes[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )[:, 0].long()
    soft = avg_pool2d(one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float(), 2)
    return _recoloured(moved, draw), soft


def _recoloured(pictures: Tensor, draw: torch.Generator) -> Tensor:
    count = len(pictures)

    def some(share: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=draw) < share).float()

    def normal(size: float, channels: int = 1) -> Tensor:
        return size * torch.randn(count, channels, 1, 1, generator=draw)

    x = pictures.clamp(1e-3, 1) ** torch.exp(normal(0.25))
    x = (x - 0.5) * torch.exp(normal(0.2)) + 0.5 + normal(0.08) + normal(0.04, 3)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * torch.exp(normal(0.3)) * (1 - some(0.1))
    blurred = avg_pool2d(pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    x = torch.lerp(x, blurred, some(0.25) * torch.rand(count, 1, 1, 1, generator=draw))
    x = x + 0.03 * some(0.3) * torch.randn(x.shape, generator=draw)
    return x.clamp(0, 1)


def loss_of(logits: Tensor, soft: Tensor) -> Tensor:
    """Cross-entropy of the classes + the soft Jaccard distance of the mask, means over N."""
    inside = torch.sigmoid(mask_score(logits))
    wanted = soft[:, MASK_CLASSES].sum(1)
    common = (inside * wanted).sum((1, 2))
    jaccard = 1 - common / (inside + wanted - inside * wanted).sum((1, 2)).clamp(min=1)
    return cross_entropy(logits, soft, label_smoothing=0.02) + jaccard.mean()


def overlaps(network: nn.Module, pictures: Tensor, masks: Tensor) -> Tensor:
    """Return the IoU of the found and the labelled mask of each picture, (N,)."""
    network.eval()
    with torch.inference_mode():
        found = torch.cat([mask_score(network(batch)) > 0 for batch in pictures.split(128)])
    return (found & masks).sum((1, 2)) / (found | masks).sum((1, 2)).clamp(min=1)


def per_person(values: Tensor | NDArray[np.float64], names: Sequence[str]) -> float:
    """Return the mean over people of the mean over their pictures."""
    by_person: dict[str, list[float]] = {}
    for name, value in zip(names, values.tolist(), strict=True):
        by_person.setdefault(name.rpartition("_")[0], []).append(value)
    return float(np.mean([np.mean(found) for found in by_person.values()]))


def train(pairs: Pairs, seed: int, steps: int, report: Any = print) -> tuple[FaceParser, dict[str, Any]]:
    """Train for ``steps``; returns the weights that do best on the people held out for that, and the curve."""
    torch.manual_seed(seed)
    train_pairs, valid = pairs.chosen("train"), pairs.chosen("valid")
    valid_pictures, valid_masks = framed(valid)
    network = FaceParser().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    best, best_state = 0.0, averaged.state_dict()
    curve: dict[str, list[float]] = {"steps": [], "minutes": [], "loss": [], "valid_iou": []}
    start, total = time.monotonic(), 0.0
    for step in range(steps):
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(train_pairs), (_BATCH,), generator=draw)
        pictures, soft = augmented(train_pairs.pictures[rows], train_pairs.classes[rows], draw)
        warm, cooled = min(1.0, (step + 1) / 200), 0.5 + 0.5 * math.cos(math.pi * step / steps)
        optimiser.param_groups[0]["lr"] = _RATE * warm * cooled + 1e-6
        network.train()
        loss = loss_of(network(pictures.to(memory_format=torch.channels_last)), soft)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += float(loss.detach())
        keep = min(1 - 1 / _AVERAGED, (step + 1) / (step + 11))
        with torch.no_grad():
            for kept, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - keep)
                else:
                    kept.copy_(new)
        if (step + 1) % _JUDGE_EVERY == 0:
            spent = (time.monotonic() - start) / 60
            score = per_person(overlaps(averaged, valid_pictures, valid_masks), valid.names)
            for name, value in zip(curve, (step + 1, spent, total / _JUDGE_EVERY, score), strict=True):
                curve[name].append(round(value, 5))
            report(f"step {step + 1}, {spent:.1f} minutes: loss {total / _JUDGE_EVERY:.4f}, IoU {score:.4f}")
            total = 0.0
            if score > best:
                best, best_state = score, copy.deepcopy(averaged.state_dict())
    averaged.load_state_dict(best_state)
    return averaged, {"steps": steps, "valid_iou": best, "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    if options.out.suffix != ".safetensors":
        parser.error(f"--out {options.out}: a weights file ends in .safetensors")
    try:
        pairs = read_pairs(options.lfw)
        network, told = train(pairs, options.seed, options.steps, lambda line: print(line, flush=True))
        how = {"command": shlex.join(["python", "-m", _MODULE, *sys.argv[1:]]), "seed": options.seed}
        data = {"data": ARCHIVE, "data_sha256": hashlib.sha256((options.lfw / ARCHIVE).read_bytes()).hexdigest()}
        card = write_weights(options.out, network, pairs, {**how, **data, **told})
    except FacebenchError as error:
        sys.exit(f"training: {error}")
    print(json.dumps({part: card[part] for part in ("valid", "test")}, indent=1))


def write_weights(path: Path, network: FaceParser, pairs: Pairs, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a trained network as weights ``path`` with their card, which it returns: ``facts`` and how they do.

    They are judged as they are shipped: rounded to float16, read back from the file.
    """
    from facebench.masks.parser.judging import judged
    from facebench.masks.parser.masker import FaceMasker

    tensors = tensors_of(folded(network))
    card = {
        "version": VERSION,
        **facts,
        "split": "people by SHA-256 of their name, its first byte modulo 10: 0 test, 1 valid, else train",
        "torch": torch.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        save_weights(trial, tensors, card)
        masker = FaceMasker(trial)
        card |= {part: judged(masker, pairs.chosen(part)) for part in ("valid", "test")}
    save_weights(path, tensors, card)
    return card


if __name__ == "__main__":
    main()
