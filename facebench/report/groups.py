"""The part of a leaderboard that says where it goes wrong: groups of pictures that fare worse, and worst pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facebench.analysis.groupings import LEAST_IDENTITIES, LEAST_PICTURES, POSE, Grouping, groupings_of
from facebench.analysis.groups import Gap, GroupedCurve, fairness_gap, grouped_curves, usual_size
from facebench.analysis.significance import significant
from facebench.analysis.summary import Summary, summarise
from facebench.analysis.worst import WorstPictures, shared_worst, worst_pictures
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
            paragraphs += [_lead(summary, groupings, size), _table(summary, groupings, shown, there)]
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


def _lead(summary: Summary, groupings: Sequence[Grouping], size: int) -> str:
    lines = [
        f"{summary.ranked_by} within groups of pictures, each group read off its own curve at {size:,} bytes.\n",
        "- Gap: how much worse the worst group of the column is than the best, in per cent of the mean over all "
        "pictures. Bold: the widest of a column.",
        "- Italic: no more than chance, judged by the bootstrap over identities, corrected for having chosen the "
        "widest of each grouping, and by Holm for all curves and groupings.",
    ]
    if summary.baseline_curve:
        lines.append(
            "- In brackets, as some faces are simply harder: by how many points the gap is wider (+) or narrower (-) "
            f"than that of {summary.baseline_curve} between the same two groups (negative where it serves them the "
            "other way round); ≈: no more than chance."
        )
    if any(grouping.attribute for grouping in groupings):
        lines.append(
            "- Fairness gap: the widest gap of any attribute, shown here or not, with its 95 % interval, which is not "
            "corrected for having chosen it. Attributes are the image set's own labels, opinions among them."
        )
    return "\n".join(lines)


def _table(
    summary: Summary, all_groupings: Sequence[Grouping], shown: Sequence[Grouping], curves: Sequence[GroupedCurve]
) -> str:
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    columns = [[curve.curve for curve in curves], [number(curve.reading.value, unit) for curve in curves]]
    headers = ["curve", "all"]
    if any(grouping.attribute for grouping in all_groupings):
        headers.append("fairness gap")
        columns.append(_fairness_column(all_groupings, curves))
    for grouping in shown:
        headers += [" / ".join(_group_headers(grouping)), "gap"]
        columns.append(
            [" / ".join(number(value.reading.value, unit) for value in c.values[grouping.name]) for c in curves]
        )
        gaps = [curve.gaps.get(grouping.name) for curve in curves]
        columns.append([_gap(gap, _widest(gaps)) for gap in gaps])
    return markdown_table(headers, list(zip(*columns, strict=True)))


def _fairness_column(groupings: Sequence[Grouping], curves: Sequence[GroupedCurve]) -> list[str]:
    """Return the largest gap of any attribute of each curve, with its interval and the group that is worse off."""
    found = [fairness_gap(curve, groupings) for curve in curves]
    gaps = [one[1] if one else None for one in found]
    cells = []
    for gap in gaps:
        cell = _share(gap, _widest(gaps))
        if gap is not None and not math.isnan(gap.share_low):
            cell += f" [{100 * gap.share_low:.1f}, {100 * gap.share_high:.1f}]"
        cells.append(cell if gap is None else f"{cell} {gap.worst}")
    return cells


def _group_headers(grouping: Grouping) -> list[str]:
    if grouping.attribute:
        return [grouping.name, "not"]
    *first, last = [group.name for group in grouping.groups]
    return [*first, last if grouping.name == POSE else f"{last} face"]


def _by_chance(p: float) -> bool:
    """Return whether a p-value says that there may be nothing; False if there is none."""
    return not math.isnan(p) and not significant(p)


def _widest(gaps: Sequence[Gap | None]) -> float | None:
    """Return the share of the widest of the ``gaps`` that are more than chance."""
    return max((gap.share for gap in gaps if gap is not None and not _by_chance(gap.share_p)), default=None)


def _share(gap: Gap | None, widest: float | None) -> str:
    if gap is None or math.isnan(gap.share):
        return NONE
    text = f"{100 * gap.share:.1f} %"
    if _by_chance(gap.share_p):
        return f"*{text}*"
    return f"**{text}**" if gap.share == widest else text


def _gap(gap: Gap | None, widest: float | None) -> str:
    text = _share(gap, widest)
    if gap is None or math.isnan(gap.beyond):
        return text
    return f"{text} ({'≈' if _by_chance(gap.beyond_p) else f'{100 * gap.beyond:+.1f}'})"


def _notes(
    summary: Summary,
    all_groupings: Sequence[Grouping],
    shown: Sequence[Grouping],
    curves: Sequence[GroupedCurve],
    size: int,
) -> list[str]:
    """Return what the table needs to be read, and what is not in it."""
    notes = [_sizes(grouping) for grouping in shown]
    if not curves:
        notes.append("The run holds byte budgets only, which lie on no curve: no group is held against another.")
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
    counts = [len(of_curve.pictures) for of_curve in worst]
    if not any(counts):
        return []
    up_to = "up to " if min(counts) < max(counts) else ""
    chosen = f"worst {up_to}{counted(max(counts), 'picture')}"
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    codecs = len({of_curve.codec for of_curve in worst})
    paragraphs = []
    if shared := shared_worst(worst):
        named = ", ".join(f"{picture} ({count})" for picture, count in shared[:_MOST_SHARED])
        paragraphs.append(
            f"Hard for several codecs: among the {chosen} at about {size:,} bytes of so many of the "
            f"{codecs} codecs: {named}."
        )
    lines = []
    for of_curve in worst:
        pictures = ", ".join(f"{p.picture} {number(p.value, unit)} ({p.bytes:,} B)" for p in of_curve.pictures)
        failed = ", ".join(f"{count:,} {kind}" for kind, count in of_curve.failures.items())
        absent = f" ({failed}: not among them)" if failed else ""
        lines.append(f"- **{of_curve.point}**, {byte_count(of_curve.bytes)} B on average{absent}: {pictures}")
    title = f"The {chosen} of each curve at about {size:,} bytes: {summary.ranked_by} (payload)"
    return [*paragraphs, f"<details><summary>{title}</summary>", "\n".join(lines), "</details>"]
