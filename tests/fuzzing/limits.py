"""Runs a target on one input and says whether it broke a limit: time, memory, or an error that it may not raise."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

from facebench.memory import peak, reset_peak

#: CPU seconds that one input may take: other processes' load does not count.
SECONDS = 1.0
#: Bytes that one input may add to what the process holds; all inputs are shorter than 4 KB.
MEMORY = 64 << 20
LONGEST_INPUT = 4095
# Reading the peak of the resident memory takes longer than many an execution: it is read once for so many, and the
# inputs are run again one by one if it has grown too much. One of them is traced by tracemalloc, which also sees
# what is allocated and never touched.
_BATCH = 16
# Growth of a batch that is not looked into, and CPU seconds that a measurement may be off.
_NOISE = 1 << 20
_JITTER = 0.01


class LimitBroken(Exception):
    """An input that took too long or too much memory, twice; the message ends in the input."""


class Watch:
    """A target under the limits, with what its executions took.

    ``executions`` counts them, ``accepted`` those that raised nothing; ``slowest`` is in CPU seconds, ``grown`` the
    most bytes that one of them added to the resident memory, or allocated in Python and numpy; 0 if below 1 MiB.
    """

    def __init__(self, run: Callable[[bytes], None], allowed: tuple[type[Exception], ...], batch: int = _BATCH) -> None:
        """``run`` may raise ``allowed``; memory is looked at after every ``batch`` inputs."""
        self._run, self._allowed, self._batch = run, allowed, batch
        self.executions = self.accepted = self.grown = 0
        self.slowest = 0.0
        self._inputs: list[bytes] = []
        self._before = self._traced = 0

    def __call__(self, data: bytes) -> None:
        """Run one input; raises LimitBroken, or what the target raises and may not."""
        traced = not self._inputs
        if traced:
            self._before = reset_peak()
            tracemalloc.start()
        try:
            seconds, accepted = self._once(data)
            if traced:
                self._traced = tracemalloc.get_traced_memory()[1]
        finally:
            if traced:
                tracemalloc.stop()
        if seconds > self.slowest + _JITTER:  # once more: the first time may have loaded something for good
            seconds = min(seconds, self._once(data)[0])
        if seconds > SECONDS:
            raise LimitBroken(f"{seconds:.1f} s of CPU time: {data.hex()}")
        self.executions += 1
        self.accepted += accepted
        self.slowest = max(self.slowest, seconds)
        self._inputs.append(data)
        if len(self._inputs) >= self._batch:
            self._check_memory()

    def _check_memory(self) -> None:
        grown = peak() - self._before
        inputs, self._inputs = self._inputs, []
        if max(grown, self._traced) > max(self.grown, _NOISE):  # the fuzzer itself needs memory now and then
            for data in inputs:
                self._check_memory_of(data)

    def _check_memory_of(self, data: bytes) -> None:
        tracemalloc.start()
        try:
            before = reset_peak()
            self._once(data)
            grown = max(peak() - before, tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        if grown > MEMORY:
            raise LimitBroken(f"{grown >> 20} MiB of memory: {data.hex()}")
        self.grown = max(self.grown, grown)

    def _once(self, data: bytes) -> tuple[float, bool]:
        """Return the CPU seconds of one execution, and whether it raised nothing."""
        start = time.process_time()
        try:
            self._run(data)
            accepted = True
        except self._allowed:
            accepted = False
        return time.process_time() - start, accepted
