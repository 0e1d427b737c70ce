"""The convolutional encoder, decoder and discriminator of the learned codecs.

After "Facial Image Reconstruction" (Killingbeck, Kim, Nguyen, Vousden): a fully convolutional encoder to 512 latent
values, a decoder that mirrors it, and a plain CNN discriminator (Radford et al. 2016, DCGAN).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facebench_codecs.recipe import LATENT_SIDE, Recipe


def pictures_to_tensor(images: NDArray[np.uint8], device: str) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [0, 1], channels last in memory."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float() / 255


def _stage_widths(widths: tuple[int, ...], side: int) -> list[int]:
    """Return one width per halving from ``side`` to the latent grid; the last is repeated for larger sides."""
    halvings = (side // LATENT_SIDE).bit_length() - 1
    if side != LATENT_SIDE << halvings or halvings < 1:
        raise ValueError(f"side {side} is not {LATENT_SIDE} times a power of two")
    return [widths[min(stage, len(widths) - 1)] for stage in range(halvings)]


def _block(layer: nn.Module, width: int) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(width), nn.LeakyReLU(0.1, inplace=True)]


class Encoder(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to the mean and log-variance of (N, C, 4, 4) latents."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = [3, *_stage_widths(recipe.widths, side)]
        layers: list[nn.Module] = []
        for before, after in pairwise(stages):
            layers += _block(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), after)
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Conv2d(stages[-1], 2 * recipe.latent_channels, 3, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.head(self.trunk(pictures * 2 - 1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)


class Decoder(nn.Module):
    """(N, C, 4, 4) latents to (N, 3, S, S) pictures in [0, 1]; mirrors :class:`Encoder`."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = _stage_widths(recipe.widths, side)[::-1]
        layers = _block(nn.Conv2d(recipe.latent_channels, stages[0], 3, padding=1, bias=False), stages[0])
        for before, after in pairwise(stages):
            upward = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            layers += _block(upward, after)
        layers.append(nn.ConvTranspose2d(stages[-1], 3, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(latents))


class Autoencoder(nn.Module):
    """Encoder and decoder with a sampled latent (Kingma & Welling 2014)."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        self.encoder = Encoder(recipe, side)
        self.decoder = Decoder(recipe, side)

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstructions, latent means and log-variances; ``noise`` is N(0, 1), (N, C, 4, 4)."""
        mean, log_variance = self.encoder(pictures)
        return self.decoder(mean + noise * (0.5 * log_variance).exp()), mean, log_variance


class Discriminator(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to one logit each: positive for real."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = [3, *_stage_widths(recipe.discriminator_widths, side)]
        layers: list[nn.Module] = []
        for before, after in pairwise(stages):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(stages[-1] * LATENT_SIDE**2, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures * 2 - 1).squeeze(1)
