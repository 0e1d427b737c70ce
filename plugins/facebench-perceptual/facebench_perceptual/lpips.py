"""LPIPS v0.1 on AlexNet (Zhang et al. 2018): squared differences of deep features, weighted to match human judgements.

The five convolutions are written out, as the packages that have LPIPS need torchvision. AlexNet's weights are the
user's, those of the differences come with torchmetrics.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from facebench_perceptual.batches import parts
from facebench_perceptual.weights import ALEXNET, Tensors, load_published, torchmetrics_tensors

#: The smallest side that all five layers of AlexNet take.
SMALLEST_SIDE = 31

# AlexNet's convolutions: place in torchvision's ``features``, stride, padding, whether a 3x3 maximum comes before it.
_LAYERS = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
# Mean and deviation of the training pictures, for pictures in -1..1.
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Lpips:
    """LPIPS of given weights.

    ``alexnet`` is a state dict of torchvision's AlexNet, ``linear`` the five weightings of LPIPS, "lin0.model.1.weight"
    to "lin4.model.1.weight".
    """

    def __init__(self, alexnet: Tensors, linear: Tensors) -> None:
        self._layers = [
            (alexnet[f"features.{place}.weight"], alexnet[f"features.{place}.bias"], stride, padding, pooled)
            for place, stride, padding, pooled in _LAYERS
        ]
        self._linear = [linear[f"lin{index}.model.1.weight"] for index in range(len(_LAYERS))]

    @torch.inference_mode()
    def distances(self, originals: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return LPIPS of n pairs, (n,); both are (n, H, W, 3) uint8 RGB with sides of at least 31 pixels."""
        x, y = _network_input(originals), _network_input(decoded)
        total = torch.zeros(len(x))
        for (weight, bias, stride, padding, pooled), linear in zip(self._layers, self._linear, strict=True):
            if pooled:
                x, y = F.max_pool2d(x, 3, 2), F.max_pool2d(y, 3, 2)
            x, y = (F.relu(F.conv2d(z, weight, bias, stride, padding)) for z in (x, y))
            total += F.conv2d((_normalised(x) - _normalised(y)) ** 2, linear).mean(dim=(1, 2, 3))
        return total.double().numpy()


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> dict[str, NDArray[np.float64]]:
    """Return LPIPS per picture, (1, N) float64; 0 is best.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 sRGB. NaN where a side is below 31 pixels. ``masks`` change
    nothing. Raises WeightsError without AlexNet's weights.
    """
    network = _network()
    count, height, width, _ = originals.shape
    values = np.full((1, count), np.nan)
    if min(height, width) >= SMALLEST_SIDE:
        for part in parts(originals, 1 << 17):
            values[0, part] = network.distances(originals[part], decoded[part])
    return {"LPIPS": values}


@lru_cache
def _network() -> Lpips:
    return Lpips(load_published(ALEXNET), torchmetrics_tensors("lpips_models/alex.pth"))


def _network_input(pictures: NDArray[np.uint8]) -> torch.Tensor:
    values = pictures.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1
    mean, deviation = (np.array(v, np.float32)[:, None, None] for v in (_MEAN, _DEVIATION))
    return torch.from_numpy((values - mean) / deviation)


def _normalised(features: torch.Tensor) -> torch.Tensor:
    """Return features (n, c, h, w) with vectors over c of length 1."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
