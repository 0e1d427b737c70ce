"""Measures the cost of operating points in turn, so that a slow phase of the machine hits all of them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from facebench.child import Child, ChildKilled, Isolation
from facebench.cost.child import (
    DECODE,
    DECODE_BATCH,
    ENCODE,
    ENCODE_BATCH,
    Facts,
    Failure,
    codec_under_test,
    memory_growth,
    timings,
)
from facebench.measure import CodecTask, Pictures

#: Pictures of a batch.
BATCH = 32
#: Timings of an operation, of which the median counts; fewer where they have taken _MOST_SECONDS already.
REPEATS = 5
#: What one timing takes at least.
LEAST_SECONDS = 0.1
_MOST_SECONDS = 4.0

_SINGLE = {ENCODE_BATCH: ENCODE, DECODE_BATCH: DECODE}
_Result = TypeVar("_Result")

#: Called with the codec that is measured next.
Progress = Callable[[str], None]


def steps(points: int, repeats: int = REPEATS) -> int:
    """Return how often :func:`measure_costs` tells of progress."""
    return points * (repeats + 2)


def measure_costs(
    tasks: Mapping[str, CodecTask],
    pictures: Pictures,
    *,
    repeats: int = REPEATS,
    least_seconds: float = LEAST_SECONDS,
    seed: int = 0,
    progress: Progress = lambda label: None,
) -> dict[str, dict[str, Any]]:
    """Return an entry of cost.json for each operating point in ``tasks``, by its label.

    ``pictures`` are one batch. All points are timed in one process of one thread, in another random order in each of
    ``repeats`` rounds; memory is watched in a fresh process each. A codec that fails has an entry with its
    ``problem``, and so has one that kills its process.
    """
    entries: dict[str, dict[str, Any]] = {}
    order = random.Random(seed)
    worker = Child()
    try:
        facts = {}
        for label, task in tasks.items():
            progress(label)
            found = _run(worker, codec_under_test, task, pictures)
            if isinstance(found, Facts):
                facts[label] = found
            else:
                entries[label] = {"problem": found.problem}
        found_times: dict[str, dict[str, list[float]]] = {label: {} for label in facts}
        for _ in range(repeats):
            for label in order.sample(list(facts), len(facts)):
                progress(label)
                if label in entries:
                    continue
                wanted = _not_too_long(facts[label].operations, found_times[label], least_seconds, len(pictures))
                measured = _run(worker, timings, tasks[label], pictures, wanted, least_seconds)
                if isinstance(measured, Failure):
                    entries[label] = {"problem": measured.problem}
                    continue
                for operation, seconds in measured.items():
                    found_times[label].setdefault(operation, []).append(seconds)
    finally:
        worker.close()
    for label, fact in facts.items():
        progress(label)
        if label not in entries:
            entries[label] = _entry(fact, found_times[label], _memory(tasks[label], pictures), len(pictures))
    return {label: entries[label] for label in tasks}


def _run(child: Child, function: Callable[..., _Result | Failure], *args: Any) -> _Result | Failure:
    try:
        result: _Result | Failure = child.call(Isolation(), function, *args)
        return result
    except ChildKilled as death:
        return Failure(f"the codec's process ended: {death}")


def _not_too_long(
    operations: Sequence[str], times: Mapping[str, list[float]], least_seconds: float, batch: int
) -> list[str]:
    """Return the operations whose timings have not taken long enough yet; each timing has an uncounted call too."""
    wanted = []
    for operation in operations:
        pictures = batch if operation in _SINGLE else 1
        spent = sum(max(least_seconds, seconds * pictures) + seconds * pictures for seconds in times.get(operation, ()))
        if spent < _MOST_SECONDS:
            wanted.append(operation)
    return wanted


def _memory(task: CodecTask, pictures: Pictures) -> int | Failure:
    worker = Child()
    try:
        return _run(worker, memory_growth, task, pictures)
    finally:
        worker.close()


def _entry(facts: Facts, times: Mapping[str, list[float]], growth: int | Failure, batch: int) -> dict[str, Any]:
    def timing(operation: str) -> dict[str, Any]:
        own = times.get(operation)
        seconds = own or times[_SINGLE[operation]]
        return {
            "median": 1000 * statistics.median(seconds),
            "least": 1000 * min(seconds),
            "most": 1000 * max(seconds),
            "repeats": len(seconds),
            "one_by_one": own is None,
        }

    return {
        "encode_ms": timing(ENCODE),
        "decode_ms": timing(DECODE),
        "encode_batch_ms": timing(ENCODE_BATCH),
        "decode_batch_ms": timing(DECODE_BATCH),
        "batch": batch,
        "peak_memory_bytes": growth if isinstance(growth, int) and growth else None,
        "weights_bytes": facts.weights_bytes,
        "encode_macs": facts.encode_macs,
        "decode_macs": facts.decode_macs,
        "problem": growth.problem if isinstance(growth, Failure) else "",
    }


def definition(batch: int, repeats: int = REPEATS, least_seconds: float = LEAST_SECONDS) -> str:
    """Return in words what the figures of :func:`measure_costs` are."""
    return (
        f"Times: milliseconds per picture in a process of one thread, picture by picture and in batches of {batch}; a "
        "codec without a batch method takes them one by one, its batch figure is the single one. A timing is one "
        f"uncounted call, then calls over {batch} pictures for at least {least_seconds:g} s; the figure is the median "
        f"of {repeats} timings (fewer where one takes seconds), taken in rounds over all codecs, each round in another "
        "random order. Making the codec is not timed. Memory: the most that a fresh process grows by, in resident "
        f"memory, to make the codec and to encode and decode a batch of {batch}, libraries that it loads included. "
        "MACs: multiply-adds of one picture in torch's matrix products, convolutions and attention (FlopCounterMode / "
        "2); n/a for arithmetic outside torch, which is not counted: NumPy's products, entropy coding, other codecs' "
        "own libraries."
    )
