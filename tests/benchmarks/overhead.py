"""The harness's own share of a run: what is neither codec nor metric arithmetic.

Usage: python tests/benchmarks/overhead.py CELEBA [--codecs jpeg] [--baseline] [--pictures 20000] [--cold]

Overhead = wall time x cores - seconds in encode and decode (the run's records) - seconds in the metrics. The latter
are measured right before and after the run: the metrics' ``score`` functions on pictures and masks of the same set,
in shards of the run's size, one thread in one process per core at once. Start-up, loading of weights, reading and
writing, the analysis and idle cores are overhead; so is, with ``--cold``, preparing the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

from command import copied_cache, facebench, prepared_cache, run_arguments
from picture_folders import link_pictures
from verdict import verdict

SHARDS = 12


def score_seconds(pictures: str) -> float:
    """Return the seconds per picture of all default metrics, on ``SHARDS`` shards of a folder's pictures."""
    import numpy as np

    from facebench.data.choose import DataOptions, choose_source, prepare_chosen
    from facebench.plan import plan_metrics
    from facebench.plugins import load_object, load_registry
    from facebench.runner import SHARD_PICTURES

    registry = load_registry("")
    options = DataOptions(f"folder:{pictures}", crop="centre-148")
    images = prepare_chosen(choose_source(options, registry), options, registry)
    assert images.masks is not None
    scores = [load_object(metric.target) for metric in plan_metrics(registry)]
    spent = 0.0
    for shard in range(SHARDS + 1):
        rows = slice(shard * SHARD_PICTURES, (shard + 1) * SHARD_PICTURES)
        originals, masks = np.array(images.images[rows]), np.array(images.masks[rows])
        decoded = originals // 16 * 16
        start = time.perf_counter()
        for score in scores:
            score(originals, decoded, masks)
        if shard:  # the first one warms up
            spent += time.perf_counter() - start
    return spent / (SHARDS * SHARD_PICTURES)


def metric_seconds(pictures: Path, cache: Path, jobs: int) -> float:
    """Return the seconds per picture in the metrics, of ``jobs`` processes that score at the same time."""
    os.environ |= {"FACEBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        return mean(pool.map(score_seconds, [str(pictures)] * jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--codecs", default="jpeg")
    parser.add_argument("--baseline", action="store_true", help="with the baseline's sweep, as a run has by default")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--cold", action="store_true", help="the run prepares its pictures too")
    options = parser.parse_args()
    jobs = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        pictures = link_pictures(options.celeba, scratch / "pictures", options.pictures)
        prepared = prepared_cache(pictures, scratch)
        arguments = run_arguments(options.codecs, pictures, scratch / "out")
        if options.baseline:
            arguments.remove("--no-baseline")
        cache = scratch / "cold-cache" if options.cold else copied_cache(prepared, scratch)
        before = metric_seconds(pictures, prepared, jobs)
        finished = facebench(*arguments, cache=cache)
        after = metric_seconds(pictures, prepared, jobs)
        report(scratch / "out", finished.seconds, jobs, (before + after) / 2)


def report(run: Path, wall: float, jobs: int, score: float) -> None:
    """Print where the cores' time of a run went; ``score`` is the seconds in the metrics for one picture."""
    import pandas as pd

    records = pd.read_parquet(run / "records.parquet")
    rows = records[records["mask"] == "none"]
    coding = float(rows[["encode_seconds", "decode_seconds"]].to_numpy("float64").sum())
    scoring = score * len(rows)
    own = wall * jobs - coding - scoring
    points = len(json.loads((run / "manifest.json").read_text())["points"])
    print(
        f"{len(rows) // points:,} pictures x {points} operating points, {jobs} cores x {wall:.1f} s: codecs "
        f"{coding:.1f} s, metrics {scoring:.1f} s ({1000 * score:.3f} ms a picture), the rest {own:.1f} s"
    )
    verdict("overhead / all", own / (wall * jobs), at_most=0.1)


if __name__ == "__main__":
    main()
