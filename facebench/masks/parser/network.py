"""The face parser's network: a U-Net (Ronneberger et al. 2015) over 64x64 pictures in CelebA's centre-148 framing."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

#: The side in pixels of the pictures that the network looks at.
SIDE = 64
CLASSES = ("background", "face", "hair", "other skin")
#: The classes that make the mask of Toledo & Antonelo (2021): no ears, no neck.
MASK_CLASSES = (1, 2)
_WIDTHS = (16, 32, 64, 96)


class FaceParser(nn.Module):
    """(N, 3, 64, 64) pictures in [0, 1] to (N, 4, 64, 64) logits of :data:`CLASSES`."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(before, after) for before, after in pairwise((3, *_WIDTHS)))
        self.up = nn.ModuleList(_pair(below + across, across) for below, across in pairwise(reversed(_WIDTHS)))
        self.leave = nn.Conv2d(_WIDTHS[0], len(CLASSES), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = (pictures - 0.5) * 4
        passed = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            passed.append(x)
        for block, across in zip(self.up, passed[-2::-1], strict=True):
            x = block(torch.cat([interpolate(x, scale_factor=2.0, mode="nearest"), across], 1))
        logits: Tensor = self.leave(x)
        return logits


def mask_score(logits: Tensor) -> Tensor:
    """Return by how much the mask is likelier than the rest, (N, S, S) in nats, of (N, 4, S, S) logits."""
    inside = torch.logsumexp(logits[:, MASK_CLASSES], 1)
    outside = torch.logsumexp(logits[:, [c for c in range(len(CLASSES)) if c not in MASK_CLASSES]], 1)
    return inside - outside


def _pair(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.SiLU(inplace=True)]
    return nn.Sequential(*layers)
