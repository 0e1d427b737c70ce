"""DISTS (Ding et al. 2020): likeness of the means and of the deviations of the picture and of VGG16's features.

The convolutions are written out, as the packages that have DISTS need torchvision. VGG16's weights are the user's,
those of the likenesses come with torchmetrics.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from facebench_perceptual.batches import parts
from facebench_perceptual.weights import VGG16, Tensors, load_published, torchmetrics_tensors

#: The smallest side of which something is left in the last stage.
SMALLEST_SIDE = 16

# Places of VGG16's convolutions in torchvision's ``features``, a row per stage; all but the first stage halve first.
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CHANNELS = (3, 64, 128, 256, 512, 512)
# Mean and deviation of the training pictures, for pictures in 0..1.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_C = 1e-6


class Dists:
    """DISTS of given weights.

    ``vgg16`` is a state dict of torchvision's VGG16; ``likeness`` holds "alpha" and "beta", (1, 1475, 1, 1) each: the
    weights of the means and of the deviations of the picture's 3 and the stages' 1472 channels.
    """

    def __init__(self, vgg16: Tensors, likeness: Tensors) -> None:
        self._stages = [[(vgg16[f"features.{i}.weight"], vgg16[f"features.{i}.bias"]) for i in s] for s in _STAGES]
        total = likeness["alpha"].sum() + likeness["beta"].sum()
        self._alpha, self._beta = (
            torch.split((likeness[name] / total).flatten(), list(_CHANNELS)) for name in ("alpha", "beta")
        )

    @torch.inference_mode()
    def distances(self, originals: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return DISTS of n pairs, (n,); both are (n, H, W, 3) uint8 RGB with sides of at least 16 pixels."""
        x, y = (torch.from_numpy(z.transpose(0, 3, 1, 2).astype(np.float32) / 255) for z in (originals, decoded))
        likeness = self._likeness(0, x, y)
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (_MEAN, _DEVIATION))
        x, y = (x - mean) / deviation, (y - mean) / deviation
        for index, stage in enumerate(self._stages):
            if index:
                x, y = _halved(x), _halved(y)
            for weight, bias in stage:
                x, y = (F.relu(F.conv2d(z, weight, bias, padding=1)) for z in (x, y))
            likeness += self._likeness(index + 1, x, y)
        return (1 - likeness).double().numpy()

    def _likeness(self, index: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the weighted likeness of two sets of features (n, c, h, w), the ``index``-th: (n,)."""
        x_mean, y_mean = (z.mean(dim=(2, 3), keepdim=True) for z in (x, y))
        means = (2 * x_mean * y_mean + _C) / (x_mean**2 + y_mean**2 + _C)
        x_variance, y_variance = ((z - m).square().mean(dim=(2, 3)) for z, m in ((x, x_mean), (y, y_mean)))
        covariance = ((x - x_mean) * (y - y_mean)).mean(dim=(2, 3))
        deviations = (2 * covariance + _C) / (x_variance + y_variance + _C)
        return means[..., 0, 0] @ self._alpha[index] + deviations @ self._beta[index]


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> dict[str, NDArray[np.float64]]:
    """Return DISTS per picture, (1, N) float64; 0 is best.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 sRGB. NaN where a side is below 16 pixels. ``masks`` change
    nothing. Raises WeightsError without VGG16's weights.
    """
    network = _network()
    count, height, width, _ = originals.shape
    values = np.full((1, count), np.nan)
    if min(height, width) >= SMALLEST_SIDE:
        for part in parts(originals, 1 << 15):
            values[0, part] = network.distances(originals[part], decoded[part])
    return {"DISTS": values}


@lru_cache
def _network() -> Dists:
    return Dists(load_published(VGG16), torchmetrics_tensors("dists_models/weights.pt"))


def _halved(features: torch.Tensor) -> torch.Tensor:
    """Return features (n, c, h, w) at half the size: the root of the Hann-weighted mean of 3 x 3 squares."""
    channels = features.shape[1]
    taps = torch.tensor([0.25, 0.5, 0.25])
    window = (taps[:, None] * taps).expand(channels, 1, 3, 3)
    return (F.conv2d(features.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()
