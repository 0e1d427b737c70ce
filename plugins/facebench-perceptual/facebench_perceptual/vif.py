"""VIF in the pixel domain (Sheikh & Bovik 2006, and their ``vifp_mscale``), by torchmetrics.

How much of the information that the eye gets from the original is still in the decoded picture. At each of four scales
a window of 17, 9, 5, 3 pixels (Gaussian, sigma a fifth of that) gives local variances and covariance; only windows that
lie within the picture count, and before the second and each later scale the picture is filtered by that scale's window
and halved. So 64x64 pictures have 48x48, 20x20, 8x8 and 3x3 windows.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image.vif import visual_information_fidelity

from facebench_perceptual.batches import parts

#: The smallest side with a window at every scale.
SMALLEST_SIDE = 41
#: Variance of the eye's own noise, for pictures in 0..255: the authors' choice.
NOISE_VARIANCE = 2.0


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> dict[str, NDArray[np.float64]]:
    """Return 1-VIF per picture, (1, N) float64: 0 is best, 1 worst, below 0 for more contrast than the original's.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 RGB; VIF is the mean of the three channels'. NaN where a side
    is below 41 pixels, or where a channel of the original is flat, so that there is no information to lose. ``masks``
    change nothing: the windows of the coarse scales are larger than what of a face they would have to keep apart.
    """
    count, height, width, _ = originals.shape
    values = np.full((1, count), np.nan)
    if min(height, width) >= SMALLEST_SIDE:
        # Pictures at a time: measured fastest.
        for part in parts(originals, 1 << 16):
            values[0, part] = _vif(originals[part], decoded[part])
    return {"1-VIF": 1.0 - values}


def _vif(originals: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> NDArray[np.float64]:
    x, y = (pictures.transpose(0, 3, 1, 2).astype(np.float32) for pictures in (originals, decoded))
    # Adding a constant to both changes nothing but the rounding: variances are small differences of squares. Whole
    # numbers keep squares exact, and a flat channel exactly 0.
    centres = np.rint(x.mean(axis=(2, 3), keepdims=True))
    found = visual_information_fidelity(
        torch.from_numpy(y - centres), torch.from_numpy(x - centres), sigma_n_sq=NOISE_VARIANCE, reduction="none"
    )
    return found.double().numpy()
