"""All systems on one plot, and the bytes of each at the paper's quality: section 5."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from facebench.analysis.bd_rate import ResampledPair, bd_rate, scale_of
from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.equal_bytes import bytes_at
from facebench.analysis.summary import FACE, WHOLE
from facebench.report.bd_rate import per_cent
from facebench.report.plot import rate_distortion_svg
from facebench.report.text import NONE, byte_count, markdown_table, number, weights_size
from facebench.study.evidence import Evidence
from facebench.study.papers import CVAE_QUALITY

_METRIC = "1-SSIM"
#: The section's plots, of whole pictures and of faces.
PLOTS = {WHOLE: "rate-distortion.svg", FACE: "rate-distortion-face.svg"}


def draw_rates(evidence: Evidence, folder: Path) -> None:
    """Draw :data:`PLOTS` into ``folder``, as SVG and, beside each, PNG; raises as ``rate_distortion_svg``."""
    for mask, name in PLOTS.items():
        rate_distortion_svg(evidence.systems.run, _METRIC, folder / name, mask=mask)


def bytes_at_quality(evidence: Evidence) -> dict[str, float]:
    """Return the bytes at which each curve reaches the paper's CVAE's 1-SSIM, fewest first; of those that do."""
    curves = evidence.systems.summary.curves(_METRIC)
    read = {name: bytes_at(curve, CVAE_QUALITY).value for name, curve in curves.items()}
    return dict(sorted(((name, value) for name, value in read.items() if value is not None), key=lambda pair: pair[1]))


def _mixture(evidence: Evidence) -> str:
    """Return what a mixture as the prior saves against the single Gaussian of its twin."""
    summary, sizes = evidence.systems.summary, bytes_at_quality(evidence)
    curves = summary.curves(_METRIC)
    if not {"gmmvae", "cvae"} <= sizes.keys():
        return "What gmmvae's mixture saves against cvae's single Gaussian was not measured: one has no reading."
    one, other = curves["gmmvae"], curves["cvae"]
    change, low, high = 100 * (sizes["gmmvae"] / sizes["cvae"] - 1), math.nan, math.nan
    pair = ResampledPair.of(summary, one, other, _METRIC, WHOLE)
    if pair:
        ratios = pair.curve.bytes_at(CVAE_QUALITY) / pair.reference.bytes_at(CVAE_QUALITY)
        low, high = (float(end[0]) for end in percentile_interval(100 * (ratios - 1)[:, None]))
    reading = bd_rate(one, other, scale_of(_METRIC, higher_is_better=False), resampled=pair)
    whole = (
        f"over all qualities that both reach {per_cent(reading.value, reading.low, reading.high)} (BD-rate)"
        if reading.value is not None
        else f"without a BD-rate, as {reading.reason}"
    )
    return (
        "gmmvae is cvae with a mixture of Gaussians as the prior that its latent is trained and coded under. Bytes "
        f"against cvae's at this quality: {per_cent(change, low, high)}; {whole}. At their finest steps "
        f"it has {number(one.points[-1].value)} in {byte_count(one.points[-1].bytes)} bytes, cvae "
        f"{number(other.points[-1].value)} in {byte_count(other.points[-1].bytes)}."
    )


def rates_section(evidence: Evidence) -> str:
    """Return the section: the table of bytes at equal quality, with the reasons of those that have none."""
    summary = evidence.systems.summary
    curves = summary.curves(_METRIC)
    weights = {row.curve: row.weights_bytes for row in summary.rows}
    rows = []
    for name, size in bytes_at_quality(evidence).items():
        cells = [name, byte_count(size)]
        if summary.resampled:
            low, high = percentile_interval(
                np.asarray(summary.resampled_curve(curves[name], _METRIC).bytes_at(CVAE_QUALITY))[:, None]
            )
            cells[1] += f" [{byte_count(float(low[0]))}, {byte_count(float(high[0]))}]"
        rows.append([*cells, weights_size(weights[name])])
    reasons = [reading.reason for curve in curves.values() if (reading := bytes_at(curve, CVAE_QUALITY)).value is None]
    return "\n\n".join(
        (
            f"![rate-distortion curves]({PLOTS[WHOLE]})",
            f"Bytes per picture at the paper's CVAE quality, 1-SSIM {CVAE_QUALITY} over whole pictures, read off each "
            "curve between its own operating points (95 % interval over people). `facet` is facebench's own learned "
            f"codec, `eigenfaces` PCA with an entropy coder; {NONE}: the decoder needs no weights.",
            markdown_table(["codec", "bytes", "decoder weights"], rows),
            _mixture(evidence),
            *(["Without a reading: " + "; ".join(reasons) + "."] if reasons else []),
            "Codecs trained with masks, `cvae-mask`, `dcgan-mask`, `maskvae` (its h1) and its other odd ones, compare "
            "with the rest over the face only:",
            f"![rate-distortion curves over the face]({PLOTS[FACE]})",
        )
    )
