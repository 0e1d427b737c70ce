"""The leaderboard's table of BD-rates against the baseline, and BD figures as reports print them."""

from __future__ import annotations

import math

from facebench.analysis.bd_rate import LEAST_POINTS, BdReading, ResampledPair, bd_rate, scale_of
from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.report.equal_bytes import WHERE
from facebench.report.text import NONE, Footnotes, markdown_table, number

#: Beside the ranking metric, where a run has it: what most papers give BD-rates on.
_USUAL = "PSNR"


def bd_rate_section(summary: Summary) -> list[str]:
    """Return the table of every curve's BD-rate against the baseline, with heading and footnotes, as paragraphs.

    Empty for a run without a baseline, or with nothing else.
    """
    baseline = summary.baseline_curve
    names = [name for name in summary.curves(summary.ranked_by) if name != baseline]
    if baseline is None or not names:
        return []
    metrics = list(dict.fromkeys([summary.ranked_by, *([_USUAL] if _USUAL in summary.metrics else [])]))
    masks = (WHOLE, FACE) if summary.has_masks else (WHOLE,)
    kinds = [(metric, mask) for metric in metrics for mask in masks]
    notes, rows = Footnotes(), []
    for name in names:
        readings = [_against(summary, name, baseline, metric, mask) for metric, mask in kinds]
        unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
        rows.append([name, *(_cell(reading, notes) for reading in readings), shown_range(readings[0], unit)])
    headers = ["curve", *(f"{metric}, {WHERE[mask]}" for metric, mask in kinds)]
    headers.append(f"over {summary.ranked_by}, {WHERE[WHOLE]}")
    paragraphs = [f"## BD-rate against {baseline}", markdown_table(headers, rows)]
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    paragraphs.append(
        f"Bytes that a curve takes more (+) or less (-) than {baseline} for the same quality, in per cent, on average "
        "over the qualities that both reach (last column; another one for each column): Bjontegaard's delta rate with "
        f"PCHIP, from {LEAST_POINTS} points on. Brackets: 95 % bootstrap interval over identities (pictures where "
        "unknown)."
    )
    return paragraphs


def _against(summary: Summary, name: str, baseline: str, metric: str, mask: str) -> BdReading:
    curves = summary.curves(metric, mask)
    return bd_rate(
        curves[name],
        curves[baseline],
        scale_of(metric, higher_is_better=summary.higher_is_better(metric)),
        resampled=ResampledPair.of(summary, curves[name], curves[baseline], metric, mask),
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
