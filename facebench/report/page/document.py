"""All that the page shows, as one JSON document: the page formats and draws, it computes no statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import BUDGETS, value_at
from facebench.analysis.merge import run_origins
from facebench.analysis.ranking import RankingAt, ranked_rows, ranking_at, requested_points
from facebench.analysis.summary import FACE, WHOLE, Row, Summary
from facebench.analysis.worst import WorstPictures, worst_pictures
from facebench.report.equal_bytes import leaking_curves, learned_verdicts
from facebench.report.standings import flags

if TYPE_CHECKING:
    from facebench.store import Run


def page_document(run: Run, summary: Summary, worst: Mapping[int, tuple[WorstPictures, ...]]) -> dict[str, Any]:
    """Return the page's data but for the pictures: plain dicts, lists, texts and numbers, NaN where undefined.

    ``summary`` is that of ``run``, ``worst`` its :func:`worst_at_budgets`.
    """
    points = run.manifest["points"]
    masks = (WHOLE, FACE) if summary.has_masks else (WHOLE,)
    curves = summary.curves(summary.ranked_by)
    rankings = {mask: [ranking_at(summary, summary.ranked_by, mask, size) for size in BUDGETS] for mask in masks}
    return {
        "name": run.name,
        "data": _data(run.manifest),
        "masks": masks,
        "budgets": BUDGETS,
        "rankedBy": summary.ranked_by,
        "metrics": [{"name": name, **about} for name, about in summary.metrics.items()],
        "curves": [_curve(summary, points, name, curve) for name, curve in curves.items()],
        "points": _points(run, summary),
        "lines": {mask: {metric: _lines(summary, metric, mask) for metric in summary.metrics} for mask in masks},
        "atBytes": {mask: _at_bytes(summary, mask, rankings[mask]) for mask in masks},
        "best": {mask: [_best(summary, ranking, mask) for ranking in rankings[mask]] for mask in masks},
        "verdicts": {mask: _verdicts(summary, mask, leaking_curves(points)) for mask in masks},
        "worst": {
            size: [
                {
                    "curve": found.curve,
                    "point": found.point,
                    "bytes": found.bytes,
                    "pictures": [(one.picture, one.value, one.bytes) for one in found.pictures],
                }
                for found in entries
            ]
            for size, entries in worst.items()
        },
        "provenance": _provenance(run),
    }


def worst_at_budgets(run: Run, summary: Summary) -> dict[int, tuple[WorstPictures, ...]]:
    """Return by budget each curve's operating point at about so many bytes, and its worst pictures there."""
    return {size: worst_pictures(run, summary, size=size) for size in BUDGETS}


def _data(manifest: Mapping[str, Any]) -> dict[str, Any]:
    data = manifest["image_set"]
    return {
        "name": data["name"],
        "split": data["split"],
        "pictures": data["pictures"],
        "description": data["description"],
        "side": data["preprocessing"]["size"],
        "digest": data["digest"],
        "synthetic": bool(data.get("synthetic")),
        "sealed": bool(manifest.get("sealed")),
        "noMaskReason": data.get("no_mask_reason") or "",
        "problems": list(manifest.get("problems") or []),
    }


def _curve(summary: Summary, points: Mapping[str, Mapping[str, Any]], name: str, curve: Curve) -> dict[str, Any]:
    own = [about for about in points.values() if about["curve"] == name]
    return {
        "name": name,
        "codec": curve.codec,
        "baseline": name == summary.baseline_curve,
        "lossless": all(about.get("lossless") for about in own),
        "weights": max((int(about.get("weights_bytes") or 0) for about in own), default=0),
        "span": curve.span,
        "count": len(curve.points),
        "leftOut": len(curve.left_out),
    }


def _points(run: Run, summary: Summary) -> list[dict[str, Any]]:
    points = run.manifest["points"]
    plain = [label for label in requested_points(points) if not points[label].get("budget")]
    ranks = {row.point: rank for rank, row in ranked_rows(summary, plain)}
    rows: dict[str, dict[str, Row]] = {}
    for row in summary.rows:
        rows.setdefault(row.point, {})[row.mask] = row
    return [
        {
            "label": label,
            "curve": by_mask[WHOLE].plain_curve,
            "codec": by_mask[WHOLE].codec,
            "rank": ranks.get(label),
            "budget": by_mask[WHOLE].budget,
            "weights": by_mask[WHOLE].weights_bytes,
            "notes": flags(by_mask[WHOLE], run.manifest),
            "rows": {mask: _row(row) for mask, row in by_mask.items()},
        }
        for label, by_mask in rows.items()
    ]


def _row(row: Row) -> dict[str, Any]:
    return {
        "bytes": row.bytes,
        "cost": row.cost,
        "bpp": row.bpp,
        "ratio": row.ratio,
        "pictures": row.pictures,
        "failed": row.failed,
        "encodeMs": row.encode_ms,
        "decodeMs": row.decode_ms,
        "metrics": {name: (m.mean, m.low, m.high) for name, m in row.metrics.items()},
    }


def _lines(summary: Summary, metric: str, mask: str) -> dict[str, list[tuple[str, float, float, float, float]]]:
    """Return by curve the (point, bytes, value, low, high) to draw, low to high the value's 95 % interval."""
    intervals = {
        row.point: (row.metrics[metric].low, row.metrics[metric].high) for row in summary.rows if row.mask == mask
    }
    return {
        name: [(point.label, point.bytes, point.value, *intervals[point.label]) for point in curve.points]
        for name, curve in summary.curves(metric, mask).items()
        if curve.points
    }


def _at_bytes(summary: Summary, mask: str, rankings: Sequence[RankingAt]) -> dict[str, dict[int, Any]]:
    """Return by curve and budget the rank, each metric's (value, low, high), or the reason why there is none."""
    curves = {metric: summary.curves(metric, mask) for metric in summary.metrics}
    table: dict[str, dict[int, Any]] = {}
    for name, curve in curves[summary.ranked_by].items():
        table[name] = {}
        for ranking in rankings:
            size = int(ranking.size)
            place = ranking.curves.get(name)
            values = {metric: value_at(curves[metric][name], size).value for metric in summary.metrics}
            table[name][size] = {
                "rank": place and place.rank,
                "shared": bool(place and place.shared),
                "reason": value_at(curve, size).reason,
                "metrics": {
                    metric: (value, *_interval_at(summary, curves[metric][name], metric, mask, size))
                    for metric, value in values.items()
                    if value is not None
                },
            }
    return table


def _interval_at(summary: Summary, curve: Curve, metric: str, mask: str, size: float) -> tuple[float, float]:
    if not summary.resampled:
        return math.nan, math.nan
    low, high = percentile_interval(summary.resampled_curve(curve, metric, mask).at(size)[:, None])
    return float(low[0]), float(high[0])


def _best(summary: Summary, ranking: RankingAt, mask: str) -> dict[str, Any]:
    """Return which curves share the first rank, the best value first."""
    first = [place for place in ranking.curves.values() if place.rank == 1]
    sign = -1 if summary.higher_is_better(summary.ranked_by) else 1
    first.sort(key=lambda place: (sign * place.value, place.curve.name))
    return {
        "budget": int(ranking.size),
        "curves": [place.curve.name for place in first],
        "values": [place.value for place in first],
        "of": len(ranking.curves),
        "below": _better_below(summary, mask, ranking.size, first[0].value) if first else None,
    }


def _better_below(summary: Summary, mask: str, size: float, best: float) -> dict[str, Any] | None:
    """Return the curve that ends below ``size`` bytes and is better there than ``best``, the first of them if any."""
    sign = -1 if summary.higher_is_better(summary.ranked_by) else 1
    ends = [
        (sign * curve.points[-1].value, curve.points[-1].bytes, name)
        for name, curve in summary.curves(summary.ranked_by, mask).items()
        if curve.points and curve.points[-1].bytes < size
    ]
    value, at, name = min(ends, default=(math.inf, math.nan, ""))
    return {"curve": name, "bytes": at} if value < sign * best else None


def _verdicts(summary: Summary, mask: str, leaks: set[str]) -> list[list[dict[str, Any]]]:
    """Return the verdicts as pieces of text: the curve's name, to stand out, and what is said of it."""
    names = sorted(summary.curves(summary.ranked_by, mask), key=len, reverse=True)
    sentences = []
    for verdict in learned_verdicts(summary, mask, leaks):
        name = next(name for name in names if verdict.startswith(f"**{name}** "))
        said = verdict.removeprefix(f"**{name}**")
        sentences.append([{"text": name, "strong": True}, {"text": said, "strong": False}])
    return sentences


def _provenance(run: Run) -> dict[str, Any]:
    entries = []
    for label, about in run.manifest["points"].items():
        entries.append(
            {
                "label": label,
                "version": str(about.get("version") or ""),
                "origin": str(about.get("origin") or ""),
                "weightsDigest": about.get("weights_digest") or "",
                "trainedOn": _trained_on(about.get("trained_on")),
                "settings": ", ".join(f"{key}={value}" for key, value in sorted(about.get("settings", {}).items())),
            }
        )
    return {"points": entries, "runs": [_origin(origin) for origin in run_origins(run)]}


def _trained_on(data: Mapping[str, Any] | None) -> str:
    return f"{data['image_set']} {data['split']} ({str(data['data_digest'])[:12]})" if data else ""


def _origin(origin: Mapping[str, Any]) -> dict[str, str]:
    machine, git = origin.get("machine") or {}, origin.get("git") or {}
    commit = (
        f", commit {str(git['commit'])[:12]}{' with uncommitted changes' if git.get('dirty') else ''}" if git else ""
    )
    return {
        "run": f"{origin['name']}, {origin.get('created')}",
        "code": f"facebench {origin.get('facebench')}{commit}",
        "machine": f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('os')}, "
        f"Python {machine.get('python')}",
        "packages": ", ".join(f"{name} {version}" for name, version in sorted(machine.get("packages", {}).items())),
        "command": str(origin.get("command")),
    }
