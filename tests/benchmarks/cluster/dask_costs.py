"""What Dask costs client, scheduler and workers, from runs on clusters of this machine."""

from __future__ import annotations

import math
import time

import distributed

from cluster.canned import canned_engine
from cluster.client_runs import client_run, own_cache, plan_of, pretended
from cluster.cpu_time import cpu
from cluster.local_cluster import local_cluster
from facebench.child import Isolation
from facebench.data.imageset import ImageSet
from facebench.engines import dask_engine
from facebench.runner import shard_pictures


def messages_per_task(images: ImageSet) -> dict[str, float]:
    """Return the messages per task in the scheduler's streams to and from the workers.

    Each result is gathered on top of them, and the client's stream carries its own.
    """
    plan = plan_of(pretended(images, 4000), "jpeg")
    with (
        local_cluster(2, 1) as cluster,
        own_cache(),
        distributed.Client(cluster.address, set_as_default=False) as client,
    ):

        def sent() -> tuple[int, int]:
            to_workers = client.run_on_scheduler(
                lambda dask_scheduler: sum(comm.message_count for comm in dask_scheduler.stream_comms.values())
            )
            of_worker = client.run(lambda dask_worker: dask_worker.batched_stream.message_count)
            return to_workers, sum(of_worker.values())

        before = sent()
        client_run(plan, canned_engine(dask_engine(cluster.address, 1, Isolation(900.0))))
        after = sent()
    tasks = math.ceil(len(plan.images) / shard_pictures(images.size))
    return {"to_workers": (after[0] - before[0]) / tasks, "from_workers": (after[1] - before[1]) / tasks}


def dask_costs(images: ImageSet, workers: int, pictures: int) -> dict[str, float]:
    """Return the CPU seconds per task of client, scheduler and workers, with so many workers in one process."""
    plan = plan_of(pretended(images, pictures), "jpeg")
    with local_cluster(workers, 1) as cluster, own_cache():
        idle = cpu(cluster.scheduler)
        time.sleep(5)
        idle = (cpu(cluster.scheduler) - idle) / 5
        engine = dask_engine(cluster.address, 1, Isolation(900.0))
        start, scheduler, in_workers = time.monotonic(), cpu(cluster.scheduler), cpu(cluster.workers[0])
        run = client_run(plan, canned_engine(engine))
        wall, scheduler = time.monotonic() - start, cpu(cluster.scheduler) - scheduler
        in_workers = cpu(cluster.workers[0]) - in_workers
    tasks = math.ceil(pictures / shard_pictures(images.size))
    return {
        "workers": workers,
        "tasks": tasks,
        "tasks_per_second_of_wall_time": tasks / wall,
        "client_seconds_per_task": run.middle / tasks,
        "scheduler_seconds_per_task": (scheduler - idle * wall) / tasks,
        "scheduler_seconds_per_second_idle": idle,
        "worker_seconds_per_task": in_workers / tasks,
    }
