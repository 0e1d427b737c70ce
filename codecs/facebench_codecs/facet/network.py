"""facet's networks: learned pre- and post-processing around a linear transform (Guleryuz et al. 2021, "Sandwiched
image compression"), conditioned on the rate.

    picture -> Analysis -> latent / step -> round -> symbols (coded) -> Synthesis -> picture

The linear transform is the PCA of the training faces. Everything that depends on the rate is a table over
ANCHORS rates, interpolated linearly in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, pixel_unshuffle

from facebench_codecs.facet.colour import (
    grid_to_planes,
    planes_to_grid,
    planes_to_rgb,
    planes_to_vector,
    rgb_to_planes,
    vector_to_planes,
)

#: Rates between which everything rate-dependent is interpolated.
ANCHORS = 8
GRID = 16
# More than any size of a network.
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Shape:
    """The sizes of facet's parts; stored with the weights.

    ``side`` in pixels, a multiple of 32; ``components`` of the PCA, as many latent values; ``mixed`` of the first
    of them are mixed after decoding; ``analysis_*`` and ``synthesis_*`` are channels and numbers of blocks;
    ``context`` latent values reach the synthesis directly as ``context_channels`` on an 8x8 grid.
    """

    side: int = 64
    components: int = 1024
    mixed: int = 512
    hidden: int = 256
    analysis_channels: int = 64
    analysis_blocks: int = 2
    synthesis_channels: int = 96
    synthesis_blocks: int = 3
    deep_channels: int = 160
    deep_blocks: int = 1
    context: int = 256
    context_channels: int = 32
    step_low: float = 0.12
    step_high: float = 1.8

    @property
    def patch_values(self) -> int:
        """Values of luma and chroma that one cell of the 16x16 grid holds."""
        return 3 * (self.side // GRID) ** 2 // 2

    def check(self, tensors: int) -> None:
        """Raise ValueError unless these can be the sizes of networks that have so many tensors."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("step_"):
                sound = isinstance(value, int | float) and 0 < value < math.inf
            else:
                sound = type(value) is int and 0 < value < _LARGEST
            if not sound:
                raise ValueError(f"{field.name} is {value!r:.40}")
        if self.side % (2 * GRID) or self.analysis_blocks + self.synthesis_blocks + self.deep_blocks > tensors:
            raise ValueError("the description is of other networks")


#: Coefficients that tell a face from another picture.
_ENERGY = 128
#: Training computes convolutions in bfloat16; these sums are not for that.
_full_precision = torch.autocast("cpu", enabled=False)


def hat(rate: Tensor) -> Tensor:
    """Return the weights, (N, ANCHORS), of linear interpolation at rates (N,) in [0, 1]."""
    position = rate[:, None] * (ANCHORS - 1)
    return (1 - (position - torch.arange(ANCHORS, device=rate.device)).abs()).clamp(min=0)


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, scaled and shifted by the rate in between (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Parameter(torch.zeros(ANCHORS, 2 * channels))
        nn.init.zeros_(self.two.bias)
        with torch.no_grad():
            self.two.weight.mul_(0.2)

    def forward(self, x: Tensor, hats: Tensor) -> Tensor:
        scale, shift = (hats @ self.film)[:, :, None, None].chunk(2, 1)
        return x + self.two(gelu(self.one(x) * (1 + scale) + shift))


class Analysis(nn.Module):
    """Picture (N, 3, S, S) in [0, 1] to latent values (N, components)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        channels = shape.analysis_channels
        self.enter = nn.Conv2d(shape.patch_values, channels, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(1, channels, GRID, GRID))
        self.blocks = nn.ModuleList(Block(channels) for _ in range(shape.analysis_blocks))
        self.leave = nn.Conv2d(channels, shape.patch_values, 3, padding=1)
        self.one = nn.Linear(shape.components, shape.hidden)
        self.two = nn.Linear(shape.hidden, shape.components)
        for layer in (self.leave, self.two):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor, hats: Tensor, linear: Linear) -> Tensor:
        luma, chroma = rgb_to_planes(pictures)
        grid = planes_to_grid(luma - 0.5, chroma, GRID)
        x = self.enter(grid) + self.place
        for block in self.blocks:
            x = block(x, hats)
        correction = planes_to_vector(*grid_to_planes(self.leave(gelu(x)), self.shape.side))
        straight = linear.project(planes_to_vector(luma, chroma) + correction)
        return straight + self.two(gelu(self.one(straight / linear.deviation))) * linear.deviation


class Linear(nn.Module):
    """The PCA of the training faces: orthonormal rows, not trained further."""

    basis: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.side * shape.side * 3 // 2
        self.register_buffer("basis", torch.zeros(shape.components, width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(shape.components))

    @_full_precision
    def project(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) @ self.basis.T

    def energy(self, vectors: Tensor) -> Tensor:
        """Return how far (N, 1.5 S S) vectors lie from the mean face, (N,): about 1 for the faces of the training.

        Mean square of their first coefficients in standard deviations.
        """
        coefficients = (vectors - self.mean) @ self.basis[:_ENERGY].T
        return (coefficients / self.deviation[:_ENERGY]).square().mean(1)

    @_full_precision
    def picture_vector(self, coefficients: Tensor) -> Tensor:
        return coefficients @ self.basis + self.mean


class Synthesis(nn.Module):
    """Latent values (N, components) to a picture (N, 3, S, S), about in [0, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        channels, deep = shape.synthesis_channels, shape.deep_channels
        self.gain = nn.Parameter(torch.zeros(ANCHORS, shape.components))
        self.mix = nn.Linear(shape.mixed, shape.mixed, bias=False)
        nn.init.zeros_(self.mix.weight)
        self.spread = nn.Linear(shape.context, shape.context_channels * 64)
        self.enter = nn.Conv2d(shape.patch_values, channels, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(1, channels, GRID, GRID))
        self.first = Block(channels)
        self.down = nn.Conv2d(4 * channels + shape.context_channels, deep, 1)
        self.deep = nn.ModuleList(Block(deep) for _ in range(shape.deep_blocks))
        self.up = nn.Conv2d(deep, 4 * channels, 1)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(shape.synthesis_blocks - 1))
        self.leave = nn.Conv2d(channels, 2 * shape.patch_values, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @_full_precision
    def coefficients(self, latent: Tensor, hats: Tensor, linear: Linear) -> Tensor:
        """Return the PCA coefficients, (N, components), that the linear part of the picture is made of."""
        latent = latent * (1 + hats @ self.gain)
        mixed, rest = latent.split([self.shape.mixed, latent.shape[1] - self.shape.mixed], 1)
        deviation = linear.deviation[: self.shape.mixed]
        return torch.cat([mixed + self.mix(mixed / deviation) * deviation, rest], 1)

    def forward(self, latent: Tensor, hats: Tensor, linear: Linear) -> Tensor:
        shape = self.shape
        coefficients = self.coefficients(latent, hats, linear)
        luma, chroma = vector_to_planes(linear.picture_vector(coefficients), shape.side)
        context = self.spread(coefficients[:, : shape.context] / linear.deviation[: shape.context])
        x = self.enter(planes_to_grid(luma - 0.5, chroma, GRID)) + self.place
        x = self.first(x, hats)
        deep = self.down(torch.cat([pixel_unshuffle(x, 2), context.reshape(-1, shape.context_channels, 8, 8)], 1))
        for block in self.deep:
            deep = block(deep, hats)
        x = x + pixel_shuffle(self.up(gelu(deep)), 2)
        for block in self.blocks:
            x = block(x, hats)
        return planes_to_rgb(luma, chroma) + pixel_shuffle(self.leave(gelu(x)), shape.side // GRID)


class Facet(nn.Module):
    """Both ends, the linear transform and the quantiser's steps."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.linear = Linear(shape)
        self.analysis = Analysis(shape)
        self.synthesis = Synthesis(shape)
        steps = torch.linspace(math.log(shape.step_high), math.log(shape.step_low), ANCHORS)
        self.log_step = nn.Parameter(steps[:, None].repeat(1, shape.components))

    @_full_precision
    def steps(self, hats: Tensor) -> Tensor:
        """Return the quantiser steps, (N, components), at the rates that ``hats`` stand for."""
        return (hats @ self.log_step).exp()
