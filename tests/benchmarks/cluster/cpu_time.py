"""Seconds of CPU of processes, which a busy machine changes little, and how long they wait for a core (Linux)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used, threads that ended included (Linux)."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


class Contention:
    """How much longer than its CPU time everything takes because other programs use the cores (Linux's schedstat)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first = self._last = self._now()

    def _now(self) -> tuple[int, int]:
        ran = waited = 0
        for file in Path(f"/proc/{self._pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                of_thread = file.read_text().split()
                ran, waited = ran + int(of_thread[0]), waited + int(of_thread[1])
        return ran, waited

    def look(self) -> None:
        """Take the time until now as what counts: a process that has ended can't be asked."""
        self._last = self._now()

    @property
    def slowdown(self) -> float:
        """Time on a core or waiting for one, divided by the former; 1 where nobody else wants it."""
        ran, waited = (now - before for now, before in zip(self._last, self._first, strict=True))
        return (ran + waited) / ran if ran > 0 else 1.0
