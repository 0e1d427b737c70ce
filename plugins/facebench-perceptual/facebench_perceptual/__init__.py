"""Perceptual metrics. Only their descriptions are here: what computes them is imported on use."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import MetricColumn, MetricSpec, hookimpl

FACEBENCH_API = 1

_VIF = (
    "1 - VIF in the pixel domain (Sheikh & Bovik 2006, vifp_mscale): mean over R, G and B of VIF on 0..255, noise "
    "variance 2, four scales with Gaussian windows of 17, 9, 5 and 3 pixels (sigma a fifth), only windows within the "
    "picture. 0 is best. n/a below 41 pixels, where a channel of the original is flat, and for +Mask"
)
_SSIMULACRA2 = (
    "SSIMULACRA 2.1 as libjxl 0.11's program computes it; 100 is best, 90 visually lossless, 70 high, 50 medium, 30 "
    "low quality, below 0 very bad. At 113 pixels or more it has its six scales. Smaller pictures have fewer (five "
    "from 57, so at 64), and that program then gives the second and third channel weights that were tuned for other "
    "scales, so that the guide values do not hold. n/a below 8 pixels, and for +Mask"
)
_SSIMULACRA2_ALIGNED = (
    "SSIMULACRA2 with every scale's own weights: those of scales that a small picture lacks are left out, not passed "
    "on. The same number at 113 pixels or more. n/a below 8 pixels, and for +Mask"
)

_BUTTERAUGLI = (
    "Butteraugli's distance, the largest of the difference map, by libjxl 0.11's butteraugli_main at 80 nits. 0 is "
    "best, about 1 hard to see. n/a below 8 pixels, and for +Mask"
)
_BUTTERAUGLI_NORM = "as Butteraugli, the 3-norm of the difference map that the program prints"
_LPIPS = (
    "LPIPS v0.1 on AlexNet (Zhang et al. 2018) at the picture's own size, weights of torchvision's "
    "alexnet-owt-7be5be79.pth. 0 is best. n/a below 31 pixels, and for +Mask"
)
_DISTS = (
    "DISTS (Ding et al. 2020) at the picture's own size, weights of torchvision's vgg16-397923af.pth. 0 is best. n/a "
    "below 16 pixels, and for +Mask"
)


@hookimpl
def facebench_metrics() -> Iterable[MetricSpec]:
    """Return the perceptual families; each has to be asked for."""
    return [
        MetricSpec("vif", "facebench_perceptual.vif:score", (MetricColumn("1-VIF", 1, _VIF),), default=False),
        MetricSpec(
            "ssimulacra2",
            "facebench_perceptual.ssimulacra2:score",
            (
                MetricColumn("SSIMULACRA2", 1, _SSIMULACRA2, higher_is_better=True),
                MetricColumn("SSIMULACRA2-aligned", 1, _SSIMULACRA2_ALIGNED, higher_is_better=True),
            ),
            default=False,
        ),
        MetricSpec(
            "butteraugli",
            "facebench_perceptual.butteraugli:score",
            (
                MetricColumn("Butteraugli", 1, _BUTTERAUGLI),
                MetricColumn("Butteraugli-3norm", 1, _BUTTERAUGLI_NORM),
            ),
            default=False,
        ),
        MetricSpec("lpips", "facebench_perceptual.lpips:score", (MetricColumn("LPIPS", 1, _LPIPS),), default=False),
        MetricSpec("dists", "facebench_perceptual.dists:score", (MetricColumn("DISTS", 1, _DISTS),), default=False),
    ]
