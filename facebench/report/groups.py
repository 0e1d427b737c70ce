"""The part of a leaderboard that says where it goes wrong: groups of pictures that fare worse, and worst pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facebench.analysis.groups import (
    LEAST_IDENTITIES,
    LEAST_PICTURES,
    POSE,
    Gap,
    GroupedCurve,
    Grouping,
    grouped_curves,
    groupings_of,
    usual_size,
)
from facebench.analysis.significance import significant
from facebench.analysis.summary import Summary, summarise
from facebench.analysis.worst import COUNT, WorstPictures, shared_worst, worst_pictures
from facebench.report.leaderboard import data_lines
from facebench.report.text import NONE, byte_count, counted, markdown_table, number

if TYPE_CHECKING:
    from facebench.store import Run

#: Attributes with a column of their own; CelebA has forty.
_MOST_ATTRIBUTES = 4
#: Pictures named as hard for several codecs.
_MOST_SHARED = 10


def groups_markdown(run: Run) -> str:
    """Return where ``run`` goes wrong as a markdown document of its own: it may need what may not be published."""
    summary = summarise(run, resamples=0)
    paragraphs = [f"# Where it goes wrong: {run.name}", *data_lines(run.manifest), *groups_section(summary, run)]
    return "\n\n".join(paragraphs) + "\n"


def groups_section(summary: Summary, run: Run) -> list[str]:
    """Return the groups of pictures that fare worse, if anything is known of the pictures, and the worst pictures."""
    groupings = groupings_of(run)
    size = usual_size(summary)
    paragraphs = []
    if groupings:
        curves = grouped_curves(run, summary, size=size)
        shown = _shown(groupings, curves)
        there = [curve for curve in curves if curve.reading.value is not None]
        if there:
            paragraphs += [_lead(summary, size), _table(summary, shown, there)]
        paragraphs.append("\n".join(f"- {note}" for note in _notes(summary, groupings, shown, curves, size)))
    else:
        paragraphs.append(
            "No groups by attribute, pose or face size: the image set does not tell these of its pictures."
        )
    return paragraphs + _worst(summary, worst_pictures(run, summary, size=size), size)


def _shown(groupings: Sequence[Grouping], curves: Sequence[GroupedCurve]) -> list[Grouping]:
    """Return the groupings to show: of the attributes those with the widest gaps, by the median of the curves."""

    def width(grouping: Grouping) -> float:
        shares = [curve.gaps[grouping.name].share for curve in curves if grouping.name in curve.gaps]
        return statistics.median(shares) if shares else -math.inf

    attributes = sorted((g for g in groupings if g.attribute), key=width, reverse=True)[:_MOST_ATTRIBUTES]
    chosen = {grouping.name for grouping in attributes}
    return [grouping for grouping in groupings if grouping.name in chosen or not grouping.attribute]


def _lead(summary: Summary, size: int) -> str:
    text = (
        f"{summary.ranked_by} within groups of pictures, each group read off its own curve at {size:,} bytes. "
        "Gap: how much worse the worst group of the column is than the best, in per cent of the mean over all "
        "pictures; italic: no more than chance; bold: the widest of the others in a column"
    )
    if not summary.baseline_curve:
        return f"{text}."
    return (
        f"{text}; in brackets: by how many points it is wider (+) or narrower (-) than that of "
        f"{summary.baseline_curve}, as some faces are simply harder (≈: no more than chance). Chance is judged by the "
        "95 % bootstrap over identities, for the brackets with Holm's correction."
    )


def _table(summary: Summary, groupings: Sequence[Grouping], curves: Sequence[GroupedCurve]) -> str:
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    gaps = {grouping.name: [c.gaps[grouping.name] for c in curves if grouping.name in c.gaps] for grouping in groupings}
    widest = {name: max((gap.share for gap in of if not _by_chance(gap)), default=None) for name, of in gaps.items()}
    rows = []
    for curve in curves:
        cells = [curve.curve, number(curve.reading.value, unit)]
        for grouping in groupings:
            values = curve.values[grouping.name]
            cells.append(" / ".join(number(value.reading.value, unit) for value in values))
            gap = curve.gaps.get(grouping.name)
            cells.append(_gap(gap, widest[grouping.name]))
        rows.append(cells)
    headers = ["curve", "all"]
    for grouping in groupings:
        headers += [" / ".join(_group_headers(grouping)), "gap"]
    return markdown_table(headers, rows)


def _group_headers(grouping: Grouping) -> list[str]:
    if grouping.attribute:
        return [grouping.name, "not"]
    *first, last = [group.name for group in grouping.groups]
    return [*first, last if grouping.name == POSE else f"{last} face"]


def _by_chance(gap: Gap) -> bool:
    """Return whether the interval of the gap holds zero; False if it has no interval."""
    return gap.share_low <= 0


def _gap(gap: Gap | None, widest: float | None) -> str:
    if gap is None or math.isnan(gap.share):
        return NONE
    text = f"{100 * gap.share:.1f} %"
    if _by_chance(gap):
        text = f"*{text}*"
    elif gap.share == widest:
        text = f"**{text}**"
    if math.isnan(gap.beyond):
        return text
    chance = not math.isnan(gap.p) and not significant(gap.p)
    return f"{text} ({'≈' if chance else f'{100 * gap.beyond:+.1f}'})"


def _notes(
    summary: Summary,
    all_groupings: Sequence[Grouping],
    shown: Sequence[Grouping],
    curves: Sequence[GroupedCurve],
    size: int,
) -> list[str]:
    """Return what the table needs to be read, and what is not in it."""
    notes = [_sizes(grouping) for grouping in shown]
    if len(shown) < len(all_groupings):
        notes.append(f"Not shown: {counted(len(all_groupings) - len(shown), 'attribute')} with narrower gaps.")
    if any(group.unjudged for grouping in shown for group in grouping.groups):
        notes.append(f"Groups below {LEAST_PICTURES} pictures or {LEAST_IDENTITIES} identities are not judged.")
    absent = [curve.curve for curve in curves if curve.reading.value is None]
    if absent:
        notes.append(f"No value at {size:,} bytes: {', '.join(absent)}.")
    notes += [line for curve in curves if (line := _failures(curve, shown))]
    return notes


def _sizes(grouping: Grouping) -> str:
    parts = [
        f"{group.name} {counted(group.pictures, 'picture')} of {counted(group.identities, 'identity')}"
        for group in grouping.groups
    ]
    text = f"{grouping.name}: {', '.join(parts)}."
    if not grouping.bounds:
        return text
    low, high = grouping.bounds
    if grouping.name == POSE:
        thirds = f"how far the nose is off the midpoint of the eyes: up to {low:.2f} and {high:.2f} eye distances"
    else:
        thirds = f"the distance between the midpoints of eyes and mouth: up to {low:.1f} and {high:.1f} pixels"
    return f"{text} Thirds by {thirds}, and beyond."


def _failures(curve: GroupedCurve, groupings: Sequence[Grouping]) -> str:
    """Return how many payloads failed in each group, over all points of the curve, or ''."""
    parts = [
        f"{value.group.name} {value.failures:,}" for g in groupings for value in curve.values[g.name] if value.failures
    ]
    return f"Failed on {curve.curve}, by group: {', '.join(parts)}." if parts else ""


def _worst(summary: Summary, worst: Sequence[WorstPictures], size: int) -> list[str]:
    """Return the pictures hard for several codecs, and folded away the worst of each curve."""
    if not worst:
        return []
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    codecs = len({of_curve.codec for of_curve in worst})
    paragraphs = []
    if shared := shared_worst(worst):
        named = ", ".join(f"{picture} ({count})" for picture, count in shared[:_MOST_SHARED])
        paragraphs.append(
            f"Hard for several codecs: among the worst {COUNT} pictures at about {size:,} bytes of so many of the "
            f"{codecs} codecs: {named}."
        )
    lines = []
    for of_curve in worst:
        pictures = ", ".join(f"{p.picture} {number(p.value, unit)} ({p.bytes:,} B)" for p in of_curve.pictures)
        lines.append(f"- **{of_curve.point}**, {byte_count(of_curve.bytes)} B on average: {pictures}")
    title = f"The worst {COUNT} pictures of each curve at about {size:,} bytes: {summary.ranked_by} (payload)"
    return [*paragraphs, f"<details><summary>{title}</summary>", "\n".join(lines), "</details>"]
