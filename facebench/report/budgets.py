"""The leaderboard's tables of byte budgets: what each codec makes of a face in at most so many bytes."""

from __future__ import annotations

from facebench.analysis.ranking import ranks_of
from facebench.analysis.summary import FACE, WHOLE, Row, Summary
from facebench.report.equal_bytes import WHERE
from facebench.report.text import NONE, byte_count, markdown_table, number, with_interval


def budgets_sections(summary: Summary) -> list[str]:
    """Return the tables of budgets, whole pictures then face, and all their figures, as paragraphs.

    Empty for a run without budgets.
    """
    if not summary.budgets:
        return []
    names = dict.fromkeys(_name(row) for row in summary.rows if row.budget is not None)
    hopeless = [name for name in names if not any(row.pictures for row in _rows(summary, name, WHOLE))]
    paragraphs = ["## Byte budgets"]
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        paragraphs += [f"### {summary.ranked_by} over {WHERE[mask]}", _overview(summary, mask, names, hopeless)]
    paragraphs.append(
        "Each picture is coded with the codec's best setting that fits (one byte names it where the codec does not "
        "choose by itself). In brackets the share of pictures that fit, where not all do: figures are then over "
        f"those alone, and rank with nothing; {NONE}: no picture fits. +downscale: coded at 3/4, 1/2 or 1/4 of the "
        "side where that has the smaller squared error, for codecs that do not fit all pictures otherwise. Bold: the "
        "best of a column, and whatever differs from it by no more than chance (paired bootstrap over identities, "
        "Holm's correction)."
    )
    if hopeless:
        paragraphs.append(f"Fits no picture into any of these budgets: {', '.join(hopeless)}.")
    details = _details(summary, [name for name in names if name not in hopeless])
    paragraphs.append(f"<details><summary>Bytes used, spread and worst faces</summary>\n\n{details}\n\n</details>")
    return paragraphs


def _name(row: Row) -> str:
    return row.curve.replace("@budget", "", 1)


def _rows(summary: Summary, name: str, mask: str) -> list[Row]:
    return [row for row in summary.rows if row.budget is not None and row.mask == mask and _name(row) == name]


def _overview(summary: Summary, mask: str, names: dict[str, None], hopeless: list[str]) -> str:
    best = {budget: best_rows(summary, budget, mask) for budget in summary.budgets}
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    lines = []
    for name in names:
        if name in hopeless:
            continue
        by_budget = {row.budget: row for row in _rows(summary, name, mask)}
        cells = []
        for budget in summary.budgets:
            row = by_budget.get(budget)
            value = number(row.metrics[summary.ranked_by].mean, unit) if row and row.pictures else NONE
            if row and row.pictures and row.failed:
                value += f" ({100 * row.pictures / (row.pictures + row.failed):.0f} %)"
            cells.append(f"**{value}**" if row and row.point in best[budget] else value)
        lines.append([name, *cells])
    return markdown_table(["codec", *(f"{budget:,} B" for budget in summary.budgets)], lines)


def best_rows(summary: Summary, budget: int, mask: str = WHOLE) -> set[str]:
    """Return the points of rank 1 at ``budget`` by ``summary.ranked_by``: the first, and its ties.

    Only points into which every picture fits count.
    """
    metric = summary.ranked_by
    rows = [row for row in summary.rows if (row.budget, row.mask) == (budget, mask) and row.pictures and not row.failed]
    resampled = [summary.resampled[row.point, mask, metric] for row in rows] if summary.resampled else []
    ranks = ranks_of(
        [row.metrics[metric].mean for row in rows],
        resampled,
        higher_is_better=summary.higher_is_better(metric),
        clusters=summary.clusters,
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
                        f"{100 * row.pictures / (row.pictures + row.failed):.1f} %",
                        byte_count(row.cost),
                        with_interval(quality.mean, quality.low, quality.high, unit),
                        number(quality.spread.p95, unit),
                        number(quality.spread.worst, unit),
                        quality.spread.worst_picture,
                    ]
                )
    headers = ["codec at budget", "fit", "mean bytes", f"{metric} [95 % CI]", "95 %", "worst", "worst face"]
    return markdown_table(headers, lines, left=(0, 6))
