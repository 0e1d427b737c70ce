"""SSIM (Wang et al. 2004) and MS-SSIM (Wang et al. 2003) over whole pictures and over faces, in one pass.

The two pictures x and y enter only as s = x + y and d = x - y. Four window means, of s, d, s^2 and d^2, are enough:
with their variances V, SSIM = l * cs where

    l  = (mean_s^2 - mean_d^2 + 2 C1) / (mean_s^2 + mean_d^2 + 2 C1)
    cs = (V_s - V_d + 2 C2) / (V_s + V_d + 2 C2)

One filtering fewer than x, y, x^2, y^2, xy need; halving the pictures commutes with sum and difference; and identical
pictures (d = 0) score exactly 1. All masks and both metrics share the maps.

Maps are float32. Against float64 SSIM is within 1e-6 and MS-SSIM within 5e-6: measured on real faces (both within
5e-7) and on flat, black and white, noisy and nearly identical pictures, and held by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench.metrics.batches import Masks, Pictures, Scratch, check_batch, chunks
from facebench.metrics.gaussian import MARGIN, WINDOW, valid_spans, window_means

#: Weights of the scales, from the finest (Wang et al. 2003, as rounded in every implementation).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# Twice C1 and C2 for pictures in 0..255.
_TWICE_C1 = np.float32(2 * (0.01 * 255) ** 2)
_TWICE_C2 = np.float32(2 * (0.03 * 255) ** 2)
# Bytes of pixels a chunk works on: measured fastest, as smaller ones pay for more calls and larger ones for memory.
_BUDGET = 1 << 21

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def scale_count(height: int, width: int) -> int:
    """Return the number of MS-SSIM scales, at most 5, at which the window fits; 0 if it fits at none."""
    side = min(height, width)
    return sum(side >> scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))


def scale_weights(scales: int) -> Float64:
    """Return the weights of the ``scales`` finest scales, renormalised to sum 1."""
    weights = np.array(SCALE_WEIGHTS[:scales])
    return np.asarray(weights / weights.sum(), np.float64)


def score(originals: Pictures, decoded: Pictures, masks: Masks | None) -> dict[str, Float64]:
    """Return 1-SSIM and 1-MS-SSIM per picture, each (1, N) float64, or (2, N) with masks (row 1: the face).

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 RGB, ``masks`` (N, H, W) bool or None. 1-SSIM is in [0, 2],
    1-MS-SSIM in [0, 1]; 0 is best. NaN where a side is below 11 pixels and, in row 1, where no window centre is
    face. Raises ValueError on other shapes.
    """
    check_batch(originals, decoded, masks)
    count, height, width, _ = originals.shape
    ssim = np.full((1 if masks is None else 2, count), np.nan)
    ms_ssim = ssim.copy()
    scales = scale_count(height, width)
    if scales:
        scratch = Scratch()
        for part in chunks(originals, 24, _BUDGET):
            faces = None if masks is None else masks[part]
            ssim[:, part], ms_ssim[:, part] = _similarities(originals[part], decoded[part], faces, scales, scratch)
    return {"1-SSIM": 1.0 - ssim, "1-MS-SSIM": 1.0 - ms_ssim}


@dataclass(frozen=True)
class _Scale:
    """The pictures of a chunk at one scale.

    ``values`` (H, 2, n, 3, W) float32 holds x + y and x - y (0..510, -255..255) less ``centres`` (2, n, 3, 1), about
    their means per picture and channel: variances are small differences of squares, so squares are kept small.
    ``face`` (H, n, W) float32 in [0, 1], or None, is the part of each pixel that is face.
    """

    values: Float32
    centres: Float32
    face: Float32 | None

    def halved(self, scratch: Scratch) -> _Scale:
        """Return the next scale: averages of 2 x 2 pixels, an odd last row or column left out."""
        face = None if self.face is None else _halved(self.face, "face", scratch)
        return _Scale(_halved(self.values, "values", scratch), self.centres, face)


def _halved(array: Float32, name: str, scratch: Scratch) -> Float32:
    """Average pairs along the first and the last axis."""
    height, *planes, width = array.shape[0] // 2, *array.shape[1:-1], array.shape[-1] // 2
    rows = scratch.array("pairs of rows", (height, *array.shape[1:]))
    np.add(array[0 : 2 * height : 2], array[1 : 2 * height : 2], out=rows)
    halved = scratch.array(f"{name} {height} high", (height, *planes, width))
    np.add(rows[..., 0 : 2 * width : 2], rows[..., 1 : 2 * width : 2], out=halved)
    halved *= np.float32(0.25)
    return halved


def _finest_scale(originals: Pictures, decoded: Pictures, masks: Masks | None, scratch: Scratch) -> _Scale:
    count, height, width, _ = originals.shape
    values = scratch.array("values", (height, 2, count, 3, width))
    # Channels apart and rows outermost: then the filter sees one wide picture, and maps are long contiguous lines.
    x, y = (scratch.array(name, (height, count, 3, width)) for name in ("x", "y"))
    x[:] = originals.transpose(1, 0, 3, 2)
    y[:] = decoded.transpose(1, 0, 3, 2)
    np.add(x, y, out=values[:, 0])
    np.subtract(x, y, out=values[:, 1])
    # Rounded, so that the values stay integers and their squares exact.
    centres = np.rint(values[::4].mean(axis=(0, 4), keepdims=True))
    values -= centres
    face = None
    if masks is not None:
        face = scratch.array("face", (height, count, width))
        face[:] = masks.transpose(1, 0, 2)
    return _Scale(values, centres[0], face)


def _similarities(
    originals: Pictures, decoded: Pictures, masks: Masks | None, scales: int, scratch: Scratch
) -> tuple[Float64, Float64]:
    """Return SSIM and MS-SSIM of a chunk of n pictures, (1, n) or with masks (2, n)."""
    scale = _finest_scale(originals, decoded, masks, scratch)
    ssim, product = None, None
    for index, weight in enumerate(scale_weights(scales)):
        if index:
            scale = scale.halved(scratch)
        last = index == scales - 1
        similarity, structure = _means(scale, scratch, similarity=last or index == 0, structure=not last)
        if ssim is None:
            ssim = similarity
        # A negative mean has no real power; it counts as no likeness at all.
        factor = np.maximum(similarity if last else structure, 0.0) ** weight
        product = factor if product is None else product * factor
    assert ssim is not None and product is not None  # There is at least one scale.
    return ssim.mean(axis=-1), product.mean(axis=-1)


def _means(scale: _Scale, scratch: Scratch, *, similarity: bool, structure: bool) -> tuple[Float64, Float64]:
    """Return the means of the SSIM map and of its contrast-structure part cs: (variants, n, 3) each.

    Variants are the whole picture and, if there are masks, the face. One that was not asked for is zero.
    """
    height, _, count, _, width = scale.values.shape
    variants = 1 if scale.face is None else 2
    sums = np.zeros((2, variants, count, 3))
    areas = np.full((variants, count), float((height - WINDOW + 1) * (width - WINDOW + 1)))
    centres = None
    if scale.face is not None:
        centres = scale.face[MARGIN : height - MARGIN, :, MARGIN : width - MARGIN]
        areas[1] = centres.sum(axis=(0, 2), dtype=np.float64)
    for start, stop in valid_spans(height):
        weights = None if centres is None else centres[start:stop]
        mean, variance = _moments(scale.values[start : stop + WINDOW - 1], scratch)
        cs = _ratio(variance, _TWICE_C2, scratch.array("cs", variance[:, 0].shape))
        if structure:
            sums[1] += _sums(cs, weights)
        if similarity:
            mean += scale.centres
            mean *= mean
            cs *= _ratio(mean, _TWICE_C1, scratch.array("l", cs.shape))
            sums[0] += _sums(cs, weights)
    with np.errstate(invalid="ignore"):
        means = sums / areas[..., np.newaxis]
    return means[0], means[1]


def _moments(values: Float32, scratch: Scratch) -> tuple[Float32, Float32]:
    """Return mean and variance in the windows of a strip of rows.

    ``values`` is (h + 10, 2, n, 3, W), each result (h, 2, n, 3, W); its first and last 5 columns mean nothing.
    """
    mean = window_means(values, scratch.array("mean", values.shape))
    squares = scratch.array("squares", values.shape)
    np.multiply(values, values, out=squares)
    variance = window_means(squares, scratch.array("variance", values.shape))
    squares = squares[: len(mean)]
    np.multiply(mean, mean, out=squares)
    variance -= squares
    return mean, variance


def _ratio(terms: Float32, constant: np.float32, out: Float32) -> Float32:
    """Return (s - d + constant) / (s + d + constant) of ``terms`` (h, 2, n, 3, W), which it overwrites, in ``out``."""
    s, d = terms[:, 0], terms[:, 1]
    s += constant
    np.subtract(s, d, out=out)
    s += d
    out /= s
    return out


def _sums(values: Float32, weights: Float32 | None) -> Float64:
    """Return sums of a map (h, n, 3, W) over its inner columns, plain and weighted (h, n, W - 10): (1 or 2, n, 3)."""
    inner = values[..., MARGIN : values.shape[-1] - MARGIN]
    sums: list[Float32] = [np.einsum("hncw->nc", inner)]
    if weights is not None:
        sums.append(np.einsum("hncw,hnw->nc", inner, weights))
    return np.array(sums, np.float64)
