"""Adversarial losses: what the discriminator minimises on real and decoded pictures, and what the decoder adds.

Goodfellow et al. 2014 (cross-entropy, with the decoder's loss that does not saturate; one-sided label smoothing after
Salimans et al. 2016) and Lim & Ye 2017 (hinge).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from facebench_codecs.recipe import HINGE, Recipe


def discriminator_loss(recipe: Recipe, logits: Tensor) -> Tensor:
    """Return the mean loss of ``logits``, (2 N,): N of real pictures, then N of decoded ones.

    A discriminator that cannot tell them apart has log 2 of cross-entropy, or a hinge loss of 1.
    """
    real, decoded = logits.chunk(2)
    if recipe.adversarial_loss == HINGE:
        return (relu(1 - real).mean() + relu(1 + decoded).mean()) / 2
    target = torch.cat([torch.full_like(real, 1 - recipe.label_smoothing), torch.zeros_like(decoded)])
    return binary_cross_entropy_with_logits(logits, target)


def decoder_loss(recipe: Recipe, logits: Tensor) -> Tensor:
    """Return what the decoder minimises: ``logits`` are those of its pictures, (N,)."""
    if recipe.adversarial_loss == HINGE:
        return -logits.mean()
    return binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
