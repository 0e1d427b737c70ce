"""The leaderboard as a flat table, for CSV, JSON and further analysis."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from facebench.analysis.ranking import ranked_rows, requested_points
from facebench.analysis.summary import FACE, WHOLE, Row, Summary, summarise

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run


def leaderboard_frame(run: Run) -> pd.DataFrame:
    """Return one row per operating point and mask variant, ranked rows first (rank within the variant), budgets last.

    Each metric M gives the columns ``M`` (mean), ``M low`` and ``M high`` (95 % interval), ``M p5``, ``M p50``,
    ``M p95``, ``M worst``, ``M worst picture`` and ``M baseline`` (the baseline at the row's cost in
    bytes: payload and declared side information). Metrics are in their own units, never in a view's scaling.
    Missing values are NaN.
    """
    import pandas as pd

    return pd.DataFrame(_records(run, summarise(run)))


def leaderboard_csv(run: Run) -> str:
    """Return :func:`leaderboard_frame` as CSV with a header line."""
    return str(leaderboard_frame(run).to_csv(index=False, lineterminator="\n"))


def leaderboard_json(run: Run) -> str:
    """Return :func:`leaderboard_frame` as JSON: the data, the metrics and a list of rows; null for missing values."""
    rows = [{key: _plain(value) for key, value in row.items()} for row in _records(run, summarise(run))]
    whole = {"run": run.name, "image_set": run.manifest["image_set"], "metrics": run.manifest["metrics"], "rows": rows}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    # JSON has no infinity: the PSNR of a perfect copy is told by its text.
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _records(run: Run, summary: Summary) -> list[dict[str, Any]]:
    points = run.manifest["points"]
    asked = set(requested_points({label: points[label] for label in summary.points}))
    ranking = [label for label in summary.points if label in asked]
    others = [label for label in summary.points if label not in asked]
    rows = []
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        ranked = ranked_rows(summary, ranking, mask) + [(None, row) for _, row in ranked_rows(summary, others, mask)]
        ranked += [(None, row) for row in summary.rows if row.budget is not None and row.mask == mask]
        rows += [_record(run, summary, rank, row) for rank, row in ranked]
    return rows


def _record(run: Run, summary: Summary, rank: int | None, row: Row) -> dict[str, Any]:
    about, image_set = run.manifest["points"][row.point], run.manifest["image_set"]
    overlap = about.get("overlap") or {}
    record: dict[str, Any] = {
        "rank": float("nan") if rank is None else rank,
        "point": row.point,
        "codec": row.codec,
        "curve": row.curve,
        "mask": row.mask,
        "budget": float("nan") if row.budget is None else row.budget,
        "downscale": row.downscale,
        "requested": bool(about.get("requested", True)),
        "pictures": row.pictures,
        "failures": row.failed,
        "failure kinds": "; ".join(f"{kind}: {count}" for kind, count in row.failures.items()),
        "bytes": row.bytes,
        "cost bytes": row.cost,
        "bpp": row.bpp,
        "ratio": row.ratio,
        "payload p5": row.payload.p5,
        "payload p50": row.payload.p50,
        "payload p95": row.payload.p95,
        "payload largest": row.payload.worst,
        "encode ms": row.encode_ms,
        "decode ms": row.decode_ms,
        "weights bytes": row.weights_bytes,
        "overlap pictures": int(overlap.get("pictures", 0)),
        "overlap identities": int(overlap.get("identities", 0)),
        "lossless": bool(about.get("lossless", False)),
        "version": about.get("version", ""),
        "weights digest": about.get("weights_digest") or "",
        "data digest": image_set["digest"],
        "synthetic": bool(image_set.get("synthetic", False)),
        "baseline curve": summary.baseline_curve or "",
    }
    for name, metric in row.metrics.items():
        at_same_bytes = row.baseline.get(name)
        record |= {
            name: metric.mean,
            f"{name} low": metric.low,
            f"{name} high": metric.high,
            f"{name} p5": metric.spread.p5,
            f"{name} p50": metric.spread.p50,
            f"{name} p95": metric.spread.p95,
            f"{name} worst": metric.spread.worst,
            f"{name} worst picture": metric.spread.worst_picture,
            f"{name} baseline": float("nan") if at_same_bytes is None else at_same_bytes,
        }
    return record
