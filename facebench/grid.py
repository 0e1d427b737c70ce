"""Runs the grid of shards on an executor: bounded work in flight, faults kept to the codec that causes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

from facebench.engines import stop
from facebench.hookspecs import MetricSpec
from facebench.measure import (
    CRASHED,
    CodecTask,
    Encoded,
    Pictures,
    Scored,
    decode_shard,
    encode_shard,
)


@dataclass(frozen=True)
class Shard:
    """Consecutive pictures of an image set at one operating point: the unit of work, caching and resuming."""

    label: str
    task: CodecTask
    pictures: Pictures
    key: str


@dataclass(frozen=True)
class Measured:
    """A finished shard: its payload sizes, scores and statuses."""

    shard: Shard
    encoded: Encoded
    scored: Scored


class Engine:
    """An executor that is made again when a codec has killed one of its processes.

    ``make_pool(jobs)`` makes it. ``make_decode_pool``, if given, makes a second one for the decode tasks.
    """

    def __init__(
        self,
        jobs: int,
        make_pool: Callable[[int], Executor],
        make_decode_pool: Callable[[int], Executor] | None = None,
    ) -> None:
        self.jobs = jobs
        self._make_pool = make_pool
        self._make_decode_pool = make_decode_pool
        self._pool: Executor | None = None
        self._decode_pool: Executor | None = None

    def submit(self, decoding: bool, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit a task; ``decoding`` chooses the pool."""
        if decoding and self._make_decode_pool is not None:
            self._decode_pool = self._decode_pool or self._make_decode_pool(self.jobs)
            return self._decode_pool.submit(function, *args)
        self._pool = self._pool or self._make_pool(self.jobs)
        return self._pool.submit(function, *args)

    def alone(self) -> Engine:
        """Return an engine of one process, to find out which of several shards killed it."""
        return Engine(1, self._make_pool, self._make_decode_pool)

    def close(self) -> None:
        """End all processes at once; the next submission starts new ones."""
        for pool in (self._pool, self._decode_pool):
            if pool is not None:
                stop(pool)
        self._pool = self._decode_pool = None


def measure_grid(shards: Iterable[Shard], metrics: tuple[MetricSpec, ...], engine: Engine) -> Iterator[Measured]:
    """Yield each shard measured, in the order in which they finish.

    At most two shards per process are in flight, so memory does not grow with the number of pictures. When a
    process dies, all shards in flight are suspects: each is done again alone, and the one whose process dies
    again is marked crashed, with all later shards of its operating point.
    """
    waiting = deque(shards)
    flying: dict[Future[Any], tuple[Shard, Encoded | None]] = {}
    crashed: set[str] = set()
    suspects: list[Shard] = []
    try:
        while waiting or flying:
            try:
                while waiting and len(flying) < 2 * engine.jobs:
                    shard = waiting[0]
                    if shard.label in crashed:
                        yield _crashed(waiting.popleft(), metrics, "not run: the codec killed its process before")
                        continue
                    flying[engine.submit(False, encode_shard, shard.task, shard.pictures)] = (shard, None)
                    waiting.popleft()
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    shard, encoded = flying[future]
                    result = future.result()
                    if encoded is None:
                        following = engine.submit(True, decode_shard, shard.task, result, shard.pictures, metrics)
                        flying[following] = (shard, result)
                    else:
                        yield Measured(shard, encoded, result)
                    del flying[future]
            except BrokenExecutor:
                suspects = [shard for shard, _ in flying.values()]
                flying.clear()
                engine.close()
                for measured in _retry_alone(suspects, metrics, engine):
                    if CRASHED in measured.scored.statuses:
                        crashed.add(measured.shard.label)
                    yield measured
    finally:
        engine.close()


def _retry_alone(suspects: list[Shard], metrics: tuple[MetricSpec, ...], engine: Engine) -> Iterator[Measured]:
    alone = engine.alone()
    crashed: set[str] = set()
    try:
        for shard in suspects:
            if shard.label in crashed:
                yield _crashed(shard, metrics, "not run: the codec killed its process before")
                continue
            stage = "encoding"
            try:
                encoded = alone.submit(False, encode_shard, shard.task, shard.pictures).result()
                stage = "decoding"
                scored = alone.submit(True, decode_shard, shard.task, encoded, shard.pictures, metrics).result()
                yield Measured(shard, encoded, scored)
            except BrokenExecutor:
                alone.close()
                crashed.add(shard.label)
                yield _crashed(shard, metrics, f"the codec killed its process while {stage}")
    finally:
        alone.close()


def _crashed(shard: Shard, metrics: tuple[MetricSpec, ...], detail: str) -> Measured:
    import numpy as np

    count = len(shard.pictures)
    encoded = Encoded([b""] * count, [0] * count, [CRASHED] * count, [detail] * count, 0.0)
    variants = 1 if shard.pictures.masks_file is None else 2
    scores = {c.name: np.full((variants, count), np.nan) for metric in metrics for c in metric.columns}
    return Measured(shard, encoded, Scored(scores, list(encoded.statuses), list(encoded.details), 0.0))
