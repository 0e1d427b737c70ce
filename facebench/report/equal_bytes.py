"""Who is better at equal bytes: tables with ranks, and in words which learned codecs beat the baseline, and where."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import BUDGETS
from facebench.analysis.ranking import Place, RankingAt, codec_order, ranking_at
from facebench.analysis.significance import Comparison, compare_at, corrected
from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.report.text import NONE, Footnotes, byte_count, counted, folded, folded_away, markdown_table, number

#: How reports name a mask variant.
WHERE = {WHOLE: "whole pictures", FACE: "the face"}
#: Follows what is said of a curve of :func:`leaking_curves`.
LEAK = " Its training data overlap the scored split: not a fair score."


def equal_bytes_sections(summary: Summary, points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return who is better at equal bytes, with verdicts, whole pictures then face, as paragraphs.

    Each codec's best curve first, then all curves. ``points`` are the manifest's entries.
    """
    leaks = leaking_curves(points)
    paragraphs = []
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        rankings = [ranking_at(summary, summary.ranked_by, mask, size) for size in BUDGETS]
        if table := _codecs_table(summary, summary.ranked_by, rankings, leaks):
            paragraphs += [f"### Who is better at how many bytes, over {WHERE[mask]}", *table]
        paragraphs.append(f"### {summary.ranked_by} over {WHERE[mask]}")
        paragraphs += _curves_table(summary, mask, rankings, leaks)
        if verdicts := learned_verdicts(summary, mask, leaks):
            paragraphs.append("\n".join(f"- {verdict}" for verdict in verdicts))
    paragraphs.append(
        f"Interpolated linearly in log bytes between a codec's own operating points; {NONE} outside them, "
        "never extrapolated. Points with failed pictures are on no curve. Before a value stands its rank at that many "
        "bytes: 1 + the number of curves that are significantly better, after Holm's correction for all pairs of the "
        "column; = marks ties, bold the first. Of a codec's curves the one that scores best there stands for it. "
        "p-values and 95 % intervals (brackets; of paired differences) come from a bootstrap over identities (pictures "
        "where unknown). Verdicts are corrected by Holm for the sizes they name."
    )
    return paragraphs


def other_metrics_section(summary: Summary, points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return each codec's best curve at equal bytes in the metrics that nothing is ranked by, folded, as paragraphs."""
    leaks = leaking_curves(points)
    paragraphs = []
    for metric in summary.metrics:
        if metric != summary.ranked_by:
            rankings = [ranking_at(summary, metric, WHOLE, size) for size in BUDGETS]
            if table := _codecs_table(summary, metric, rankings, leaks):
                better = "higher" if summary.higher_is_better(metric) else "lower"
                paragraphs.append(folded_away("\n\n".join(table), f"{metric} ({better} is better)"))
    return ["### By the other metrics, over whole pictures", *paragraphs] if paragraphs else []


def _codecs_table(summary: Summary, metric: str, rankings: Sequence[RankingAt], leaks: Collection[str]) -> list[str]:
    """Return the table of each codec's best curve at each size, and its footnotes; nothing for fewer than two codecs.

    Codecs stand in :func:`codec_order`.
    """
    codecs = codec_order(rankings)
    if len(codecs) < 2:
        return []
    notes, rows = Footnotes(), []
    for codec in codecs:
        cells = []
        for place in (ranking.codecs.get(codec) for ranking in rankings):
            name = place.curve.name if place else codec
            remark = ("" if name == codec else name) + (f":{LEAK}" if name in leaks else "")
            cells.append(
                _placed(summary, metric, place) + (notes.mark(remark.lstrip(": ")) if place and remark else "")
            )
        rows.append([codec, *cells])
    paragraphs = [markdown_table(["codec", *(f"{size:,} B" for size in BUDGETS)], rows)]
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    without = {curve.codec: None for curve in summary.curves(summary.ranked_by).values() if curve.codec not in codecs}
    return [*paragraphs, *([f"No value at any of these sizes: {', '.join(without)}."] if without else [])]


def _curves_table(summary: Summary, mask: str, rankings: Sequence[RankingAt], leaks: Collection[str]) -> list[str]:
    """Return the table of all curves in the run's order, folded if it is long, and its footnote."""
    notes, rows = Footnotes(), []
    for name, curve in summary.curves(summary.ranked_by, mask).items():
        marks = notes.mark(LEAK.strip()) if name in leaks else ""
        cells = [_placed(summary, summary.ranked_by, ranking.curves.get(name)) for ranking in rankings]
        rows.append([name + marks, *cells, _extent(curve)])
    headers = ["curve", *(f"{size:,} B" for size in BUDGETS), "measured from, to"]
    table = markdown_table(headers, rows, left=(0, len(headers) - 1))
    return [folded(table, f"{len(rows)} curves"), *notes.lines()]


def _placed(summary: Summary, metric: str, place: Place | None) -> str:
    """Return the rank and the value: ``2= 0.0692``, ``3. 0.0823``; a dash for None."""
    if place is None:
        return NONE
    value = number(place.value, str(summary.metrics[metric].get("unit") or ""))
    text = f"{place.rank}{'=' if place.shared else '.'} {value}"
    return f"**{text}**" if place.rank == 1 else text


def _extent(curve: Curve) -> str:
    if not curve.span:
        return f"no curve: {counted(len(curve.left_out), 'point')} left out"
    low, high = (byte_count(size) for size in curve.span)
    left_out = f", {len(curve.left_out)} left out" if curve.left_out else ""
    count = len(curve.points)
    return f"{low} B (1 point{left_out})" if count == 1 else f"{low} to {high} B ({count} points{left_out})"


def learned_verdicts(summary: Summary, mask: str, leaks: Collection[str] = ()) -> list[str]:
    """Return one sentence for each learned codec's curve (one with weights, not of the baseline codec).

    ``leaks`` names the curves whose training data overlap the scored split; their sentences say so.
    """
    curves = summary.curves(summary.ranked_by, mask)
    baseline = curves.get(summary.baseline_curve or "")
    if baseline is None:
        return []
    learned = {row.curve for row in summary.rows if row.weights_bytes > 0 and row.codec != baseline.codec}
    return [
        _verdict(summary, curve, baseline, mask) + (LEAK if name in leaks else "")
        for name, curve in curves.items()
        if name in learned
    ]


def leaking_curves(points: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the curves of the points (manifest entries) whose training data overlap the scored split."""
    return {about["curve"] for about in points.values() if any((about.get("overlap") or {}).values())}


def _verdict(summary: Summary, curve: Curve, baseline: Curve, mask: str) -> str:
    if not curve.points:
        return f"**{curve.name}** cannot be judged: its points have failed pictures."
    where, metric = "at equal bytes", summary.ranked_by
    found = [c for c in (compare_at(summary, curve, baseline, metric, mask, size) for size in BUDGETS) if c]
    if not found:
        where = "at its own points' bytes"
        found = [c for c in (compare_at(summary, curve, baseline, metric, mask, p.bytes) for p in curve.points) if c]
    if not found:
        unit = str(summary.metrics[metric].get("unit") or "")
        return without_overlap(curve, baseline, unit, higher_is_better=summary.higher_is_better(metric)) + "."
    by_outcome: dict[str, list[Comparison]] = {"beats": [], "level": [], "loses": []}
    for comparison in corrected(found):
        by_outcome[comparison.outcome].append(comparison)
    said = [
        f"{verb} {', '.join(_figures(summary, c) for c in by_outcome[outcome])}"
        for outcome, verb in (
            ("beats", "beats it at"),
            ("level", "shows no clear difference at"),
            ("loses", "loses to it at"),
        )
        if by_outcome[outcome]
    ]
    return f"**{curve.name}** against {baseline.name}, {where}: {'; '.join(said)}."


def _figures(summary: Summary, comparison: Comparison) -> str:
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    text = f"{number(comparison.ours, unit)} against {number(comparison.theirs, unit)}"
    if not math.isnan(comparison.low):
        text += f", difference in [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    return f"{byte_count(comparison.size).removesuffix('.0')} bytes ({text})"


def without_overlap(curve: Curve, rival: Curve, unit: str, *, higher_is_better: bool) -> str:
    """Return the verdict where no number of bytes lies on both curves, without its full stop.

    ``curve`` loses if a point of ``rival`` is better than all of it in fewer bytes; nothing else can be told.
    """
    sentence = f"**{curve.name}** has no number of bytes in common with {rival.name}"
    best = (max if higher_is_better else min)(curve.points, key=lambda point: point.value)
    for theirs in rival.points:
        better = theirs.value > best.value if higher_is_better else theirs.value < best.value
        if better and theirs.bytes <= curve.points[0].bytes:
            return (
                f"{sentence}, and loses to it: {theirs.label} reaches {number(theirs.value, unit)} in "
                f"{byte_count(theirs.bytes)} bytes, {best.label} {number(best.value, unit)} in {byte_count(best.bytes)}"
            )
    return f"{sentence}: no verdict"
