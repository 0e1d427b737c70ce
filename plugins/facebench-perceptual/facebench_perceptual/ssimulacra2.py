"""SSIMULACRA 2.1 (Sneyers 2022, tuned again in April 2023), as the program ``ssimulacra2`` of libjxl 0.11 computes it.

Both pictures are compared at up to six scales, halved in linear light, in the colour space XYB, each channel brought
to about 0..1. Every scale and channel has three error maps: of structure (SSIM without its luminance denominator), of
edges that only the decoded picture has, and of edges that only the original has. Two norms of each map, the mean and
the 4-norm, are weighted and summed, and the sum is mapped to a score.

The Python package of that name takes one scale fewer below 225 pixels and has another blur, which makes tens of points
at 64x64; so the published definition is written out here, for whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d  # type: ignore[import-untyped]

from facebench_perceptual.batches import parts

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: The most scales, and the side in pixels below which a scale is the last one.
SCALES, SMALLEST_SIDE = 6, 8
#: Standard deviation of the blur, in pixels of the scale.
SIGMA = 1.5

# Linear sRGB to the responses of the eye's three cones, and what is added to them (the Opsin absorbance of JPEG XL).
_CONES = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.55180986650955360],
    ],
    np.float32,
)
_BIAS = np.float32(0.0037930732552754493)
# X = (L - M) / 2, Y = (L + M) / 2 and B - Y of the cones' cube roots, X times 14; then shifted to be positive.
_OPPONENTS = np.array([[7.0, -7.0, 0.0], [0.5, 0.5, 0.0], [-0.5, -0.5, 1.0]], np.float32)
_SHIFTS = np.array([0.42, 0.01, 0.55], np.float32)
_C2 = np.float32(0.0009)

# The published weights: a row per channel (X, Y, B - Y) and scale from the finest; in it the mean and then the 4-norm,
# each of structure, new edges and lost edges.
# fmt: off
_WEIGHTS = (
    0, 0.0007376606707406586, 0, 0, 0.0007793481682867309, 0,
    0, 0.0004371155730107379, 0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0, 0.0016406437456599754, 0, 1.8422455520539298, 11.441172603757666, 0,
    0.0007989109436015163, 0.000176816438078653, 0, 1.8787594979546387, 10.94906990605142, 0,
    0.0007289346991508072, 0.9677937080626833, 0, 0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0, 0, 0.0013648766163243398, 0, 0,
    0, 0, 0, 7.466890328078848, 0, 17.445833984131262,
    0.0006235601634041466, 0, 0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0, 0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0, 0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0, 0, 0, 34.77906344483772, 44.835625328877896, 0,
    0, 0, 0, 0, 0, 0,
    0, 0.0008680556573291698, 0, 0, 0, 0,
    0, 0.0005313191874358747, 0, 0.00016533814161379112, 0, 0,
    0, 0, 0, 0.0004179171803251336, 0.0017290828234722833, 0,
    0.0020827005846636437, 0, 0, 8.826982764996862, 23.19243343998926, 0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353,
    0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
    0, 0, 0, 0.0005130064588990679, 0, 0.00010854057858411537,
)
# fmt: on


def scale_count(height: int, width: int) -> int:
    """Return the number of scales, at most 6: halving, sides rounded up, goes on while both are 8 or more."""
    scales = 0
    while scales < SCALES and min(height, width) >= SMALLEST_SIDE:
        scales += 1
        if scales > 1:
            height, width = -(-height // 2), -(-width // 2)
    return scales


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> dict[str, Float64]:
    """Return SSIMULACRA 2 per picture, as the program weights it and with every scale's own weights.

    Each is (1, N) float64, 100 for equal pictures, below 0 for very bad ones; the two differ below 113 pixels only.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 sRGB. NaN where a side is below 8 pixels. ``masks`` change
    nothing: the weights were tuned on scores of whole pictures.
    """
    count, height, width, _ = originals.shape
    scales = scale_count(height, width)
    scores = np.full((2, count), np.nan)
    if scales:
        # Pictures at a time: their planes stay in the processor's cache.
        for part in parts(originals, 1 << 16):
            scores[:, part] = _scores(originals[part], decoded[part], scales)
    return {"SSIMULACRA2": scores[:1], "SSIMULACRA2-aligned": scores[1:]}


def _scores(originals: NDArray[np.uint8], decoded: NDArray[np.uint8], scales: int) -> Float64:
    """Return the two scores of n pictures at ``scales`` scales, (2, n)."""
    pairs = zip(_pyramid(originals, scales), _pyramid(decoded, scales), strict=True)
    norms = np.stack([_norms(x, y) for x, y in pairs], axis=2).reshape(len(originals), -1)
    weights = np.array(_WEIGHTS)
    # The program goes through channels, scales and maps and takes one weight after the other. With fewer than six
    # scales the second and third channel thus get weights of coarser scales of the channel before.
    in_turn = weights[: 18 * scales]
    aligned = weights.reshape(3, SCALES, 6)[:, :scales].ravel()
    total = norms @ np.stack([in_turn, aligned], axis=1) * 0.9562382616834844
    total = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return np.asarray(100.0 - 10.0 * np.maximum(total.T, 0.0) ** 0.6276336467831387, np.float64)


def _pyramid(pictures: NDArray[np.uint8], scales: int) -> Iterator[Float32]:
    """Yield n pictures at each scale from the finest, in XYB: (n, 3, h, w), about 0..1."""
    linear = _linear_values()[np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))]
    for scale in range(scales):
        if scale:
            linear = _halved(linear)
        yield _xyb(linear)


@lru_cache
def _linear_values() -> Float32:
    """Return the linear light, 0..1, of the sRGB values 0..255."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _halved(planes: Float32) -> Float32:
    """Return the averages of 2 x 2 pixels of (..., h, w); an odd last row or column is taken twice."""
    height, width = planes.shape[-2:]
    if height % 2 or width % 2:
        planes = np.pad(planes, [(0, 0), (0, 0), (0, height % 2), (0, width % 2)], mode="edge")
    rows = planes[..., 0::2, :] + planes[..., 1::2, :]
    return np.asarray((rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25), np.float32)


def _xyb(linear: Float32) -> Float32:
    """Return linear light, (n, 3, h, w), as X, Y and B - Y, each about 0..1."""
    count, _, height, width = linear.shape
    cones = np.cbrt(np.maximum(_CONES @ linear.reshape(count, 3, -1) + _BIAS, 0)) - np.cbrt(_BIAS)
    return np.asarray(_OPPONENTS @ cones + _SHIFTS[:, None], np.float32).reshape(count, 3, height, width)


def _norms(x: Float32, y: Float32) -> Float64:
    """Return mean and 4-norm of the three error maps of ``y`` against ``x``, both (n, 3, h, w): (n, 3, 2, 3)."""
    x_mean, y_mean = _blurred(x), _blurred(y)
    difference = x_mean - y_mean
    # One minus the structure's likeness, of which nothing must be left where the pictures are equal: so the variances
    # less twice the covariance are taken as one variance, of x - y.
    error = _blurred((x - y) ** 2) - difference * difference
    variances = _blurred(x * x + y * y) - x_mean * x_mean - y_mean * y_mean
    structure = (error + difference * difference * (variances - error + _C2)) / (variances + _C2)
    edges = (1 + np.abs(y - y_mean)) / (1 + np.abs(x - x_mean)) - 1
    norms = np.empty((*x.shape[:2], 2, 3))
    for index, errors in enumerate((structure, edges, -edges)):
        errors = np.maximum(errors, 0)
        norms[..., 0, index] = errors.mean(axis=(2, 3), dtype=np.float64)
        errors *= errors
        errors *= errors
        norms[..., 1, index] = errors.mean(axis=(2, 3), dtype=np.float64) ** 0.25
    return norms


def _blurred(planes: Float32) -> Float32:
    """Return (..., h, w) blurred, with zeros outside the picture."""
    kernel = _kernel()
    rows = correlate1d(planes, kernel, axis=-1, mode="constant")
    return np.asarray(correlate1d(rows, kernel, axis=-2, mode="constant"), np.float32)


@lru_cache
def _kernel() -> Float64:
    """Return the blur's 9 taps: the recursive Gaussian by three truncated cosines (Charalampidis 2016), written out.

    Its response is a sum of cosines of odd multiples of pi / (2 * radius) within the radius, where they reach 0. Their
    amplitudes are such that the taps sum to 1, have the variance of the Gaussian, and, of the rest, come closest to it.
    """
    radius = round(3.2795 * SIGMA + 0.2546)
    odd = np.array([1, 3, 5])
    omega = odd * np.pi / (2 * radius)
    signs = np.array([1, -1, 1])
    sums = signs / np.tan(omega / 2)
    moments = signs * sums**2 / np.sin(omega)
    target = np.exp(-0.5 * SIGMA**2 * omega**2) / radius
    # The direction in which neither the sum nor the second moment changes.
    free = np.cross(sums, moments)
    free = free / free[2]
    amplitudes = np.linalg.solve(np.stack([sums, moments, free]), [1.0, radius**2 - SIGMA**2, free @ target])
    places = np.arange(1 - radius, radius)
    return np.asarray(np.cos(np.outer(places, omega)) @ amplitudes, np.float64)
