"""Reconstruction losses, on pictures in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from facebench import SettingError


def l1(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Mean absolute error over all values (the paper's loss)."""
    return (reconstruction - picture).abs().mean()


def l2(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Mean squared error over all values."""
    return (reconstruction - picture).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2}


def named_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of that name; raises :class:`facebench.SettingError` if there is none."""
    if name not in LOSSES:
        raise SettingError(f"no loss '{name}': use one of {', '.join(LOSSES)}")
    return LOSSES[name]


def one_minus_ssim(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Return 1 - SSIM of each of N pictures, (N,): (N, 3, S, S) in [0, 1], S at least 11.

    Wang et al. 2004 as facebench's metric defines it: 11x11 Gaussian window of sigma 1.5, each channel by itself,
    windows that lie wholly inside the picture. Blurring is two products with a banded matrix: faster here than a
    convolution.
    """
    window = _window(picture.shape[-1]).to(picture)

    def blur(values: Tensor) -> Tensor:
        return window @ (values @ window.T)

    mean_x, mean_y = blur(picture), blur(reconstruction)
    variance_x = blur(picture * picture) - mean_x * mean_x
    variance_y = blur(reconstruction * reconstruction) - mean_y * mean_y
    covariance = blur(picture * reconstruction) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return 1 - (luminance * structure).mean((1, 2, 3))


_C1, _C2 = 0.01**2, 0.03**2


@cache
def _window(side: int) -> Tensor:
    """Return the (side - 10, side) matrix whose rows are the Gaussian window at every place."""
    taps = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    matrix = torch.zeros(side - 10, side)
    for row in range(side - 10):
        matrix[row, row : row + 11] = taps
    return matrix
