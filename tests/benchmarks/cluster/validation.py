"""Is the simulation right? Real runs, small enough for one machine, and the same simulated."""

from __future__ import annotations

import math
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import psutil
from picture_folders import link_pictures

from cluster.client_costs import client_costs
from cluster.client_runs import own_cache, plan_of, prepared, shards_of
from cluster.cpu_time import Contention, cpu
from cluster.dask_costs import dask_costs
from cluster.inputs import rates_of
from cluster.local_cluster import local_cluster
from cluster.simulation import Load, Simulation, by_point
from facebench.child import Isolation
from facebench.engines import dask_engine
from facebench.grid import measure_shard
from facebench.plan import Plan
from facebench.runner import execute, shard_pictures

CHECKED_CODECS = "jpeg:quality=20/50/80,webp:quality=10/40/70"
CHECKED_PICTURES = 6_400


def shard_costs(plan: Plan) -> tuple[list[float], float, float]:
    """Return a shard's seconds in the child by operating point, its relative deviation, and seconds outside it."""
    isolation, by_label = Isolation(), {name: list[float]() for name in plan.points}
    child, outside = isolation.run(os.getpid), []
    for shard in shards_of(plan):
        spent = by_label[shard.label]
        if len(spent) < 5:
            before = cpu(child), time.process_time()
            measure_shard(isolation, shard, None, plan.metrics, False)
            spent.append(cpu(child) - before[0])
            outside.append(time.process_time() - before[1])
    settled = [spent[1:] for spent in by_label.values()]
    deviation = math.sqrt(mean((stdev(spent) / mean(spent)) ** 2 for spent in settled))
    return [mean(spent) for spent in settled], deviation, mean(outside[1:])


def real_run(plan: Plan, workers: int) -> tuple[float, dict[str, float]]:
    """Return the seconds from a real run's first result to its last, and the parts' slowdowns by other programs."""
    moments: list[float] = []
    watched: dict[str, list[Contention]] = {}

    with local_cluster(workers, workers) as cluster, own_cache():

        def progress(done: int, total: int, cached: bool) -> None:
            moments.append(time.monotonic())
            if len(moments) == 1:
                codecs = [child.pid for pid in cluster.workers for child in psutil.Process(pid).children()]
                parts = {"child": codecs, "worker": cluster.workers, "scheduler": [cluster.scheduler]}
                for part, pids in {**parts, "client": [os.getpid()]}.items():
                    watched[part] = [Contention(pid) for pid in pids]
            elif len(moments) % 10 == 0:
                for contention in (one for part in watched.values() for one in part):
                    contention.look()

        execute(plan, dask_engine(cluster.address, 1, Isolation(900.0)), progress)
    slowdowns = {part: mean(one.slowdown for one in of_part) for part, of_part in watched.items()}
    return moments[-1] - moments[0], slowdowns


def validate(celeba: Path, costs: dict[str, Any]) -> None:
    """Print measured and simulated seconds of runs of 300 shards on 1 and 2 workers."""
    print("| size | workers | shards | a shard, CPU | slowed down by others | measured | simulated | error |")
    print("|---|---|---|---|---|---|---|---|")
    with own_cache(), tempfile.TemporaryDirectory() as scratch:
        folder = link_pictures(celeba, Path(scratch, "pictures"), CHECKED_PICTURES)
        for size in (64, 16):
            images = prepared(folder, size)
            plan = plan_of(images, CHECKED_CODECS)
            own = {
                **costs,
                "client": client_costs(images, 64_000),
                "dask": [dask_costs(images, workers, 64_000) for workers in (2, 32)],
            }
            seconds, deviation, outside = shard_costs(plan)
            ranges = math.ceil(len(images) / shard_pictures(images.size))
            shards = ranges * len(seconds)
            for workers in (1, 2):
                measured, slow = real_run(plan, workers)
                rates = replace(rates_of(own, shards, math.inf, math.inf), lead=0.0, tail=0.0)
                rates = replace(
                    rates,
                    client_task=rates.client_task * slow["client"],
                    client_shard=rates.client_shard * slow["client"],
                    client_look=rates.client_look * slow["client"],
                    client_flying=rates.client_flying * slow["client"],
                    scheduler_task=rates.scheduler_task * slow["scheduler"],
                    scheduler_wake=rates.scheduler_wake * slow["scheduler"],
                    worker_task=outside * slow["worker"],
                )
                load = Load(ranges, tuple(s * slow["child"] for s in seconds), deviation, 0.0, 0.0, ranges)
                wall = Simulation(load, rates, workers, by_point(load), False).run().wall
                print(
                    f"| {size} | {workers} | {shards} | {mean(seconds):.3f} s | {slow['child']:.2f}x | "
                    f"{measured:.1f} s | {wall:.1f} s | {wall / measured - 1:+.0%} |",
                    flush=True,
                )
