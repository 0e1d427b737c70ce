"""The convolutional encoder, decoder and discriminator of the learned codecs.

After "Facial Image Reconstruction" (Killingbeck, Kim, Nguyen, Vousden): a fully convolutional encoder to 512 latent
values, a decoder that mirrors it, and a plain CNN discriminator (Radford et al. 2016, DCGAN).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from facebench import SettingError
from facebench_codecs.quantiser import ResidualQuantiser
from facebench_codecs.recipe import Recipe


def pictures_to_tensor(images: NDArray[np.uint8], device: str) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [0, 1], channels last in memory."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float() / 255


def _halvings(side: int, latent_side: int) -> int:
    """Return how often ``side`` is halved, rounding down, to become ``latent_side``."""
    count = 0
    while side > latent_side:
        side, count = side // 2, count + 1
    if not count:
        raise ValueError(f"its latent has side {latent_side} already: use larger pictures")
    return count


def stage_widths(recipe: Recipe, widths: tuple[int, ...], side: int) -> list[int]:
    """Return one width per halving from ``side`` to the latent grid; the last is repeated for larger sides."""
    count = _halvings(side, recipe.latent_side)
    if side != recipe.latent_side << count:
        sizes = ", ".join(str(recipe.latent_side << n) for n in range(1, 6))
        raise ValueError(f"its backbone halves to {recipe.latent_side} without a remainder: use {sizes} ...")
    return [widths[min(stage, len(widths) - 1)] for stage in range(count)]


def _head_channels(recipe: Recipe) -> int:
    """Return how many channels an encoder ends in: mean and log-variance, or the vectors to be quantised."""
    return recipe.latent_channels * (1 if recipe.quantiser == "residual-vq" else 2)


def _block(layer: nn.Module, width: int) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(width), nn.LeakyReLU(0.1, inplace=True)]


class StridedEncoder(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to (N, H, L, L) values: see :meth:`Autoencoder.posterior`."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = [3, *stage_widths(recipe, recipe.widths, side)]
        layers: list[nn.Module] = []
        for before, after in pairwise(stages):
            layers += _block(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), after)
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Conv2d(stages[-1], _head_channels(recipe), 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        values: Tensor = self.head(self.trunk(pictures * 2 - 1))
        return values


class StridedDecoder(nn.Module):
    """(N, C, L, L) latents to (N, 3, S, S) pictures in [0, 1]; mirrors :class:`StridedEncoder`."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = stage_widths(recipe, recipe.widths, side)[::-1]
        layers = _block(nn.Conv2d(recipe.latent_channels, stages[0], 3, padding=1, bias=False), stages[0])
        for before, after in pairwise(stages):
            upward = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            layers += _block(upward, after)
        layers.append(nn.ConvTranspose2d(stages[-1], 3, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(latents))


class PooledEncoder(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to (N, H, 1, 1) values: see :meth:`Autoencoder.posterior`.

    Toledo & Antonelo 2021: two 3x3 convolutions at each of the first four sizes, one at the others, a 2x2 max-pool
    after each, then a dense layer of the last width and two dense heads; batch normalisation and ELU. ``widths`` has
    one width per size; the last is that of the dense layer too.
    """

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, width in enumerate(_pooled_widths(recipe, side)):
            for _ in range(2 if stage < _DOUBLE_STAGES else 1):
                layers += _elu_block(nn.Conv2d(before, width, 3, padding=1, bias=False), width)
                before = width
            layers.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, before), nn.ELU(inplace=True))
        self.head = nn.Linear(before, _head_channels(recipe))

    def forward(self, pictures: Tensor) -> Tensor:
        values: Tensor = self.head(self.trunk(pictures))
        return values[:, :, None, None]


class PooledDecoder(nn.Module):
    """(N, C, 1, 1) latents to (N, 3, S, S) pictures in [0, 1]; doubles where :class:`PooledEncoder` halves."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        widths = _pooled_widths(recipe, side)
        self.layers = _Ladder(recipe.latent_channels, [*widths[-2::-1], widths[0]], 3, side)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(latents))


class _Ladder(nn.Module):
    """Doublings of a 1x1 grid up to ``side``: a transposed and a plain 3x3 convolution each."""

    def __init__(self, before: int, widths: list[int], channels: int, side: int) -> None:
        super().__init__()
        self.sides = [side]
        while self.sides[0] > 2:
            self.sides.insert(0, self.sides[0] // 2)
        self.steps = nn.ModuleList()
        for width in widths:
            upward = nn.ConvTranspose2d(before, width, 3, stride=2, bias=False)
            plain = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.steps.append(nn.Sequential(*_elu_block(upward, width), *_elu_block(plain, width)))
            before = width
        self.leave = nn.Conv2d(before, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for step, side in zip(self.steps, self.sides, strict=True):
            upward, norm, elu, *plain = step  # type: ignore[misc]
            x = elu(norm(upward(x)[..., :side, :side]))
            for layer in plain:
                x = layer(x)
        return self.leave(x)


#: Sizes at which :class:`PooledEncoder` has two convolutions.
_DOUBLE_STAGES = 4


def _pooled_widths(recipe: Recipe, side: int) -> list[int]:
    """Return the width at each size from ``side`` down to 2; the last for all sizes that the recipe does not name."""
    if recipe.latent_side != 1:
        raise ValueError("the latent of a pooled backbone has side 1")
    return [recipe.widths[min(stage, len(recipe.widths) - 1)] for stage in range(_halvings(side, 1))]


def _elu_block(layer: nn.Module, width: int) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(width), nn.ELU(inplace=True)]


#: Encoder and decoder by a recipe's ``backbone``.
BACKBONES: dict[str, tuple[Callable[[Recipe, int], nn.Module], Callable[[Recipe, int], nn.Module]]] = {
    "strided": (StridedEncoder, StridedDecoder),
    "pooled": (PooledEncoder, PooledDecoder),
}


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of N pictures.

    Pictures (N, 3, S, S) in [0, 1]; the latent's loss, which is its KL divergence from the prior, the mean over N in
    nats per picture, or the commitment of vectors to their codes; and the mask's logits (N, S, S), or None without a
    mask decoder.
    """

    pictures: Tensor
    latent_loss: Tensor
    mask: Tensor | None


#: ``coded(first, values)``: what the decoder will know of the latent's (N, n) ``values`` from dimension ``first`` on.
Coded = Callable[[int, Tensor], Tensor]


def exactly(first: int, values: Tensor) -> Tensor:
    """Be the :data:`Coded` of a latent that the decoder knows as it is."""
    return values


class LatentModel(nn.Module, ABC):
    """What training and coding need of a recipe's network.

    ``decoder`` takes (N,) + latent_shape latents to (N, 3, S, S) pictures in [0, 1]; ``mask_decoder``, if there is one,
    to the mask's logits, (N, 1, S, S).
    """

    decoder: nn.Module
    mask_decoder: nn.Module | None

    def __init__(self, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_shape = latent_shape
        self.mask_decoder = None

    @abstractmethod
    def forward(self, pictures: Tensor, noise: Tensor) -> Reconstruction:
        """Encode and decode (N, 3, S, S) pictures in [0, 1] with the ``noise`` of :meth:`draw`."""

    @abstractmethod
    def posterior(self, pictures: Tensor, coded: Coded = exactly) -> tuple[Tensor, Tensor]:
        """Return the latent's mean and log-variance, (N,) + latent_shape.

        ``coded`` matters where a part of the latent is seen relative to parts that are coded before it.
        """

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the ``noise`` of a training step with ``count`` pictures."""
        return torch.randn((count, *self.latent_shape), generator=generator)

    def without_chance(self, pictures: Tensor) -> Tensor:
        """Return the ``noise`` of validation."""
        return pictures.new_zeros(())


class Autoencoder(LatentModel):
    """Encoder and decoder with a sampled latent (Kingma & Welling 2014), and perhaps a decoder of the mask."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__(recipe.latent_shape)
        if recipe.backbone not in BACKBONES:
            raise SettingError(f"recipe: no backbone '{recipe.backbone}': use one of {', '.join(BACKBONES)}")
        encoder, decoder = BACKBONES[recipe.backbone]
        self.encoder = encoder(recipe, side)
        self.decoder = decoder(recipe, side)
        dimensions = math.prod(recipe.latent_shape)
        self.prior = MixturePrior(recipe.components, dimensions) if recipe.components else None
        self.quantiser: ResidualQuantiser | None = None
        if recipe.quantiser == "residual-vq":
            self.quantiser = ResidualQuantiser(recipe.stages, recipe.codes, recipe.latent_channels)
        if recipe.mask_decoder_width:
            if recipe.latent_side != 1:
                raise SettingError("recipe: a mask decoder starts from a latent of side 1")
            widths = [recipe.mask_decoder_width] * _halvings(side, 1)
            self.mask_decoder = _Ladder(recipe.latent_channels, widths, 1, side)

    def forward(self, pictures: Tensor, noise: Tensor) -> Reconstruction:
        """Encode and decode.

        ``noise`` is N(0, 1) of the latent's shape, or 0 for the mean latent; with a quantiser, the ``chance`` of
        :class:`ResidualQuantiser`.
        """
        mean, log_variance = self.posterior(pictures)
        if self.quantiser is not None:
            latents, latent_loss = self.quantiser(mean, noise)
        else:
            latents = mean + noise * (0.5 * log_variance).exp()
            if self.prior is None:
                latent_loss = _nats_from_normal(mean, log_variance)
            else:
                latent_loss = self.prior.nats(latents.flatten(1), mean.flatten(1), log_variance.flatten(1))
        mask = None if self.mask_decoder is None else self.mask_decoder(latents)[:, 0]
        return Reconstruction(self.decoder(latents), latent_loss, mask)

    def posterior(self, pictures: Tensor, coded: Coded = exactly) -> tuple[Tensor, Tensor]:
        """Return the latent's mean and log-variance, (N, C, L, L); of vectors to be quantised, them and no variance."""
        values = self.encoder(pictures)
        if self.quantiser is not None:
            return values, torch.full_like(values, -12)
        mean, log_variance = values.chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the ``noise`` of a training step with ``count`` pictures."""
        if self.quantiser is not None:
            return torch.rand(count, generator=generator)
        return super().draw(count, generator)

    def without_chance(self, pictures: Tensor) -> Tensor:
        """Return the ``noise`` of validation: none, or with a quantiser all numbers of stages in turn."""
        if self.quantiser is None:
            return super().without_chance(pictures)
        return (torch.arange(len(pictures), device=pictures.device) + 0.5) / len(pictures)


def _nats_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the latent from N(0, 1) (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=(1, 2, 3)).mean()


class MixturePrior(nn.Module):
    """A mixture of K Gaussians of diagonal covariance over D latent values, learned with the rest.

    As in VaDE (Jiang et al. 2017), whose mixture Qian et al. 2019 take for faces.
    """

    def __init__(self, components: int, dimensions: int) -> None:
        super().__init__()
        self.components = components
        self.weights = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(0.5 * torch.randn(components, dimensions))
        self.log_variances = nn.Parameter(torch.zeros(components, dimensions))

    def _log_joint(self, latents: Tensor) -> Tensor:
        """Return the log density of (N, D) latents and each component, (N, K), but for a constant."""
        log_variances = self.log_variances.clamp(-8, 4)
        precisions = (-log_variances).exp()
        # |z - m|^2 / v expanded: no (N, K, D) tensor.
        squares = latents.square() @ precisions.T - 2 * latents @ (self.means * precisions).T
        squares = squares + (self.means.square() * precisions).sum(1)
        return self.weights.log_softmax(0) - 0.5 * (squares + log_variances.sum(1))

    def nats(self, latents: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return the KL divergence of N(mean, variance) from the mixture, estimated at the sample ``latents``."""
        entropy = -0.5 * ((latents - mean).square() / log_variance.exp() + log_variance).sum(1)
        return (entropy - torch.logsumexp(self._log_joint(latents), 1)).mean()

    def responsible(self, latents: Tensor) -> Tensor:
        """Return the component that each of (N, D) latents is most likely of, (N,)."""
        return self._log_joint(latents).argmax(1)


class Discriminator(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to one logit each: positive for real."""

    def __init__(self, recipe: Recipe, side: int) -> None:
        super().__init__()
        stages = [3, *stage_widths(recipe, recipe.discriminator_widths, side)]
        normed = spectral_norm if recipe.spectral_norm else nn.Identity()
        layers: list[nn.Module] = []
        for before, after in pairwise(stages):
            layers += [normed(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        leave = nn.Linear(stages[-1] * recipe.latent_side**2, 1)
        self.layers = nn.Sequential(*layers, nn.Flatten(), normed(leave))
        self._range = recipe.discriminator_range

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers((pictures * 2 - 1) * self._range).squeeze(1)
