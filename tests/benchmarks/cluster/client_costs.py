"""What a run costs its client, in seconds and bytes per shard, without Dask."""

from __future__ import annotations

import math
import pickle
import resource
import time
from concurrent.futures import Future, wait

import cloudpickle

from cluster.canned import canned, canned_at_once
from cluster.client_runs import client_run, own_cache, plan_of, pretended, shards_of
from cluster.ffhq import CODECS, PICTURES
from facebench.child import Isolation
from facebench.data.imageset import ImageSet
from facebench.data.rows import Rows, rows_of
from facebench.grid import Elsewhere, measure_shard
from facebench.report.groups import groups_markdown
from facebench.report.leaderboard import leaderboard_markdown
from facebench.runner import shard_pictures
from facebench.store import write_run


def message_bytes(images: ImageSet) -> dict[str, int]:
    """Return the bytes of a task's and a result's message, pickled as distributed does it."""
    plan = plan_of(pretended(images, 800), "jpeg")
    shard = shards_of(plan)[0]
    assert images.recipe is not None
    rows = rows_of(images.recipe, plan.images, shard.pictures.start, shard.pictures.stop)
    everything = rows_of(images.recipe, pretended(images, PICTURES), 0, PICTURES)

    def size(of: Rows | None) -> int:
        task = (measure_shard, Isolation(900.0), shard, Elsewhere(of), plan.metrics, False)
        return len(cloudpickle.dumps(task))

    result = canned(Isolation(), shard, Elsewhere(rows), plan.metrics)
    return {
        "task": size(rows),
        "task_without_rows": size(None),
        "task_of_a_whole_set_metric": size(everything),
        "result": len(pickle.dumps(result, pickle.HIGHEST_PROTOCOL)),
    }


def client_costs(images: ImageSet, pictures: int) -> dict[str, float]:
    """Return the client's seconds and bytes per shard without Dask, from runs of one and three operating points."""
    whole = pretended(images, pictures)
    runs, peaks, disks, shards = [], [], [], []
    for codecs in ("jpeg:quality=50", "jpeg:quality=50/60/70"):
        with own_cache() as folder:
            plan = plan_of(whole, codecs)
            runs.append(client_run(plan, canned_at_once()))
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            disks.append(sum(file.stat().st_blocks * 512 for file in (folder / "shards").glob("*/*")))
            shards.append(len(plan.points) * math.ceil(pictures / shard_pictures(images.size)))
    more = shards[1] - shards[0]
    ready = canned(Isolation(), shards_of(plan_of(pretended(images, 8), "jpeg"))[0], None, plan.metrics)
    start = time.process_time()
    for _ in range(2000):
        pickle.loads(pickle.dumps(ready))
    own = (time.process_time() - start) / 2000  # of the replacement, not of the client
    return {
        "lead_seconds_per_shard": (runs[1].lead - runs[0].lead) / more,
        "seconds_per_shard": (runs[1].middle - runs[0].middle) / more - own,
        "tail_seconds_per_shard": (runs[1].tail - runs[0].tail) / more,
        "peak_bytes_per_shard": (peaks[1] - peaks[0]) / more,
        "cache_bytes_per_shard": disks[1] / shards[1],
    }


def look_seconds() -> float:
    """Return the CPU seconds per task in flight of one look for results."""
    spent = []
    for count in (500, 4500):
        flying: dict[Future[None], None] = {Future(): None for _ in range(count)}
        next(iter(flying)).set_result(None)
        start = time.process_time()
        for _ in range(50):
            wait(flying, return_when="FIRST_COMPLETED")
        spent.append((time.process_time() - start) / 50)
    return (spent[1] - spent[0]) / 4000


def report_costs(images: ImageSet) -> dict[str, float]:
    """Return the seconds per record of all that follows on a run, from all points over 100 and 300 pictures."""
    spent, records = [], []
    for count in (100, 300):
        with own_cache() as folder:
            plan = plan_of(pretended(images, count), CODECS, sweep=True)
            run = client_run(plan, canned_at_once()).run
            start = time.process_time()
            write_run(folder / "out", run, leaderboard_markdown(run), groups_markdown(run))
            spent.append(time.process_time() - start)
            records.append(len(run.records))
    return {"seconds_per_record": (spent[1] - spent[0]) / (records[1] - records[0])}
