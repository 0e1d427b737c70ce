"""Residual vector quantisation: each stage codes what others have left (Zeghidour et al. 2021, SoundStream).

Codebooks are moving averages of the vectors that choose them (van den Oord et al. 2017, appendix A.1); a code that
hardly any vector chooses is put on one that was badly served. Gradients pass straight through.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_DECAY = 0.99
#: A code that so few vectors chose per batch, on the moving average, is dead.
_DEAD = 0.05
_EPSILON = 1e-5
#: Names in an autoencoder's state: what coding needs of the quantiser, and what training alone does.
CODEBOOKS = "quantiser.codebooks"
TRAINING_STATE = ("quantiser.counts", "quantiser.sums")


class ResidualQuantiser(nn.Module):
    """``stages`` codebooks of ``codes`` vectors of C values each."""

    codebooks: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, stages: int, codes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", 0.1 * torch.randn(stages, codes, channels))
        # No vector has chosen any yet: the first batch gives them all their places.
        self.register_buffer("counts", torch.zeros(stages, codes))
        self.register_buffer("sums", torch.zeros(stages, codes, channels))

    def forward(self, latents: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quantised (N, C, L, L) ``latents`` and their commitment loss, a mean over values.

        ``chance`` is (N,), uniform in [0, 1): how many stages code each picture, so that all rates are trained. In
        training the codebooks follow.
        """
        count, channels = latents.shape[:2]
        stages = self.codebooks.shape[0]
        vectors = latents.permute(0, 2, 3, 1).reshape(-1, channels)
        used = 1 + (chance * stages).long().clamp(max=stages - 1)
        used = used[:, None].expand(-1, len(vectors) // count).reshape(-1)
        found = torch.zeros_like(vectors)
        for stage in range(stages):
            active = used > stage
            left = vectors.detach() - found
            chosen = self._nearest(left, stage)
            if self.training:
                self._follow(left, chosen, active, stage)
            found = found + self.codebooks[stage][chosen] * active[:, None]
        lost = (vectors - found).square().mean()
        passed = vectors + (found - vectors).detach()
        return passed.reshape(count, *latents.shape[2:], channels).permute(0, 3, 1, 2), lost

    def _nearest(self, vectors: Tensor, stage: int) -> Tensor:
        book = self.codebooks[stage]
        return (book.square().sum(1) - 2 * vectors @ book.T).argmin(1)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, chosen: Tensor, active: Tensor, stage: int) -> None:
        vectors, chosen = vectors[active], chosen[active]
        if not len(vectors):
            return
        codes = self.codebooks.shape[1]
        counts = torch.bincount(chosen, minlength=codes).to(vectors)
        sums = torch.zeros_like(self.sums[stage]).index_add_(0, chosen, vectors)
        self.counts[stage].lerp_(counts, 1 - _DECAY)
        self.sums[stage].lerp_(sums, 1 - _DECAY)
        dead = torch.nonzero(self.counts[stage] < _DEAD)[:, 0][: len(vectors)]
        if len(dead):
            # Those furthest from their codes: no random numbers, so that a resumed run takes the same steps.
            far = (vectors - self.codebooks[stage][chosen]).square().sum(1).topk(len(dead)).indices
            self.sums[stage, dead], self.counts[stage, dead] = vectors[far], 1.0
        self.codebooks[stage] = self.sums[stage] / (self.counts[stage, :, None] + _EPSILON)
