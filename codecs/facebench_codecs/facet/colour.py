"""Pictures as facet sees them: BT.601 luma at full size, the two chroma planes at half size, in one vector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle

#: BT.601 full range, as in JPEG (ITU-T T.871): rows Y, Cb, Cr of R, G, B in [0, 1].
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
#: R, G, B are luma plus these multiples of Cb and Cr.
_TO_RGB = ((0.0, 1.402), (-0.344136, -0.714136), (1.772, 0.0))
#: Chroma is scaled so that a squared error in the vector weighs about as much as it does in R, G, B: a sample
#: stands for 2x2 pixels.
CHROMA_WEIGHT = 2.4


def rgb_to_planes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Split (N, 3, S, S) RGB in [0, 1] into luma (N, 1, S, S) and weighted chroma (N, 2, S/2, S/2)."""
    red, green, blue = pictures.unbind(1)
    luma, cb, cr = (a * red + b * green + c * blue for a, b, c in _TO_YCC)
    return luma[:, None], avg_pool2d(torch.stack([cb, cr], 1), 2) * CHROMA_WEIGHT


def planes_to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """Return (N, 3, S, S) RGB, not clipped, of what :func:`rgb_to_planes` returns; chroma is upsampled bilinearly."""
    full = interpolate(chroma / CHROMA_WEIGHT, scale_factor=2, mode="bilinear", align_corners=False)
    cb, cr = full.unbind(1)
    return torch.stack([luma[:, 0] + a * cb + b * cr for a, b in _TO_RGB], 1)


def planes_to_vector(luma: Tensor, chroma: Tensor) -> Tensor:
    """Return the planes as (N, 1.5 S S): luma, then chroma, row by row."""
    return torch.cat([luma.flatten(1), chroma.flatten(1)], 1)


def vector_to_planes(vector: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Invert :func:`planes_to_vector` for pictures of ``side`` pixels."""
    luma, chroma = vector.split([side * side, side * side // 2], 1)
    return luma.reshape(-1, 1, side, side), chroma.reshape(-1, 2, side // 2, side // 2)


def planes_to_grid(luma: Tensor, chroma: Tensor, grid: int) -> Tensor:
    """Fold the planes' pixels into channels: (N, 1.5 (S / grid)^2, grid, grid)."""
    patch = luma.shape[-1] // grid
    return torch.cat([pixel_unshuffle(luma, patch), pixel_unshuffle(chroma, patch // 2)], 1)


def grid_to_planes(features: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Invert :func:`planes_to_grid`."""
    patch = side // features.shape[-1]
    luma, chroma = features.split([patch * patch, patch * patch // 2], 1)
    return pixel_shuffle(luma, patch), pixel_shuffle(chroma, patch // 2)
