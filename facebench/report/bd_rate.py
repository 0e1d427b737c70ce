"""The leaderboard's tables of BD-rates, and BD figures as reports print them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from facebench.analysis.bd_rate import LEAST_POINTS, BdReading, ResampledPair, bd_rate, scale_of
from facebench.analysis.curves import Curve
from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.report.equal_bytes import WHERE
from facebench.report.text import NONE, Footnotes, markdown_table, number

#: Beside the ranking metric, where a run has it: what most papers give BD-rates on.
_USUAL = "PSNR"
#: Curves that others are held against beside the baseline: the first that a run has. JPEG is the codec that everyone
#: knows; without the header that is the same in every file it begins at fewer bytes, so that more curves overlap it.
ANCHORS = ("jpeg:headerless=true", "jpeg")


def bd_rate_section(summary: Summary) -> list[str]:
    """Return every curve's BD-rate against each anchor, with headings and footnotes, as paragraphs.

    Anchors are the baseline and the first of :data:`ANCHORS` that the run has. Empty for a run without either, or with
    nothing else.
    """
    names = list(summary.curves(summary.ranked_by))
    usual = next((name for name in ANCHORS if name in names), None)
    anchors = dict.fromkeys(name for name in (summary.baseline_curve, usual) if name in names and len(names) > 1)
    paragraphs = [text for anchor in anchors if anchor for text in _against_anchor(summary, names, anchor)]
    if not paragraphs:
        return []
    return [
        *paragraphs,
        "Bytes that a curve takes more (+) or less (-) than the one it is held against for the same quality, in per "
        "cent, on average over the qualities that both reach (last column; another one for each column): Bjontegaard's "
        f"delta rate with PCHIP, from {LEAST_POINTS} points on. Brackets: 95 % bootstrap interval over identities "
        "(pictures where unknown).",
    ]


def _against_anchor(summary: Summary, names: Sequence[str], anchor: str) -> list[str]:
    metrics = list(dict.fromkeys([summary.ranked_by, *([_USUAL] if _USUAL in summary.metrics else [])]))
    masks = (WHOLE, FACE) if summary.has_masks else (WHOLE,)
    kinds = [(metric, mask) for metric in metrics for mask in masks]
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    curves = {kind: summary.curves(*kind) for kind in kinds}
    notes, rows = Footnotes(), []
    for name in names:
        if name != anchor:
            readings = [_against(summary, curves[kind][name], curves[kind][anchor], *kind) for kind in kinds]
            rows.append([name, *(_cell(reading, notes) for reading in readings), shown_range(readings[0], unit)])
    headers = ["curve", *(f"{metric}, {WHERE[mask]}" for metric, mask in kinds)]
    headers.append(f"over {summary.ranked_by}, {WHERE[WHOLE]}")
    paragraphs = [f"## BD-rate against {anchor}", markdown_table(headers, rows)]
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    return paragraphs


def _against(summary: Summary, curve: Curve, anchor: Curve, metric: str, mask: str) -> BdReading:
    return bd_rate(
        curve,
        anchor,
        scale_of(metric, higher_is_better=summary.higher_is_better(metric)),
        resampled=ResampledPair.of(summary, curve, anchor, metric, mask),
    )


def _cell(reading: BdReading, notes: Footnotes) -> str:
    if reading.value is None:
        return "n/a" + notes.mark(f"n/a: {reading.reason}")
    marks = notes.mark(dominated_note(reading)) if reading.dominated else ""
    return per_cent(reading.value, reading.low, reading.high) + marks


def per_cent(value: float, low: float, high: float) -> str:
    """Return a relative difference in bytes with its interval: ``-61.2 % [-62.0, -60.4]``."""
    text = f"{value:+.1f} %"
    return text if math.isnan(low) else f"{text} [{low:+.1f}, {high:+.1f}]"


def shown_range(reading: BdReading, unit: str) -> str:
    """Return the values of the metric that a BD-rate was averaged over, the worst first."""
    if reading.value is None:
        return NONE
    return " to ".join(number(value, unit) for value in reading.over)


def dominated_note(reading: BdReading) -> str:
    """Return the sentence that names the points which did not count."""
    return f"without {', '.join(reading.dominated)}: no better than a point of fewer bytes"
