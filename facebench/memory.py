"""How much memory processes take, as far as the operating system tells."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_LINUX = sys.platform.startswith("linux")


def resident(pid: int) -> int:
    """Return the bytes of memory that process ``pid`` has now; 0 where that cannot be known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def private(pid: int) -> int:
    """Return the bytes that process ``pid`` and its descendants have to themselves; 0 where that cannot be known.

    Files that they map, such as prepared pictures, do not count.
    """
    try:
        _, resident_pages, shared_pages, *_ = _words(f"/proc/{pid}/statm")
    except (OSError, ValueError):
        return 0
    own = (int(resident_pages) - int(shared_pages)) * os.sysconf("SC_PAGE_SIZE")
    return own + sum(map(private, children(pid)))


def children(pid: int) -> list[int]:
    """Return the processes that process ``pid`` has started and that still run; none where that cannot be known."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with contextlib.suppress(OSError):  # each thread has its own
                found += map(int, _words(f"/proc/{pid}/task/{thread}/children"))
    return found


def _words(file: str) -> list[bytes]:
    """Return the words of a small file; no Path objects: a run asks for each shard."""
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123
        return stream.readall().split()


def installed() -> int:
    """Return the bytes of memory that this machine, or the container it is, has; 0 where that cannot be known."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(file).read_text()))
    return total


def reset_peak() -> int:
    """Start a new measurement of this process's :func:`peak`; returns the bytes it has now."""
    if _LINUX:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return peak()
        return resident(os.getpid())
    return peak()


def peak() -> int:
    """Return the most bytes that this process had since :func:`reset_peak`; 0 where that cannot be known."""
    try:
        # Not getrusage's figure: that one starts with the peak of the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def limit_address_space(extra: int) -> None:
    """Let this process map only ``extra`` bytes more than now, where its memory cannot be watched from outside.

    On Linux the parent watches instead: there a refused allocation would look like an honest CodecError.
    """
    if _LINUX:
        return
    try:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.RLIMIT_AS, (used + extra, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, OSError, ValueError):
        pass


def volunteer_for_oom() -> None:
    """Make this process the first that Linux ends when memory runs out."""
    if _LINUX:
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
