"""Discrete events of a run on a cluster: the client, the scheduler, the workers and the storage."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from distributed.scheduler import heartbeat_interval


@dataclass(frozen=True)
class Load:
    """What is to be done, in tasks: each ``group`` operating points over the pictures of one of ``ranges``.

    ``seconds`` has a task's CPU time for each group of points, of relative standard deviation ``spread``. A worker
    that lacks a range reads ``read`` bytes and takes ``prepare`` seconds; it keeps the ``kept`` ranges used last.
    """

    ranges: int
    seconds: tuple[float, ...]
    spread: float
    read: float
    prepare: float
    kept: int
    group: int = 1


@dataclass(frozen=True)
class Rates:
    """Seconds of CPU of the cluster's parts, and bytes a second.

    The client: before the first task, for each task, for each shard in it, for each look for results and for each task
    that is in flight then, and for each shard at the end. The scheduler: for each task, for each time that it wakes up
    (half a task's work finds it idle), and for each heartbeat of a worker. Those of looks and of waking up are shared
    by what has come in meanwhile: both parts work faster the busier they are.
    """

    lead: float
    client_task: float
    client_shard: float
    client_look: float
    client_flying: float
    tail: float
    scheduler_task: float
    scheduler_wake: float
    scheduler_heartbeat: float
    worker_task: float
    storage: float
    network: float


@dataclass
class Outcome:
    """What a simulated run took: seconds of wall time and of each part's work, and the ranges that workers read.

    ``working`` and ``waiting`` (for the storage) are of all workers together, ``measuring`` the working time without
    what prepares pictures.
    """

    wall: float = 0.0
    working: float = 0.0
    measuring: float = 0.0
    waiting: float = 0.0
    client: float = 0.0
    scheduler: float = 0.0
    storage: float = 0.0
    reads: int = 0
    tasks: int = 0


def by_point(load: Load) -> Iterator[tuple[int, int]]:
    """Yield (group of points, range) as facebench's runner orders them."""
    return ((point, pictures) for point in range(len(load.seconds)) for pictures in range(load.ranges))


def by_pictures(load: Load) -> Iterator[tuple[int, int]]:
    """Yield (group of points, range) with all points of the same pictures together."""
    return ((point, pictures) for pictures in range(load.ranges) for point in range(len(load.seconds)))


def heartbeats(workers: int) -> float:
    """Return the heartbeats a second that a scheduler asks so many workers for: fewer of each the more there are."""
    return workers / heartbeat_interval(workers)


class Simulation:
    """Discrete events of one run: the client's loop, the scheduler, the workers and the storage, each serial.

    At most two tasks per worker are in flight; a worker holds two, one running. With ``sticky`` a range's tasks go to
    the same worker while that has room.
    """

    def __init__(self, load: Load, rates: Rates, workers: int, tasks: Iterable[tuple[int, int]], sticky: bool) -> None:
        self._load, self._rates, self._sticky = load, rates, sticky
        self._tasks = iter(tasks)
        self._count = workers
        self._chance = random.Random(0)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._scheduler_free = self._storage_free = self._client_free = rates.lead
        self._results = 0
        self._flying = 0
        self._looking = False
        self._idle = dict.fromkeys(range(workers))
        self._single: dict[int, None] = {}
        self._backlog: list[tuple[int, int] | None] = [None] * workers
        self._queued: deque[tuple[int, int]] = deque()
        self._kept: list[dict[int, None]] = [{} for _ in range(workers)]
        # Heartbeats slow the scheduler down: they take a share of each of its seconds.
        self._heartbeats = rates.scheduler_heartbeat * heartbeats(workers)
        self._slower = 1 / max(1e-9, 1 - self._heartbeats)
        self.outcome = Outcome(client=rates.lead)

    def run(self) -> Outcome:
        """Return the outcome of the whole run."""
        self._submit(self._rates.lead)
        now = self._rates.lead
        while self._events:
            now, _, happen, arguments = heapq.heappop(self._events)
            happen(now, *arguments)
        tail = self._rates.tail * self.outcome.tasks * self._load.group
        self.outcome.client += tail
        self.outcome.wall = max(now, self._client_free) + tail
        self.outcome.scheduler += self._heartbeats * self.outcome.wall
        return self.outcome

    def _at(self, when: float, happen: Callable[..., None], *arguments: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happen, arguments))

    def _submit(self, now: float) -> None:
        """The client fills up what is in flight; the cost of a task is charged when it is sent."""
        cost = self._rates.client_task + self._rates.client_shard * self._load.group
        while self._flying < 2 * self._count and (task := next(self._tasks, None)) is not None:
            now += cost
            self.outcome.client += cost
            self.outcome.tasks += 1
            self._flying += 1
            self._at(now, self._scheduled, task)
        self._client_free = now

    def _look(self, now: float) -> None:
        """The client takes all results that have come and submits as many tasks."""
        self._looking = False
        cost = self._rates.client_look + self._rates.client_flying * self._flying
        self.outcome.client += cost
        self._flying -= self._results
        self._results = 0
        self._submit(now + cost)

    def _result(self, now: float) -> None:
        self._results += 1
        if not self._looking:
            self._looking = True
            self._at(max(now, self._client_free), self._look)

    def _schedule_half(self, now: float) -> float:
        """Return when the scheduler has done half of its work for a task: sent it out, or taken its result."""
        cost = self._rates.scheduler_task / 2 + (self._rates.scheduler_wake if now >= self._scheduler_free else 0.0)
        self.outcome.scheduler += cost
        self._scheduler_free = max(now, self._scheduler_free) + cost * self._slower
        return self._scheduler_free

    def _scheduled(self, now: float, task: tuple[int, int]) -> None:
        now = self._schedule_half(now)
        home = task[1] % self._count
        if self._sticky and home in self._idle:
            del self._idle[home]
            self._start(now, home, task)
        elif self._sticky and home in self._single:
            del self._single[home]
            self._backlog[home] = task
        elif self._idle:
            worker, _ = self._idle.popitem()
            self._start(now, worker, task)
        elif self._single:
            worker, _ = self._single.popitem()
            self._backlog[worker] = task
        else:
            self._queued.append(task)

    def _start(self, now: float, worker: int, task: tuple[int, int]) -> None:
        load, rates, kept = self._load, self._rates, self._kept[worker]
        point, pictures = task
        end = now
        if pictures in kept:
            del kept[pictures]
        else:
            self.outcome.reads += 1
            self.outcome.storage += load.read / rates.storage
            self._storage_free = max(now, self._storage_free) + load.read / rates.storage
            end = max(self._storage_free, now + load.read / rates.network)
            self.outcome.waiting += end - now
            self.outcome.working += load.prepare
            end += load.prepare
            if len(kept) >= load.kept:
                del kept[next(iter(kept))]
        kept[pictures] = None
        work = rates.worker_task + load.seconds[point] * max(0.1, self._chance.gauss(1, load.spread))
        self.outcome.working += work
        self.outcome.measuring += work
        end += work
        if self._backlog[worker] is None:
            self._single[worker] = None
        self._at(end, self._finished, worker)

    def _finished(self, now: float, worker: int) -> None:
        following, self._backlog[worker] = self._backlog[worker], None
        self._single.pop(worker, None)
        if following is not None:
            self._start(now, worker, following)
        done = self._schedule_half(now)
        if self._queued:
            task = self._queued.popleft()
            if following is None:
                self._start(done, worker, task)
            else:
                self._single.pop(worker, None)
                self._backlog[worker] = task
        elif following is None:
            self._idle[worker] = None
        self._at(done, self._result)
