"""Runs the grid of shards on an engine: bounded work in flight, faults kept to the codec that causes them."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from facebench.child import ChildKilled, Isolation
from facebench.data.rows import Rows
from facebench.engines import Engine, outcome
from facebench.errors import EngineError, FacebenchError
from facebench.hookspecs import MetricSpec
from facebench.measure import (
    CRASHED,
    CodecFacts,
    CodecTask,
    Encoded,
    Pictures,
    Scored,
    codec_facts,
    decode_shard,
    encode_shard,
)
from facebench.provenance import Software
from facebench.records import shard_records

#: A worker of a cluster may go at any time; a shard is given to the engine so often.
_ATTEMPTS = 3
#: The detail of rows whose operating point had crashed before.
NOT_RUN = "not run: the codec's process ended before"


@dataclass(frozen=True)
class Shard:
    """Consecutive pictures of an image set at one operating point: the unit of work, caching and resuming.

    ``software``, and ``weights`` by their digest, are what a worker must have too; ``key`` names all that the records
    depend on.
    """

    label: str
    task: CodecTask
    pictures: Pictures
    software: Software
    weights: str | None
    key: str


@dataclass(frozen=True)
class Measured:
    """The records of a finished shard; ``crashed`` if its codec killed the process, which is worth another try."""

    records: pa.Table
    crashed: bool


def made_codec(isolation: Isolation, task: CodecTask) -> CodecFacts:
    """Make a codec where the engine runs it and return what it says of itself."""
    try:
        return isolation.run(codec_facts, task)
    except ChildKilled as death:
        return CodecFacts(problem=f"the codec's process ended while it was made: {death}", crashed=True)


@dataclass(frozen=True)
class Elsewhere:
    """What a shard needs on another machine: how to come by its pictures where the client's files are not."""

    rows: Rows | None


def measure_shard(
    isolation: Isolation, shard: Shard, elsewhere: Elsewhere | None, metrics: tuple[MetricSpec, ...], sealed: bool
) -> Measured:
    """Measure a shard where the engine runs it: encode, then decode and score, each a task of a child process.

    Only payloads pass from the first task to the second, and only records leave the worker. With ``sealed`` the
    second runs in a process of its own. ``elsewhere`` is given if this may be another machine than the client's.
    Raises EngineError if this worker has other software or weights than the client, DataError if it has other
    pictures.
    """
    pictures = shard.pictures
    stage = "being made"
    try:
        if elsewhere is not None:
            _refuse_another(isolation, shard)
            pictures = pictures.on_this_machine(elsewhere.rows)
        stage = "encoding"
        encoded = isolation.run(encode_shard, shard.task, pictures)
        stage = "decoding or scoring"
        scored = isolation.run(decode_shard, shard.task, encoded, pictures, metrics, fresh=sealed)
    except ChildKilled as death:
        return crashed_records(shard, metrics, f"the codec's process ended while {stage}: {death}")
    return Measured(shard_records(encoded, scored), crashed=False)


def _refuse_another(isolation: Isolation, shard: Shard) -> None:
    if not shard.software.is_here():
        raise EngineError(
            f"the worker on {platform.node()} has another version of facebench, of codec '{shard.task.spec.name}', "
            "a metric or their libraries than this machine: install the same there and restart its workers"
        )
    if isolation.run(codec_facts, shard.task).weights_digest != shard.weights:
        raise EngineError(
            f"the worker on {platform.node()} has other weights of codec '{shard.task.spec.name}' than this machine: "
            "copy the same there and restart its workers"
        )


def measure_grid(
    shards: Iterable[Shard],
    metrics: tuple[MetricSpec, ...],
    engine: Engine,
    *,
    rows_of: Callable[[Pictures], Rows | None] = lambda pictures: None,
    sealed: bool = False,
    crashed: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Shard, Measured]]:
    """Yield each shard measured, in the order in which they finish.

    At most two shards per slot are in flight, so memory does not grow with the number of pictures. Once a shard has
    crashed, the later ones of its operating point are not run, nor any of those in ``crashed``, which says by label
    why. ``rows_of`` tells a remote engine how to come by a shard's pictures. Raises EngineError if the engine is gone,
    or loses a shard several times.
    """
    waiting = deque(shards)
    flying: dict[Future[Measured], Shard] = {}
    not_run = set(crashed)
    lost: dict[str, int] = {}
    while waiting or flying:
        while waiting and len(flying) < 2 * engine.slots():
            shard = waiting.popleft()
            if shard.label in not_run:
                yield shard, crashed_records(shard, metrics, crashed.get(shard.label, NOT_RUN))
            else:
                elsewhere = Elsewhere(rows_of(shard.pictures)) if engine.remote else None
                flying[engine.submit(measure_shard, shard, elsewhere, metrics, sealed)] = shard
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        for future in done:
            shard = flying.pop(future)
            try:
                measured = outcome(future)
            except FacebenchError:
                raise
            except Exception as error:  # a worker of a cluster was killed
                lost[shard.key] = lost.get(shard.key, 0) + 1
                if lost[shard.key] == _ATTEMPTS:
                    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                    raise EngineError(f"what runs the shards lost one {_ATTEMPTS} times: {text}") from error
                waiting.appendleft(shard)
                continue
            if measured.crashed:
                not_run.add(shard.label)
            yield shard, measured


def crashed_records(shard: Shard, metrics: tuple[MetricSpec, ...], detail: str) -> Measured:
    """Return records of a shard that was not measured, for the reason in ``detail``."""
    count = len(shard.pictures)
    encoded = Encoded([b""] * count, [0] * count, [CRASHED] * count, [detail] * count, 0.0)
    variants = 1 if shard.pictures.masks_file is None else 2
    scores = {c.name: np.full((variants, count), np.nan) for metric in metrics for c in metric.columns}
    scored = Scored(scores, list(encoded.statuses), list(encoded.details), 0.0)
    return Measured(shard_records(encoded, scored), crashed=True)
