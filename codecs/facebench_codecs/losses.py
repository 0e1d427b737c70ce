"""Reconstruction losses: sums of terms such as ``ssim+4*l1``, over whole pictures or over the face alone.

A term is ``[WEIGHT*]NAME[@255]``. Pictures are in [0, 1]; ``@255`` computes the term on [0, 255], which multiplies l1
by 255 and l2 by 255 squared and changes nothing in the others: their constants grow with the range.

"perceptual" compares deep features (Hou et al. 2017) of a network that the recipe names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, normalize

from facebench import SettingError

#: Weights of the five scales (Wang et al. 2003).
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2
_TERM = re.compile(r"(?:(?P<weight>\d+(?:\.\d+)?)\*)?(?P<name>[a-z]\w*)(?P<range>@255)?")


def l1(reconstruction: Tensor, picture: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of each picture (the student paper's loss)."""
    return _mean((reconstruction - picture).abs().mean(1), mask)


def l2(reconstruction: Tensor, picture: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of each picture."""
    return _mean((reconstruction - picture).square().mean(1), mask)


def ssim(reconstruction: Tensor, picture: Tensor, mask: Tensor, taps: int = 11) -> Tensor:
    """1 - SSIM of each picture; over the face, the mean of the map where a window's centre lies on it."""
    luminance, structure = ssim_maps(reconstruction, picture, taps)
    return 1 - _mean((luminance * structure).mean(1), _inside(mask, taps))


def ssim9(reconstruction: Tensor, picture: Tensor, mask: Tensor) -> Tensor:
    """:func:`ssim` with the 9x9 window of Toledo & Antonelo 2021."""
    return ssim(reconstruction, picture, mask, 9)


def msssim(reconstruction: Tensor, picture: Tensor, mask: Tensor) -> Tensor:
    """1 - MS-SSIM of each picture (Wang et al. 2003), as facebench's metric defines it.

    As many of the five scales as an 11x11 window fits into, their weights renormalised; over the face, each scale's
    mean is that of :func:`ssim` over the mask halved with the picture.
    """
    scales = max(1, min(len(_SCALE_WEIGHTS), int(math.log2(picture.shape[-1] / 11)) + 1))
    weights = [weight / sum(_SCALE_WEIGHTS[:scales]) for weight in _SCALE_WEIGHTS[:scales]]
    similarity = picture.new_ones(picture.shape[:2])
    for scale, weight in enumerate(weights):
        if scale:
            picture, reconstruction = avg_pool2d(picture, 2), avg_pool2d(reconstruction, 2)
            mask = avg_pool2d(mask[:, None], 2)[:, 0]
        luminance, structure = ssim_maps(reconstruction, picture)
        values = luminance * structure if scale == scales - 1 else structure
        # A negative mean has no power: it counts as none, with a floor that keeps the gradient finite.
        of_channels = _mean(values.flatten(0, 1), _inside(mask, 11).repeat_interleave(3, 0)).reshape(similarity.shape)
        similarity = similarity * of_channels.clamp(min=1e-4) ** weight
    return 1 - similarity.mean(1)


TERMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "ssim": ssim,
    "ssim9": ssim9,
    "msssim": msssim,
}
#: What a term grows by on [0, 255].
_ON_255 = {"l1": 255.0, "l2": 255.0**2}


#: (N, 3, S, S) pictures in [0, 1] to feature maps (N, C, H, W), from fine to coarse.
Features = Callable[[Tensor], Sequence[Tensor]]
PERCEPTUAL = "perceptual"


def perceptual(reconstruction: Tensor, picture: Tensor, mask: Tensor, features: Features) -> Tensor:
    """Distance of the features of each picture: the mean over maps, (N,).

    A map's is the mean, over its places, of the squared distance between the two unit vectors of channels there (as in
    LPIPS, Zhang et al. 2018): so no map counts more than another because its values are larger.
    """
    with torch.no_grad():
        wanted = [normalize(values) for values in features(picture)]
    found = [normalize(values) for values in features(reconstruction)]
    each = [
        _mean((one - other).square().sum(1), adaptive_avg_pool2d(mask[:, None], one.shape[2:])[:, 0])
        for one, other in zip(found, wanted, strict=True)
    ]
    return torch.stack(each).mean(0)


@dataclass(frozen=True)
class Loss:
    """A weighted sum of :data:`TERMS`, and of :func:`perceptual` where there are ``features``."""

    terms: tuple[tuple[float, str], ...]
    features: Features | None = None

    def __call__(self, reconstruction: Tensor, picture: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over N pictures, (N, 3, S, S) in [0, 1].

        With ``mask``, (N, S, S) from 0 to 1, it is over the face alone; a picture without a face has no loss.
        """
        weights = picture.new_ones(len(picture), *picture.shape[2:]) if mask is None else mask
        each = picture.new_zeros(len(picture))
        for weight, name in self.terms:
            if name == PERCEPTUAL:
                assert self.features is not None
                each = each + weight * perceptual(reconstruction, picture, weights, self.features)
            else:
                each = each + weight * TERMS[name](reconstruction, picture, weights)
        return each.mean() if mask is None else (each * (mask.amax((1, 2)) > 0)).mean()


def named_loss(text: str, features: Features | None = None) -> Loss:
    """Return the loss that ``text`` writes; raises :class:`facebench.SettingError` if it is none."""
    terms = []
    for part in text.replace(" ", "").split("+"):
        found = _TERM.fullmatch(part)
        if found is None or found["name"] not in (*TERMS, PERCEPTUAL):
            raise SettingError(f"no loss '{part}': write a sum such as ssim+4*l1 of {', '.join((*TERMS, PERCEPTUAL))}")
        scale = _ON_255.get(found["name"], 1.0) if found["range"] else 1.0
        terms.append((float(found["weight"] or 1) * scale, found["name"]))
    return Loss(tuple(terms), features)


def one_minus_ssim(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Return 1 - SSIM of each of N pictures, (N,): (N, 3, S, S) in [0, 1], S at least 11."""
    luminance, structure = ssim_maps(reconstruction, picture)
    return 1 - (luminance * structure).mean((1, 2, 3))


def ssim_maps(reconstruction: Tensor, picture: Tensor, taps: int = 11) -> tuple[Tensor, Tensor]:
    """Return the luminance, and the contrast times structure, of SSIM at each place: twice (N, 3, S - taps + 1, ...).

    Wang et al. 2004 as facebench's metric defines it: ``taps`` x ``taps`` Gaussian window of sigma 1.5, each channel by
    itself, windows that lie wholly inside the picture. Blurring is two products with a banded matrix: faster here than
    a convolution.
    """
    window = _window(picture.shape[-1], taps).to(picture)

    def blur(values: Tensor) -> Tensor:
        return window @ (values @ window.T)

    mean_x, mean_y = blur(picture), blur(reconstruction)
    variance_x = blur(picture * picture) - mean_x * mean_x
    variance_y = blur(reconstruction * reconstruction) - mean_y * mean_y
    covariance = blur(picture * reconstruction) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return luminance, structure


@cache
def _window(side: int, taps: int) -> Tensor:
    """Return the (side - taps + 1, side) matrix whose rows are the Gaussian window at every place."""
    weights = torch.exp(-((torch.arange(float(taps)) - taps // 2) ** 2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    matrix = torch.zeros(side - taps + 1, side)
    for row in range(side - taps + 1):
        matrix[row, row : row + taps] = weights
    return matrix


def _inside(mask: Tensor, taps: int) -> Tensor:
    """Return the (N, S - taps + 1, ...) part of a mask where the centres of windows lie."""
    edge = taps // 2
    return mask[:, edge : mask.shape[1] - edge, edge : mask.shape[2] - edge]


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each of (N, H, W) ``values`` under ``mask``, (N,); 0 where the mask is empty."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1e-6)
