"""From measured costs to what the simulation takes: rates, and FFHQ's load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from cluster.ffhq import PICTURES, POINTS_OF_A_CODEC, SIZE, SOURCE_BYTES
from cluster.simulation import Load, Rates, heartbeats
from facebench.runner import shard_pictures


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a least-squares line, or 0 if it falls or is of one point."""
    across, up = mean(x for x, _ in points), mean(y for _, y in points)
    width = sum((x - across) ** 2 for x, _ in points)
    return max(0.0, sum((x - across) * (y - up) for x, y in points) / width) if width else 0.0


def point_seconds(costs: dict[str, Any]) -> list[list[float]]:
    """Return for each codec the CPU seconds of a picture at each of its ten points, between three measured ones."""
    found = []
    for codec in costs["picture"]["codec_seconds"].values():
        measured = [mean(of_one) for of_one in codec.values()]
        seconds = []
        for index in range(POINTS_OF_A_CODEC):
            place = 2 * index / (POINTS_OF_A_CODEC - 1)
            below = min(1, int(place))
            seconds.append(measured[below] + (place - below) * (measured[below + 1] - measured[below]))
        found.append(seconds)
    return found


def spread(costs: dict[str, Any]) -> float:
    """Return the relative standard deviation between pictures, over all points."""
    ratios = [
        [seconds / mean(of_one) for seconds in of_one]
        for codec in costs["picture"]["codec_seconds"].values()
        for of_one in codec.values()
    ]
    return math.sqrt(mean(stdev(of_one) ** 2 for of_one in ratios))


def rates_of(costs: dict[str, Any], shards: int, storage: float, network: float) -> Rates:
    """Return the rates of a run of so many shards, from the measured costs."""
    client, flying = costs["client"], costs["look"]["seconds_per_task_in_flight"]
    # With the fewest workers each task comes alone; with the most, client and scheduler never find themselves idle.
    alone, together = (pick(costs["dask"], key=lambda run: run["workers"]) for pick in (min, max))
    busy_client = together["client_seconds_per_task"]
    busy_scheduler = together["scheduler_seconds_per_task"]
    return Rates(
        lead=client["lead_seconds_per_shard"] * shards,
        client_task=max(0.0, busy_client - client["seconds_per_shard"]),
        client_shard=client["seconds_per_shard"],
        client_look=max(0.0, alone["client_seconds_per_task"] - busy_client),
        client_flying=flying,
        tail=client["tail_seconds_per_shard"],
        scheduler_task=busy_scheduler,
        scheduler_wake=max(0.0, alone["scheduler_seconds_per_task"] - busy_scheduler) / 2,
        scheduler_heartbeat=slope(
            [(heartbeats(run["workers"]), run["scheduler_seconds_per_second_idle"]) for run in costs["dask"]]
        ),
        worker_task=costs["worker"]["task_seconds_outside_the_child"],
        storage=storage,
        network=network,
    )


@dataclass(frozen=True)
class Storage:
    """Where workers read pictures: ``kept`` bytes stay with each; ``read`` bytes and ``prepare`` seconds a picture."""

    name: str
    read: float
    prepare: float
    kept: float
    kept_picture: float


def storages(costs: dict[str, Any], memory: float, disk: float) -> tuple[Storage, Storage]:
    """Return the two ways: the client's arrays on a shared file system, and sources that each worker prepares."""
    pixels = 3.0 * SIZE * SIZE
    prepare = costs["worker"]["prepare_seconds_per_picture"]
    shared = Storage("shared arrays", pixels, 0.0, memory, pixels)
    return shared, Storage("own disks", SOURCE_BYTES, prepare, disk, pixels)


def load_of(costs: dict[str, Any], way: Storage, group: int = 1, longer: int = 1) -> Load:
    """Return FFHQ's load in tasks of ``group`` operating points of one codec, and ``longer`` times as many pictures."""
    step = shard_pictures((SIZE, SIZE)) * longer
    metrics = costs["picture"]["metrics_seconds"]
    seconds = [
        sum(step * (one + metrics) for one in codec[first : first + group])
        for codec in point_seconds(costs)
        for first in range(0, POINTS_OF_A_CODEC, group)
    ]
    kept = max(1, int(way.kept / (step * way.kept_picture)))
    deviation = spread(costs) / math.sqrt(step)
    return Load(PICTURES // step, tuple(seconds), deviation, step * way.read, step * way.prepare, kept, group)
