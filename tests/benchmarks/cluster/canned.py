"""Whole runs of facebench without its codecs and metrics: shards return empty records at once."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from facebench.child import Isolation
from facebench.engines import Engine, serial_engine
from facebench.grid import Elsewhere, Measured, Shard
from facebench.hookspecs import MetricSpec
from facebench.measure import OK, CodecFacts, CodecTask, Encoded, Scored
from facebench.records import shard_records


def canned(
    isolation: Isolation,
    what: CodecTask | Shard,
    elsewhere: Elsewhere | None = None,
    metrics: tuple[MetricSpec, ...] = (),
    sealed: bool = False,
) -> CodecFacts | Measured:
    """Stand for ``made_codec`` and ``measure_shard``: return what they do, of the same size, at once."""
    if isinstance(what, CodecTask):
        return CodecFacts()
    columns = tuple(column.name for metric in metrics for column in metric.columns)
    return _canned_records(len(what.pictures), columns, 1000 + zlib.crc32(what.label.encode()) % 100_000)


@lru_cache(1000)
def _canned_records(count: int, columns: tuple[str, ...], size: int) -> Measured:
    chance = np.random.default_rng(0)
    encoded = Encoded([bytes(size)] * count, [8 * size] * count, [OK] * count, [""] * count, 1.0)
    scores = {name: chance.random((1, count)) / size for name in columns}
    return Measured(shard_records(encoded, Scored(scores, encoded.statuses, encoded.details, 1.0)), crashed=False)


class _AtOnce(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        # A table of its own for each shard, as each comes out of a message of its own.
        future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        return future


class _Canned(Engine):
    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return super().submit(canned, *args)


def canned_engine(engine: Engine) -> Engine:
    """Return ``engine`` with :func:`canned` in place of all that it is given to run."""
    return _Canned(**vars(engine))


def canned_at_once() -> Engine:
    """Return a canned engine of two slots in this process."""
    return canned_engine(replace(serial_engine(), executor=_AtOnce(), slots=lambda: 2))
