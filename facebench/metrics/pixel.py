"""L1, L2 and PSNR between pictures in [0, 1], over all pixels and over the face; exact but for the last rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facebench.metrics.batches import Masks, Pictures, check_batch, chunks

#: PSNR in dB of pictures that are identical, or nearer than that.
PSNR_CAP = 100.0

# Bytes of pixels a chunk works on: measured fastest, as smaller ones pay for more calls and larger ones for memory.
_BUDGET = 1 << 21
# Values summed in float32 at a time: 256 squares of up to 255 stay below 2**24, up to where integers are exact.
_EXACT = 256


def score(originals: Pictures, decoded: Pictures, masks: Masks | None) -> dict[str, NDArray[np.float64]]:
    """Return L1, L2 and PSNR per picture, each (1, N) float64, or (2, N) with masks (row 1: face pixels only).

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 RGB, ``masks`` (N, H, W) bool or None. L1 and L2 are in
    [0, 1], PSNR in dB in [0, 100]. A picture without face pixels is NaN in row 1. Raises ValueError on other shapes.
    """
    check_batch(originals, decoded, masks)
    count, height, width, _ = originals.shape
    variants = 1 if masks is None else 2
    absolute = np.empty((variants, count))
    squared = np.empty((variants, count))
    values = np.full((variants, count), 3.0 * height * width)
    for part in chunks(originals, 15, _BUDGET):
        x, y = originals[part], decoded[part]
        difference = np.maximum(x, y) - np.minimum(x, y)
        absolute[0, part], squared[0, part] = _sums(difference)
        if masks is not None:
            face = masks[part]
            values[1, part] = 3.0 * np.count_nonzero(face, axis=(1, 2))
            absolute[1, part], squared[1, part] = _sums(difference * face[..., np.newaxis])
    with np.errstate(invalid="ignore", divide="ignore"):
        l1 = absolute / (255.0 * values)
        l2 = squared / (255.0**2 * values)
        psnr = np.minimum(-10.0 * np.log10(l2), PSNR_CAP)
    return {"L1": l1, "L2": l2, "PSNR": psnr}


def _sums(difference: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum and the sum of squares of each picture of ``difference`` (n, H, W, 3); both (n,), exact."""
    flat = difference.reshape(len(difference), -1)
    whole = flat.shape[1] // _EXACT * _EXACT
    runs = flat[:, :whole].reshape(len(flat), -1, _EXACT).astype(np.float32)
    rest = flat[:, whole:].astype(np.float32)
    sums = runs.sum(axis=2).sum(axis=1, dtype=np.float64) + rest.sum(axis=1)
    squares = np.einsum("nrv,nrv->nr", runs, runs).sum(axis=1, dtype=np.float64) + np.einsum("nv,nv->n", rest, rest)
    return sums, squares
