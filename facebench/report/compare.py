"""Two curves against each other as markdown and JSON: the verdict in words, then the tables it rests on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from facebench.analysis.bd_rate import BdReading, scale_of
from facebench.analysis.comparison import AtBytes, CurveComparison
from facebench.analysis.equal_bytes import Reading
from facebench.analysis.significance import Comparison
from facebench.report.bd_rate import dominated_note, per_cent, shown_range
from facebench.report.equal_bytes import LEAK, WHERE, leaking_curves, without_overlap
from facebench.report.leaderboard import data_lines
from facebench.report.text import NONE, Footnotes, byte_count, markdown_table, number

#: What a table calls an outcome.
_OUTCOMES = {"beats": "better", "loses": "worse", "level": "no clear difference", "": NONE}


def comparison_markdown(comparison: CurveComparison) -> str:
    """Return the comparison as markdown: the verdict, the tables at equal bytes and at equal quality, notes."""
    c, manifest = comparison, comparison.run.manifest
    notes = Footnotes()
    paragraphs = [_verdict(c)]
    paragraphs += data_lines(manifest)
    better = "higher" if c.higher_is_better else "lower"
    paragraphs.append(f"{c.metric} over {WHERE[c.mask]} at equal bytes ({better} is better):")
    paragraphs.append(_bytes_table(c, notes))
    if c.at_quality:
        paragraphs.append(f"Bytes for the same {c.metric}:")
        paragraphs.append(_quality_table(c, notes))
    if c.bd_metric.value is not None:
        paragraphs.append(_bd_metric_line(c))
    if c.bd_rate.dominated:
        paragraphs.append(f"BD figures: {dominated_note(c.bd_rate)}.")
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    paragraphs.append(
        "Brackets: 95 % bootstrap interval of the paired difference, over identities (pictures where unknown). "
        "p: two-sided, from the same resamples, corrected by Holm for the sizes compared. Values and bytes are "
        f"interpolated linearly in log bytes between a curve's own points; {NONE} outside them."
    )
    return "\n\n".join(paragraphs) + "\n"


def _verdict(c: CurveComparison) -> str:
    return " ".join([_verdict_at_bytes(c), _verdict_bd(c), *_leaks(c)])


def _verdict_at_bytes(c: CurveComparison) -> str:
    by_outcome: dict[str, list[Comparison]] = {"beats": [], "loses": [], "level": []}
    for row in c.at_bytes:
        if row.comparison:
            by_outcome[row.outcome].append(row.comparison)
    compared = sum(map(len, by_outcome.values()))
    if not compared:
        if not (c.ours.points and c.theirs.points):
            failed = c.theirs.name if c.ours.points else c.ours.name
            return f"**{c.ours.name}** cannot be judged: the points of {failed} have failed pictures."
        return without_overlap(c.ours, c.theirs, c.unit, higher_is_better=c.higher_is_better) + "."
    said = []
    for outcome, verb in (("beats", "is better than"), ("loses", "is worse than")):
        if found := by_outcome[outcome]:
            where = "every size compared: " if len(found) == compared > 1 else ""
            said.append(f"{verb} {c.theirs.name} at {where}{_sizes(found)} ({_by_how_much(c, found)})")
    if level := by_outcome["level"]:
        said.append(f"shows no clear difference to {c.theirs.name} at {_sizes(level)}")
    certain = all(not math.isnan(row.comparison.p) for row in c.at_bytes if row.comparison)
    tested = "after Holm's correction" if certain else "untested: too few people for an interval"
    return f"**{c.ours.name}** {'; '.join(said)}, {tested}."


def _sizes(found: Sequence[Comparison]) -> str:
    sizes = [byte_count(c.size).removesuffix(".0") for c in found]
    return f"{', '.join(sizes[:-1])} and {sizes[-1]} bytes" if len(sizes) > 1 else f"{sizes[0]} bytes"


def _by_how_much(c: CurveComparison, found: Sequence[Comparison]) -> str:
    gaps = sorted(abs(one.ours - one.theirs) for one in found)
    ends = list(dict.fromkeys(number(gap, c.unit) for gap in (gaps[0], gaps[-1])))
    direction = "higher" if found[0].ours > found[0].theirs else "lower"
    return f"{c.metric} {direction} by {' to '.join(ends)}{f' {c.unit}' if c.unit else ''}"


def _verdict_bd(c: CurveComparison) -> str:
    reading = c.bd_rate
    within = f" within {c.limits[0]:g} to {c.limits[1]:g} bytes" if c.limits else ""
    if reading.value is None:
        return f"No BD-rate{within}: {reading.reason}."
    relation = "fewer" if reading.value < 0 else "more"
    return (
        f"For the same {c.metric} it takes {abs(reading.value):.1f} % {relation} bytes: "
        f"BD-rate {per_cent(reading.value, reading.low, reading.high)}{within}, over {c.metric} "
        f"{shown_range(reading, c.unit)}."
    )


def _leaks(c: CurveComparison) -> list[str]:
    leaking = leaking_curves(c.run.manifest["points"])
    return [f"{name}:{LEAK}" for name in (c.ours.name, c.theirs.name) if name in leaking]


def _bytes_table(c: CurveComparison, notes: Footnotes) -> str:
    rows = []
    for row in c.at_bytes:
        cells = [byte_count(row.size).removesuffix(".0")]
        cells += [_value(reading, c.unit, notes) for reading in (row.ours, row.theirs)]
        found = row.comparison
        if found is None:
            cells += [NONE, NONE]
        else:
            cells.append(_signed(found.ours - found.theirs, found.low, found.high, c.unit))
            cells.append(NONE if math.isnan(found.p) else f"{found.p:.3f}")
        rows.append([*cells, _OUTCOMES[row.outcome]])
    headers = ["bytes", c.ours.name, c.theirs.name, "difference [95 % CI]", "p (Holm)", f"{c.ours.name} is"]
    return markdown_table(headers, rows, left=(5,))


def _value(reading: Reading, unit: str, notes: Footnotes) -> str:
    return number(reading.value, unit) if reading.value is not None else NONE + notes.mark(reading.reason)


def _signed(value: float, low: float, high: float, unit: str) -> str:
    """Return a difference with its interval, with the decimals that :func:`number` gives the largest of the three."""
    largest = max(abs(v) for v in (value, low, high) if not math.isnan(v))
    decimals = len(number(largest, unit).partition(".")[2])
    text = f"{value:+.{decimals}f}"
    return text if math.isnan(low) else f"{text} [{low:+.{decimals}f}, {high:+.{decimals}f}]"


def _quality_table(c: CurveComparison, notes: Footnotes) -> str:
    rows = []
    for row in c.at_quality:
        sizes = [
            byte_count(reading.value) if reading.value is not None else NONE + notes.mark(reading.reason)
            for reading in (row.ours, row.theirs)
        ]
        difference = NONE if math.isnan(row.difference) else per_cent(row.difference, row.low, row.high)
        rows.append([f"{row.value:g}", *sizes, difference])
    return markdown_table([c.metric, c.ours.name, c.theirs.name, "difference [95 % CI]"], rows, left=())


def _bd_metric_line(c: CurveComparison) -> str:
    reading = c.bd_metric
    assert reading.value is not None
    decibels = scale_of(c.metric, higher_is_better=c.higher_is_better).decibels
    unit = "dB" if decibels else c.unit
    low, high = (byte_count(size) for size in reading.over)
    shown = _signed(reading.value, reading.low, reading.high, unit)
    of = "-10 log10 of it, higher is better" if decibels else "on average"
    return f"BD-{c.metric}: {shown}{f' {unit}' if unit else ''} ({of}, over {low} to {high} bytes)."


def comparison_json(comparison: CurveComparison) -> str:
    """Return the comparison as JSON, null for what is undefined; ``reason`` says why a reading is."""
    c = comparison
    document = {
        "run": c.run.name,
        "image_set": c.run.manifest["image_set"],
        "curve": c.ours.name,
        "against": c.theirs.name,
        "metric": c.metric,
        "higher_is_better": c.higher_is_better,
        "mask": c.mask,
        "verdict": _verdict(c).replace("*", ""),
        "bd_rate": _bd_record(c.bd_rate),
        "bd_metric": _bd_record(c.bd_metric),
        "limits_in_bytes": c.limits,
        "at_bytes": [_bytes_record(row) for row in c.at_bytes],
        "at_quality": [
            {
                "value": row.value,
                "bytes": row.ours.value,
                "bytes_against": row.theirs.value,
                "difference_percent": _plain(row.difference),
                "low": _plain(row.low),
                "high": _plain(row.high),
                "reason": row.ours.reason or row.theirs.reason,
            }
            for row in c.at_quality
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _bytes_record(row: AtBytes) -> dict[str, Any]:
    found = row.comparison
    return {
        "bytes": row.size,
        "value": row.ours.value,
        "value_against": row.theirs.value,
        "difference": found and found.ours - found.theirs,
        "low": found and _plain(found.low),
        "high": found and _plain(found.high),
        "p_holm": found and _plain(found.p),
        "outcome": row.outcome or None,
        "reason": row.ours.reason or row.theirs.reason,
    }


def _bd_record(reading: BdReading) -> dict[str, Any]:
    return {
        "value": reading.value,
        "low": _plain(reading.low),
        "high": _plain(reading.high),
        "over": [_plain(end) for end in reading.over],
        "dominated": reading.dominated,
        "reason": reading.reason,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
