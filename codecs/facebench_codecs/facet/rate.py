"""The rate that training minimises: bits of the latent under a density per value and rate, with uniform noise in
place of rounding (Ballé et al. 2017). What is coded in the end has tables of its own, fitted afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facebench_codecs.facet.network import ANCHORS


class LogisticMixture(nn.Module):
    """Two zero-mean logistic densities per latent value and anchor: a narrow one, and a wide one for the tails."""

    def __init__(self, deviation: Tensor, log_step: Tensor) -> None:
        """Start from ``deviation`` (D,), the latent's, and ``log_step`` (ANCHORS, D), its quantiser's."""
        super().__init__()
        start = torch.log(deviation)[None] - log_step - math.log(1.8)
        self.narrow = nn.Parameter(start - 0.5)
        self.wide = nn.Parameter(start + 0.5)
        self.share = nn.Parameter(torch.zeros(ANCHORS, len(deviation)))

    @torch.autocast("cpu", enabled=False)
    def bits(self, symbols: Tensor, hats: Tensor) -> Tensor:
        """Return the bits, (N,), of symbols (N, D), whole or with noise added."""
        share = torch.sigmoid(hats @ self.share)
        size = symbols.abs()
        mass = share * self._mass(size, hats @ self.narrow) + (1 - share) * self._mass(size, hats @ self.wide)
        return -torch.log2(mass.clamp(min=1e-9)).sum(1)

    @staticmethod
    def _mass(size: Tensor, log_scale: Tensor) -> Tensor:
        scale = log_scale.clamp(-4, 8).exp()
        return torch.sigmoid((0.5 - size) / scale) - torch.sigmoid((-0.5 - size) / scale)
