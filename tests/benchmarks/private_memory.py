"""Watches the private memory of a process and all its descendants (Linux)."""

from __future__ import annotations

import threading
from pathlib import Path


class PrivateMemory:
    """The peak, in bytes, of what a process and its descendants hold resident that is in no file.

    Memory-mapped pictures are not in it: they are the system's cache, which it takes back when others need memory.
    """

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self.peak = max(self.peak, sum(_private(pid) for pid in _descendants(self._pid)))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self.peak


def _descendants(pid: int) -> list[int]:
    # Children are listed by the thread that started them.
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return [pid]
    children: list[str] = []
    for task in tasks:
        try:
            children += (task / "children").read_text().split()
        except OSError:
            continue
    return [pid, *(found for child in children for found in _descendants(int(child)))]


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
