"""Which folder a run's results go to: never over another run's, unless the user says so."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from facebench.errors import ResultsError
from facebench.runner import Plan, run_name
from facebench.store import MANIFEST


def results_folder(out: Path | None, plan: Plan, overwrite: bool) -> Path:
    """Return ``out``, or by default the first of results/NAME, results/NAME-2 ... that is free or holds this run.

    Two runs are the same if their operating points and image set are, and ours has all of its metrics. Raises
    :class:`ResultsError` if ``out`` holds another run and ``overwrite`` is not set, or is not a folder.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise ResultsError(f"{out} is not a folder; choose another --out")
        if not overwrite and not _is_ours(out, plan):
            raise ResultsError(f"{out} holds another run: choose another --out, or --overwrite to replace it")
        return out
    base = Path("results") / run_name(plan.images)
    candidates = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in itertools.count(1))
    return next(folder for folder in candidates if _is_ours(folder, plan))


def _is_ours(folder: Path, plan: Plan) -> bool:
    """Whether ``folder`` is free, or holds a run of the same points and image set without metrics that ours lacks."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return True
    try:
        found = json.loads(manifest.read_text())
        # Without the baseline's where it could not be made; downscaled ones come by themselves where budgets need them.
        points = {name for name, about in found["points"].items() if name in plan.points or not about.get("downscale")}
        same_points = plan.requested <= points <= set(plan.points)
        columns = {column.name for metric in plan.metrics for column in metric.columns}
        return same_points and columns >= set(found["metrics"]) and found["image_set"]["digest"] == plan.images.digest
    except (OSError, ValueError, KeyError, TypeError):
        return False
