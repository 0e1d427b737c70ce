"""Picture quality metrics and measures of size; only their descriptions are here, nothing heavy is imported."""

from __future__ import annotations

from facebench.hookspecs import MetricColumn, MetricSpec

_SSIM = (
    "1 - SSIM of Wang et al. 2004: 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, peak 1, population "
    "variances; each of R, G, B by itself, mean over the windows that lie wholly inside the picture (no padding), "
    "then over R, G, B. +Mask: mean over the windows whose centre pixel is face (as Toledo & Antonelo 2021); at the "
    "mask's border they see background of both pictures, nothing is blanked or pasted. n/a if a side is below 11 "
    "pixels, +Mask also if no window centre is face"
)
_MS_SSIM = (
    "1 - MS-SSIM of Wang et al. 2003: for each of R, G, B the product over scales of max(m, 0)^w, m the mean over "
    "windows (as in 1-SSIM) of the contrast-structure term, at the coarsest scale of SSIM itself; then the mean over "
    "R, G, B. Scales: the largest n <= 5 with min(H, W) >> (n - 1) at least 11 (3 at 64, 4 at 128, 5 from 176); w: "
    "the n first of .0448 .2856 .3001 .2363 .1333 divided by their sum. Between scales averages of 2x2 pixels, an odd "
    "last row or column left out; no zero padding, which would raise the score. +Mask: the mask is averaged along, and "
    "its value at the centre weights each window. n/a if a side is below 11 pixels, +Mask also if at some scale no "
    "window centre is face"
)
_L1 = "mean absolute difference over pixels and R, G, B, pictures in [0, 1]; +Mask: over face pixels only"
_L2 = "mean squared difference over pixels and R, G, B, pictures in [0, 1]; +Mask: over face pixels only"
_PSNR = (
    "-10 log10(L2) of each picture, peak 1, at most 100 (identical pictures: 100); averaged in dB; +Mask: from L2 over "
    "face pixels only"
)

#: The built-in metrics: what is computed from the original and the decoded picture.
METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "structural",
        "facebench.metrics.structural:score",
        (MetricColumn("1-SSIM", 1, _SSIM), MetricColumn("1-MS-SSIM", 1, _MS_SSIM)),
    ),
    MetricSpec(
        "pixel",
        "facebench.metrics.pixel:score",
        (
            MetricColumn("L1", 1, _L1),
            MetricColumn("L2", 1, _L2),
            MetricColumn("PSNR", 1, _PSNR, higher_is_better=True, unit="dB"),
        ),
    ),
)

#: What is computed from the payload and the picture's size; the same with and without masks.
SIZE_COLUMNS: tuple[MetricColumn, ...] = (
    MetricColumn("bytes", 1, "bytes of the payload that decode is given, every header included", unit="bytes"),
    MetricColumn(
        "bpp",
        1,
        "bits per pixel: the codec's bits_per_image, which is never below 8 x payload bytes, divided by H x W",
        unit="bits/pixel",
    ),
    MetricColumn(
        "ratio",
        1,
        "compression ratio: raw 24-bit size, H x W x 3 bytes, divided by payload bytes",
        higher_is_better=True,
    ),
)
