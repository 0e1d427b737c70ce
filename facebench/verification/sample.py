"""Which published rows are measured again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from facebench.measure import CRASHED


def sample_rows(records: pd.DataFrame, points: list[str], count: int, seed: int) -> dict[str, list[int]]:
    """Return positions of pictures by point: ``count`` random rows in all, spread evenly over ``points``.

    With fewer rows than points, random ones of these have one row. Points that killed their process are left out.
    """
    random = np.random.default_rng(seed)
    usable = records[(records["mask"] == "none") & (records["status"] != CRASHED)]
    positions = {name: rows.to_numpy() for name, rows in usable.groupby("point", sort=False)["position"]}
    measured = [name for name in points if name in positions]
    if not measured:
        return {}
    share, extra = divmod(count, len(measured))
    lucky = set(random.permutation(len(measured))[:extra].tolist())
    sample = {}
    for index, name in enumerate(measured):
        wanted = min(share + (index in lucky), len(positions[name]))
        if wanted:
            sample[name] = sorted(random.choice(positions[name], wanted, replace=False).tolist())
    return sample
