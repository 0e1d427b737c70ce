"""A hierarchical VAE, small (after Vahdat & Kautz 2020, NVAE): a latent in groups, from coarse to fine.

The encoder goes bottom up. The decoder goes top down from a learned constant; on its way it takes in one group after
the other, and says of each what it expects: its prior. A latent value is held as its distance from the mean of its
prior ("residual normal distributions", section 3.2), so a picture's latent is what the decoder did not expect.

Unlike NVAE's: one group per size, cells of one convolution, no normalising flows and no spectral regularisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from facebench_codecs.networks import Coded, LatentModel, Reconstruction, exactly, stage_widths
from facebench_codecs.recipe import Recipe

#: Log-variances, and their distances from the prior's, are within this of 0: softly, as in NVAE's code.
_LOG_VARIANCE = 5.0


@dataclass(frozen=True)
class Group:
    """A group of latent values, ``channels`` x ``side`` x ``side``, that begins at dimension ``first``."""

    first: int
    channels: int
    side: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.side, self.side

    @property
    def values(self) -> slice:
        """The group's dimensions of the latent."""
        return slice(self.first, self.first + self.channels * self.side**2)


def latent_groups(recipe: Recipe, side: int) -> list[Group]:
    """Return the groups of the latent of pictures of ``side`` pixels, coarse to fine: all smaller than it."""
    groups: list[Group] = []
    for level, channels in enumerate((recipe.latent_channels, *recipe.finer_channels)):
        if recipe.latent_side << level >= side:
            break
        groups.append(Group(groups[-1].values.stop if groups else 0, channels, recipe.latent_side << level))
    return groups


class _Cell(nn.Module):
    """x + convolution(SiLU(normalised x)), (N, W, S, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.layers = nn.Sequential(nn.BatchNorm2d(width), nn.SiLU(inplace=True), conv)

    def forward(self, x: Tensor) -> Tensor:
        moved: Tensor = x + self.layers(x)
        return moved


class BottomUp(nn.Module):
    """(N, 3, S, S) pictures in [0, 1] to features at the sides of the groups, and with the decoder's state to each."""

    def __init__(self, recipe: Recipe, side: int, groups: list[Group]) -> None:
        super().__init__()
        widths = stage_widths(recipe, recipe.widths, side)
        self._first_group = len(widths) - len(groups)
        self.stages = nn.ModuleList()
        before = 3
        for stage, width in enumerate(widths):
            layers = [nn.Conv2d(before, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
            # The coarsest has the most weights: it goes without.
            if self._first_group <= stage < len(widths) - 1:
                layers.append(_Cell(width))
            self.stages.append(nn.Sequential(*layers))
            before = width
        self.heads = nn.ModuleList(
            nn.Conv2d(2 * width, 2 * group.channels, 3, padding=1)
            for width, group in zip(widths[::-1], groups, strict=False)
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the features (N, W, S, S) of each group, coarse to fine."""
        x = pictures * 2 - 1
        features = []
        for stage, layers in enumerate(self.stages):
            x = layers(x)
            if stage >= self._first_group:
                features.append(x)
        return features[::-1]

    def residual(self, level: int, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much a group's mean and log-variance differ from its prior's, (N, C, S, S) each."""
        shift, log_ratio = self.heads[level](torch.cat([features, state], 1)).chunk(2, 1)
        return shift, _softly(log_ratio)


class TopDown(nn.Module):
    """(N, D) latents to (N, 3, S, S) pictures in [0, 1]; a latent value is its distance from its prior's mean."""

    def __init__(self, recipe: Recipe, side: int, groups: list[Group]) -> None:
        super().__init__()
        self.groups = groups
        widths = stage_widths(recipe, recipe.widths, side)[::-1]
        self.start = nn.Parameter(0.1 * torch.randn(1, widths[0], recipe.latent_side, recipe.latent_side))
        self.priors, self.entries, self.cells = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for width, group in zip(widths, groups, strict=False):
            # Before the first group the state is the same for all pictures: its prior is N(0, 1).
            if group.first:
                self.priors.append(nn.Conv2d(width, 2 * group.channels, 3, padding=1))
            self.entries.append(nn.Conv2d(group.channels, width, 3, padding=1, bias=False))
            self.cells.append(_Cell(width))
        self.rises = nn.ModuleList()
        for before, after in pairwise(widths):
            upward = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            self.rises.append(nn.Sequential(upward, nn.BatchNorm2d(after), nn.SiLU()))
        self.leave = nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        def found(level: int, state: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
            group = self.groups[level]
            return mean + latents[:, group.values].reshape(mean.shape)

        return self.descend(len(latents), found)

    def descend(self, count: int, group_of: Callable[[int, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Return ``count`` pictures from the groups that ``group_of(level, state, mean, log-variance)`` returns.

        It is called for each, coarse to fine, with the decoder's state there, (N, W, S, S), and the group's prior; all
        that it gets and returns but the state is (N, C, S, S).
        """
        state = self.start.expand(count, -1, -1, -1)
        for level, group in enumerate(self.groups):
            if level:
                state = self.rises[level - 1](state)
                mean, log_variance = self.priors[level - 1](state).chunk(2, 1)
                log_variance = _softly(log_variance)
            else:
                mean = log_variance = state.new_zeros(count, *group.shape)
            state = self.cells[level](state + self.entries[level](group_of(level, state, mean, log_variance)))
        for rise in self.rises[len(self.groups) - 1 :]:
            state = rise(state)
        return torch.sigmoid(self.leave(state))


def _softly(log_variance: Tensor) -> Tensor:
    return _LOG_VARIANCE * torch.tanh(log_variance / _LOG_VARIANCE)


class HierarchicalAutoencoder(LatentModel):
    """Bottom-up encoder and top-down decoder of a latent of D values in groups."""

    decoder: TopDown

    def __init__(self, recipe: Recipe, side: int) -> None:
        groups = latent_groups(recipe, side)
        super().__init__((groups[-1].values.stop if groups else 0,))
        self.groups = groups
        self.encoder = BottomUp(recipe, side, groups)
        self.decoder = TopDown(recipe, side, groups)

    def forward(self, pictures: Tensor, noise: Tensor) -> Reconstruction:
        """Encode and decode; ``noise`` is N(0, 1), (N, D), or 0 for the mean latent. No mask."""
        nats = pictures.new_zeros(())

        def sampled(group: Group, shift: Tensor, log_ratio: Tensor, log_variance: Tensor) -> Tensor:
            nonlocal nats
            nats = nats + residual_nats(shift, log_ratio, log_variance)
            chance = noise[:, group.values].reshape(shift.shape) if noise.ndim else noise
            return shift + chance * (0.5 * (log_variance + log_ratio)).exp()

        decoded = self._descend(pictures, sampled)
        return Reconstruction(decoded, nats, None)

    def posterior(self, pictures: Tensor, coded: Coded = exactly) -> tuple[Tensor, Tensor]:
        """Return how far the latent's mean is from the priors', and its log-variance, (N, D).

        The prior of a group follows from what the decoder knows of the groups before, which ``coded`` says.
        """
        shifts, log_variances = [], []

        def known(group: Group, shift: Tensor, log_ratio: Tensor, log_variance: Tensor) -> Tensor:
            shifts.append(shift.flatten(1))
            log_variances.append((log_variance + log_ratio).flatten(1))
            return coded(group.first, shifts[-1]).reshape(shift.shape)

        self._descend(pictures, known)
        return torch.cat(shifts, 1), torch.cat(log_variances, 1)

    def _descend(self, pictures: Tensor, residual_of: Callable[[Group, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Return pictures from the distances of the groups from their priors' means, as ``residual_of`` has them."""
        features = self.encoder(pictures)

        def group_of(level: int, state: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
            shift, log_ratio = self.encoder.residual(level, features[level], state)
            return mean + residual_of(self.groups[level], shift, log_ratio, log_variance)

        return self.decoder.descend(len(pictures), group_of)


def residual_nats(shift: Tensor, log_ratio: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence of N(m + shift, v r) from N(m, v), summed over a group, the mean over N pictures.

    NVAE's equation 2: of ``shift``, log r and log v, (N, C, S, S) each.
    """
    each = shift.square() / log_variance.exp() + log_ratio.exp() - log_ratio - 1
    return 0.5 * each.sum((1, 2, 3)).mean()
