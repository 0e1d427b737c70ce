"""Runs of facebench in this process, which is their client: their sets, plans, shards and times."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster.canned import canned
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import Engine, serial_engine
from facebench.grid import Shard
from facebench.operating_point import parse_points
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import load_registry
from facebench.runner import execute
from facebench.store import Run


@contextlib.contextmanager
def own_cache() -> Iterator[Path]:
    """Run the block with a cache of facebench's own."""
    before = os.environ.get("FACEBENCH_CACHE")
    with tempfile.TemporaryDirectory(prefix="facebench-cluster-") as folder:
        os.environ["FACEBENCH_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("FACEBENCH_CACHE") if before is None else os.environ.update(FACEBENCH_CACHE=before)


def prepared(folder: Path, size: int) -> ImageSet:
    """Return the pictures of a folder, whole, without masks, at ``size`` pixels."""
    registry = load_registry()
    options = DataOptions(f"folder:{folder}", crop="full", size=size, mask="none")
    return prepare_chosen(choose_source(options, registry), options, registry)


def pretended(images: ImageSet, count: int) -> ImageSet:
    """Return a set of ``count`` pictures at 1024 that only its names and hashes exist of."""
    return replace(
        images,
        ids=tuple(f"folder:{index:05}.png" for index in range(count)),
        images=np.broadcast_to(np.uint8(0), (count, *images.size, 3)),
        hashes=np.random.default_rng(0).integers(0, 256, (count, 16), np.uint8),
    )


def plan_of(images: ImageSet, codecs: str, sweep: bool = False) -> Plan:
    """Return the plan of a run with the default metrics and no baseline codecs."""
    registry = load_registry()
    points = plan_points(registry, parse_points(codecs, registry, sweep=sweep), baseline=False)
    return Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "benchmark")


@dataclass(frozen=True)
class ClientRun:
    """A run, and this process's seconds of CPU before its first result, until the last one, and after it."""

    run: Run
    lead: float
    middle: float
    tail: float


def client_run(plan: Plan, engine: Engine) -> ClientRun:
    """Run ``plan`` and take the time of its parts."""
    start = time.process_time()
    moments: list[float] = []
    run = execute(plan, engine, lambda done, total, cached: moments.append(time.process_time()))
    return ClientRun(run, moments[0] - start, moments[-1] - moments[0], time.process_time() - moments[-1])


def shards_of(plan: Plan) -> list[Shard]:
    """Return a run's shards, caught on their way to an engine."""
    caught: list[Shard] = []

    class Catching(Engine):
        def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
            caught.extend(argument for argument in args if isinstance(argument, Shard))
            return super().submit(canned, *args)

    with own_cache():
        client_run(plan, Catching(**vars(serial_engine())))
    return caught
