"""All systems on one plot, and the bytes of each at the paper's quality: section 5."""

from __future__ import annotations

import numpy as np

from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.equal_bytes import bytes_at
from facebench.report.text import byte_count, markdown_table, weights_size
from facebench.study.evidence import Evidence
from facebench.study.papers import CVAE_QUALITY

_METRIC = "1-SSIM"


def bytes_at_quality(evidence: Evidence) -> dict[str, float]:
    """Return the bytes at which each curve reaches the paper's CVAE's 1-SSIM, fewest first; of those that do."""
    curves = evidence.systems.summary.curves(_METRIC)
    read = {name: bytes_at(curve, CVAE_QUALITY).value for name, curve in curves.items()}
    return dict(sorted(((name, value) for name, value in read.items() if value is not None), key=lambda pair: pair[1]))


def _mixture(evidence: Evidence) -> str:
    """Return what a mixture as the prior saves against the single Gaussian of its twin."""
    sizes = bytes_at_quality(evidence)
    if not {"gmmvae", "cvae"} <= sizes.keys():
        return "What gmmvae's mixture saves against cvae's single Gaussian was not measured: one has no reading."
    change = sizes["gmmvae"] / sizes["cvae"] - 1
    summary = evidence.systems.summary
    interval = ""
    if summary.resampled:
        curves = summary.curves(_METRIC)
        one, other = (summary.resampled_curve(curves[n], _METRIC).bytes_at(CVAE_QUALITY) for n in ("gmmvae", "cvae"))
        low, high = percentile_interval((one / other - 1)[:, None])
        interval = f" [{float(low[0]):+.1%}, {float(high[0]):+.1%}]"
    return (
        "gmmvae is cvae with a mixture of Gaussians as the prior that its latent is coded under; at this quality it "
        f"takes {change:+.1%}{interval} of cvae's bytes."
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
            "![rate-distortion curves](rate-distortion.svg)",
            f"Bytes per picture at the paper's CVAE quality, 1-SSIM {CVAE_QUALITY} over whole pictures, read off each "
            "curve between its own operating points (95 % interval over people):",
            markdown_table(["codec", "bytes", "decoder weights"], rows),
            _mixture(evidence),
            "Without a reading: " + "; ".join(reasons) + "." if reasons else "",
        )
    ).rstrip()
