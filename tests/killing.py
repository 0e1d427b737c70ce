"""Runs facebench and kills parts of it with SIGKILL at random moments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facebench import memory

#: What may differ between two runs of the same thing.
TIMES = ["encode_seconds", "decode_seconds"]
#: What can be killed: a process that runs codecs, the command itself, parts of a Dask cluster.
WORKER, CLIENT, DASK_WORKER, SCHEDULER = "worker", "client", "dask worker", "scheduler"
_RUN = [sys.executable, "-m", "facebench", "run"]


def comparable(folder: Path) -> bytes:
    """Return the records of the run in ``folder``, without its times, as bytes."""
    table = pq.read_table(folder / "records.parquet").drop_columns(TIMES).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


class Command:
    """One ``facebench run`` with a cache of its own, run again after each time it was killed."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.out = folder / "out"
        self._arguments = [*_RUN, *arguments, "--out", str(self.out), "--quiet"]
        self._environment = {**os.environ, "FACEBENCH_CACHE": str(folder / "cache"), "FACEBENCH_PLUGINS": ""}
        self.errors = folder / "errors.txt"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command; what it says on standard error goes to ``errors``."""
        with self.errors.open("wb") as errors:
            return subprocess.Popen(
                self._arguments, stdout=subprocess.DEVNULL, stderr=errors, env=self._environment, start_new_session=True
            )

    def finish(self, tries: int = 5) -> None:
        """Run until it succeeds; raises AssertionError if it never does."""
        for _ in range(tries):
            if self.start().wait(600) == 0:
                return
        raise AssertionError(self.errors.read_text())


class Cluster:
    """A Dask scheduler and workers as processes of their own, on this machine.

    ``prefix`` is what the workers' commands begin with.
    """

    def __init__(self, folder: Path, workers: int, prefix: list[str]) -> None:
        self._folder = folder
        self._workers = workers
        self._prefix = prefix
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        """Start what does not run and return the scheduler's address."""
        self.stop()
        self._file.unlink(missing_ok=True)
        options = ["--scheduler-file", str(self._file), "--no-dashboard"]
        self._add([], "scheduler", "--host", "127.0.0.1", "--port", "0", *options)
        for _ in range(self._workers):
            self._add(self._prefix, "worker", "--nthreads", "1", "--death-timeout", "60", *options)
        deadline = time.monotonic() + 120
        while not self._file.exists() or not self._file.stat().st_size:
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.05)
        return str(json.loads(self._file.read_text())["address"])

    def _add(self, prefix: list[str], part: str, *options: str) -> None:
        command = [*prefix, sys.executable, "-m", "distributed.cli.dask_" + part, *options]
        self._processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self._folder,
                env={**os.environ, "FACEBENCH_CACHE": str(self._folder / "workers-cache")},
            )
        )

    @property
    def scheduler(self) -> int:
        """The scheduler's process."""
        return self._processes[0].pid

    def workers(self) -> list[int]:
        """Return the processes in which tasks run, below their nannies."""
        return [pid for nanny in self._processes[1:] for pid in _below(nanny.pid) if "serve(" not in _command(pid)]

    def stop(self) -> None:
        """Kill everything."""
        for process in self._processes:
            for pid in [*_below(process.pid), process.pid]:
                kill(pid)
            process.wait()
        self._processes = []


def _below(pid: int) -> list[int]:
    return [found for child in memory.children(pid) for found in (child, *_below(child))]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def children(client: int) -> list[int]:
    """Return the processes in which codecs run, of a run with the local engine."""
    return [pid for pid in _below(client) if "serve(" in _command(pid)]


def kill(pid: int) -> None:
    """Send SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_after(
    seconds: float, process: subprocess.Popen[bytes], victims: Callable[[], list[int]], chance: random.Random
) -> bool:
    """Kill one of ``victims()`` once ``seconds`` have passed, or as soon as there is one; False if the run ended."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        found = victims() if time.monotonic() > deadline else []
        if found:
            kill(chance.choice(found))
            return True
        time.sleep(0.002)
    return False


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2, prefix: list[str] | None = None) -> Iterator[Cluster]:
    """Yield a cluster that does not outlive the block."""
    made = Cluster(folder, workers, prefix or [])
    try:
        yield made
    finally:
        made.stop()
