"""The order of a leaderboard: who is ranked, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from facebench.analysis.summary import WHOLE, Row, Summary


def requested_points(points: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the labels that the user asked for; all of them if the run holds only the baseline's own."""
    asked = [label for label, about in points.items() if about.get("requested", True)]
    return asked or list(points)


def ranked_rows(summary: Summary, points: list[str], mask: str = WHOLE) -> list[tuple[int | None, Row]]:
    """Return the rows of ``points`` in that mask variant, best first, each with its rank from 1.

    Ranked by the mean of ``summary.ranked_by``; of equals the smaller goes first, then the label
    decides. Rows with failed pictures or no finite mean follow, in the run's order, ranked None.
    """
    metric = summary.ranked_by
    sign = -1 if summary.higher_is_better(metric) else 1
    chosen = set(points)
    rows = [row for row in summary.rows if row.mask == mask and row.point in chosen]
    sound = [row for row in rows if not row.failed and math.isfinite(row.metrics[metric].mean)]
    sound.sort(key=lambda row: (sign * row.metrics[metric].mean, row.cost, row.point))
    ranked: list[tuple[int | None, Row]] = list(enumerate(sound, start=1))
    return ranked + [(None, row) for row in rows if row not in sound]
