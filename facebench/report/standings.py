"""The main table of a leaderboard: ranked operating points, each over whole pictures and over the face."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from facebench.analysis.ranking import ranked_rows, requested_points
from facebench.analysis.summary import FACE, Row, Summary
from facebench.report.details import trained_on
from facebench.report.text import (
    NONE,
    Footnotes,
    byte_count,
    counted,
    folded,
    markdown_table,
    number,
    plain,
    weights_size,
    with_interval,
)
from facebench.report.views import Column, View


def standings(summary: Summary, manifest: Mapping[str, Any], view: View) -> list[str]:
    """Return the main table, the baseline's own points below it, and their footnotes, as paragraphs."""
    points, columns, notes = manifest["points"], view.columns(summary.metrics), Footnotes()
    asked = requested_points({label: points[label] for label in summary.points})
    added = [label for label in summary.points if label not in set(asked)]
    paragraphs = [_table(summary, manifest, asked, columns, notes)]
    if added:
        paragraphs.append(
            f"The baseline's points, which facebench added to this run ({summary.baseline_curve}), unranked:"
        )
        paragraphs.append(_table(summary, manifest, added, columns, notes, ranked=False))
    if not summary.has_masks:
        why = manifest["image_set"].get("no_mask_reason") or "the image set has no face masks"
        paragraphs.append(f"+Mask rows read n/a: {why}.")
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    paragraphs.append(_explanation(summary))
    return paragraphs


def _table(
    summary: Summary,
    manifest: Mapping[str, Any],
    points: list[str],
    columns: Sequence[Column],
    notes: Footnotes,
    *,
    ranked: bool = True,
) -> str:
    order: list[tuple[int | None, Row]] = [(None, row) for row in map(summary.row, points) if row]
    if ranked:
        order = ranked_rows(summary, points)
    sharing = Counter(rank for rank, _ in order)
    cells = []
    for rank, row in order:
        marks = " ".join(notes.mark(text) for text in (*flags(row, manifest), *_origin(row, manifest)))
        figures = _figures(summary, row, columns, against_baseline=ranked)
        shown = f"{rank}{'=' if sharing[rank] > 1 else ''}" if rank else NONE
        cells.append([shown, row.point + marks, *figures])
        face = summary.row(row.point, FACE)
        over_face = (
            ["n/a"] * len(figures) if face is None else _figures(summary, face, columns, against_baseline=ranked)
        )
        cells.append(["", f"{row.point}+Mask{marks}", *over_face])
    if not ranked:
        cells = [line[1:] for line in cells]
    headers = [*(["rank"] if ranked else []), "codec", "bytes", "bpp", "ratio"]
    for column in columns:
        headers.append(f"{column.header} [95 % CI]" if column.metric == summary.ranked_by else column.header)
    if summary.baseline_curve and ranked:
        headers.append(f"{summary.baseline_curve} {summary.ranked_by} at same bytes")
    table = markdown_table([*headers, "decoder weights"], cells, left=(headers.index("codec"),))
    by = f", ranked by mean {summary.ranked_by} whatever the bytes" if ranked else ""
    return folded(table, f"{counted(len(order), 'operating point')}{by}")


def _figures(summary: Summary, row: Row, columns: Sequence[Column], *, against_baseline: bool) -> list[str]:
    cells = [byte_count(row.bytes), plain(row.bpp, 3), plain(row.ratio, 1)]
    for column in columns:
        metric, scale = row.metrics[column.metric], column.scale
        if column.metric == summary.ranked_by:
            cells.append(with_interval(scale * metric.mean, scale * metric.low, scale * metric.high, column.unit))
        else:
            cells.append(number(scale * metric.mean, column.unit))
    if summary.baseline_curve and against_baseline:
        cells.append(_against_baseline(summary, row))
    return [*cells, weights_size(row.weights_bytes)]


def _against_baseline(summary: Summary, row: Row) -> str:
    metric = summary.ranked_by
    theirs, ours = row.baseline.get(metric), row.metrics[metric].mean
    if theirs is None or row.curve == summary.baseline_curve or math.isnan(ours):
        return NONE
    shown = number(theirs, str(summary.metrics[metric].get("unit") or ""))
    if math.isclose(ours, theirs, abs_tol=1e-12):
        return f"{shown} (equal)"
    better = (ours > theirs) == summary.higher_is_better(metric)
    return f"{shown} ({'better' if better else 'worse'})"


def flags(row: Row, manifest: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know about a row, one sentence each: failures, leaks, losslessness."""
    about, pictures = manifest["points"][row.point], manifest["image_set"]["pictures"]
    texts = []
    if row.failed:
        kinds = ", ".join(f"{counted(count, 'picture')} {kind}" for kind, count in row.failures.items())
        texts.append(f"failed ({kinds}, of {pictures:,}): not ranked, on no curve; figures are over the other pictures")
    overlap = about.get("overlap") or {}
    if overlap.get("pictures") or overlap.get("identities"):
        texts.append(
            f"trained on data that overlap the scored split: {counted(overlap.get('pictures', 0), 'picture')} and "
            f"{counted(overlap.get('identities', 0), 'identity')} of it; not a fair score"
        )
    if row.cost > row.bytes:
        texts.append(
            f"declares {byte_count(row.cost - row.bytes)} bytes of side information per picture: bpp, curves and the "
            "comparison with the baseline count them"
        )
    if about.get("lossless"):
        texts.append("lossless")
    return texts


def _origin(row: Row, manifest: Mapping[str, Any]) -> list[str]:
    """Return where a row comes from: the weights of its codec, and in several runs the command that measured it."""
    about, texts = manifest["points"][row.point], []
    if digest := about.get("weights_digest"):
        digests = {other.get("weights_digest") for other in manifest["points"].values() if other["curve"] == row.curve}
        weights = f"weights {digest[:12]}" if len(digests) == 1 else "weights of its own for each point (Provenance)"
        trained = trained_on(about.get("trained_on"))
        texts.append(f"{weights}, trained on {trained}" if trained else weights)
    commands = {run["name"]: run["command"] for run in manifest.get("runs") or []}
    if about.get("run") in commands:
        texts.append(f"measured by `{commands[about['run']]}`")
    return texts


def _explanation(summary: Summary) -> str:
    text = (
        f"Ranked by mean {summary.ranked_by} over whole pictures, whatever the bytes: the tables at equal bytes below "
        "are the fair comparison. Rank: 1 + the number of rows that are significantly better (paired, after Holm's "
        "correction for all pairs); = marks ties, which stand in the order of their names. X: whole pictures; X+Mask: "
        "face pixels only. Bytes: mean per picture of the payload that decode is given; ratio: raw 24-bit size / mean "
        "bytes. CI: bootstrap over identities (pictures where unknown)."
    )
    if summary.baseline_curve:
        text += (
            f" Last but one: what {summary.baseline_curve} gives at the row's bytes, interpolated linearly in log "
            f"bytes, and whether the row is better or worse; {NONE} outside its curve."
        )
    return text
