"""The leaderboard's tables of byte budgets: what each codec makes of a face in at most so many bytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from facebench.analysis.ranking import ranks_of
from facebench.analysis.summary import FACE, WHOLE, Row, Summary
from facebench.report.equal_bytes import LEAK, WHERE, leaking_curves
from facebench.report.text import (
    NONE,
    Footnotes,
    byte_count,
    counted,
    folded_away,
    markdown_table,
    number,
    with_interval,
)


def budgets_sections(summary: Summary, points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables of budgets, whole pictures then face, and all their figures, as paragraphs.

    ``points`` are the manifest's entries. Empty for a run without budgets.
    """
    if not summary.budgets:
        return []
    names = dict.fromkeys(_name(row) for row in summary.rows if row.budget is not None)
    hopeless = [name for name in names if not any(row.pictures or row.faults for row in _rows(summary, name, WHOLE))]
    shown = [name for name in names if name not in hopeless]
    leaks = leaking_curves(points)
    paragraphs = ["## Byte budgets"]
    if hopeless:
        paragraphs.append(f"Fits no picture into any of these budgets: {', '.join(hopeless)}.")
    if not shown:
        return paragraphs
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        paragraphs.append(f"### {summary.ranked_by} over {WHERE[mask]}")
        paragraphs += _overview(summary, summary.ranked_by, mask, shown, leaks)
    paragraphs.append(
        "Each picture is coded with the codec's best setting that fits, found by bisection (one byte names it where "
        "the codec does not choose by itself). In brackets the share of pictures that fit, where not all do: figures "
        f"are then over those alone, and rank with nothing; {NONE}: no picture fits; empty: not measured. +downscale: "
        "coded at 3/4, 1/2 or 1/4 of the side where that has the smaller squared error, for codecs that do not fit all "
        "pictures otherwise. Bold: the best of a column, and whatever differs from it by no more than chance (paired "
        "bootstrap over identities, Holm's correction)."
    )
    others = [metric for metric in summary.metrics if metric != summary.ranked_by]
    for metric in others:
        better = "higher" if summary.higher_is_better(metric) else "lower"
        table = "\n\n".join(_overview(summary, metric, WHOLE, shown, leaks))
        paragraphs.append(folded_away(table, f"{metric} over whole pictures ({better} is better)"))
    return [*paragraphs, folded_away(_details(summary, shown), "Bytes used, spread and worst faces")]


def _name(row: Row) -> str:
    return f"{row.plain_curve}{'+downscale' if row.downscale else ''}"


def _rows(summary: Summary, name: str, mask: str) -> list[Row]:
    return [row for row in summary.rows if row.budget is not None and row.mask == mask and _name(row) == name]


def _overview(summary: Summary, metric: str, mask: str, names: list[str], leaks: Collection[str]) -> list[str]:
    best = {budget: best_rows(summary, metric, budget, mask) for budget in summary.budgets}
    unit = str(summary.metrics[metric].get("unit") or "")
    notes, lines = Footnotes(), []
    for name in names:
        rows = _rows(summary, name, mask)
        by_budget = {row.budget: row for row in rows}
        cells = []
        for budget in summary.budgets:
            row = by_budget.get(budget)
            value = _cell(row, metric, unit, notes) if row else ""
            cells.append(f"**{value}**" if row and row.point in best[budget] else value)
        mark = notes.mark(LEAK.strip()) if rows[0].curve in leaks else ""
        lines.append([name + mark, *cells])
    table = markdown_table(["codec", *(f"{budget:,} B" for budget in summary.budgets)], lines)
    return [table, *notes.lines()]


def _cell(row: Row, metric: str, unit: str, notes: Footnotes) -> str:
    """Return the mean, the share of pictures that fit if not all do, and a footnote on pictures that failed."""
    mark = ""
    if row.faults:
        kinds = ", ".join(f"{kind}: {counted(count, 'picture')}" for kind, count in row.faults.items())
        mark = notes.mark(f"{kinds}; figures are over the others, and rank with nothing")
    if not row.pictures:
        return f"failed{mark}" if row.faults else NONE
    share = f" ({math.floor(_fitting(row))} %)" if row.over_budget else ""
    return f"{number(row.metrics[metric].mean, unit)}{share}{mark}"


def _fitting(row: Row) -> float:
    """Return the share of pictures that are within the budget, in per cent."""
    return 100 * (1 - row.over_budget / (row.pictures + row.failed))


def best_rows(summary: Summary, metric: str, budget: int, mask: str = WHOLE) -> set[str]:
    """Return the points of rank 1 at ``budget`` by ``metric``: the first, and its ties.

    Only points into which every picture fits count.
    """
    rows = [
        row
        for row in summary.rows
        if (row.budget, row.mask) == (budget, mask) and not row.failed and math.isfinite(row.metrics[metric].mean)
    ]
    resampled = [summary.resampled[row.point, mask, metric] for row in rows] if summary.resampled else []
    ranks = ranks_of(
        [row.metrics[metric].mean for row in rows],
        resampled,
        higher_is_better=summary.higher_is_better(metric),
        clusters=summary.clusters([row.point for row in rows], metric, mask),
    )
    return {row.point for rank, row in zip(ranks, rows, strict=True) if rank == 1}


def _details(summary: Summary, names: list[str]) -> str:
    metric = summary.ranked_by
    unit = str(summary.metrics[metric].get("unit") or "")
    lines = []
    for name in names:
        for row in _rows(summary, name, WHOLE):
            if row.pictures:
                quality = row.metrics[metric]
                lines.append(
                    [
                        row.point,
                        f"{_fitting(row):.1f} %",
                        byte_count(row.cost),
                        with_interval(quality.mean, quality.low, quality.high, unit),
                        number(quality.spread.p95, unit),
                        number(quality.spread.worst, unit),
                        quality.spread.worst_picture,
                    ]
                )
    headers = ["codec at budget", "fit", "mean bytes", f"{metric} [95 % CI]", "95 %", "worst", "worst face"]
    return markdown_table(headers, lines, left=(0, 6))
