"""Which operating points of a run stand for its curves when their cost is measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facebench.analysis.summary import WHOLE, summarise

if TYPE_CHECKING:
    from facebench.store import Run

#: Bytes of the operating points that are measured, as near as a curve has one.
BYTES = 128


def point_of_each_curve(run: Run, size: float = BYTES) -> list[str]:
    """Return for each curve of ``run`` the label of the point nearest to ``size`` bytes, by ratio.

    Points with failed pictures do not count, nor do those with a byte budget, which lie on no curve.
    """
    nearest: dict[str, tuple[float, str]] = {}
    for row in summarise(run, resamples=0).rows:
        if row.mask != WHOLE or row.failed or row.budget is not None or not row.bytes > 0:
            continue
        distance = abs(math.log(row.bytes / size))
        if row.curve not in nearest or distance < nearest[row.curve][0]:
            nearest[row.curve] = (distance, row.point)
    return [point for _, point in nearest.values()]
