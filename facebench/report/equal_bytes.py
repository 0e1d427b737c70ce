"""The equal-bytes tables, and in words which learned codecs beat the baseline, where, and by how much."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import BUDGETS, value_at
from facebench.analysis.significance import Comparison, compare_at
from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.report.text import NONE, byte_count, counted, markdown_table, number

#: How reports name a mask variant.
WHERE = {WHOLE: "whole pictures", FACE: "the face"}
#: Follows what is said of a curve of :func:`leaking_curves`.
LEAK = " Its training data overlap the scored split: not a fair score."


def equal_bytes_sections(summary: Summary, points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables at equal bytes with their verdicts, whole pictures then face, as paragraphs.

    ``points`` are the manifest's entries.
    """
    leaks = leaking_curves(points)
    paragraphs = []
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        paragraphs.append(f"### {summary.ranked_by} over {WHERE[mask]}")
        paragraphs.append(_table(summary, mask))
        if verdicts := learned_verdicts(summary, mask, leaks):
            paragraphs.append("\n".join(f"- {verdict}" for verdict in verdicts))
    paragraphs.append(
        f"Interpolated linearly in log bytes between a codec's own operating points; {NONE} outside them, "
        "never extrapolated; bold: the best of a column. Points with failed pictures are on no curve. "
        "Brackets: 95 % bootstrap interval of the paired difference, over identities (pictures where unknown)."
    )
    return paragraphs


def _table(summary: Summary, mask: str) -> str:
    curves = summary.curves(summary.ranked_by, mask)
    values = {name: [value_at(curve, size).value for size in BUDGETS] for name, curve in curves.items()}
    better = max if summary.higher_is_better(summary.ranked_by) else min
    best = [better((v for v in column if v is not None), default=None) for column in zip(*values.values(), strict=True)]
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    rows = []
    for name, row in values.items():
        cells = [
            f"**{number(value, unit)}**" if value is not None and value == top else number(value, unit)
            for value, top in zip(row, best, strict=True)
        ]
        rows.append([name, *cells, _extent(curves[name])])
    headers = ["curve", *(f"{size:,} B" for size in BUDGETS), "measured from, to"]
    return markdown_table(headers, rows, left=(0, len(headers) - 1))


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
    for comparison in found:
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
