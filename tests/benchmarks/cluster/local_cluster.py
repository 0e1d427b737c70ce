"""A Dask cluster of as many workers as wanted, in few processes, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed

_SERVE_WORKERS = """
import asyncio, sys
from distributed import Worker
async def serve():
    workers = [await Worker(sys.argv[1], nthreads=1, dashboard=False) for _ in range(int(sys.argv[2]))]
    await asyncio.gather(*(worker.finished() for worker in workers))
asyncio.run(serve())
"""


@dataclass(frozen=True)
class LocalCluster:
    """A scheduler, and a number of workers in one or more processes, on this machine."""

    address: str
    scheduler: int
    workers: tuple[int, ...]


@contextlib.contextmanager
def local_cluster(workers: int, processes: int) -> Iterator[LocalCluster]:
    """Yield a cluster that does not outlive the block."""
    here = str(Path(__file__).parent.parent)  # where this package lies
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="facebench-cluster-") as folder:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        quiet["env"] = {**os.environ, "PYTHONPATH": here}
        # The scheduler unpickles tasks too: it needs what they name.
        file = Path(folder, "scheduler.json")
        scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file)]
        try:
            options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
            started.append(subprocess.Popen([*scheduler, *options], **quiet))
            while not file.exists() or not file.stat().st_size:
                time.sleep(0.05)
            address = str(json.loads(file.read_text())["address"])
            command = [sys.executable, "-c", _SERVE_WORKERS, address, str(workers // processes)]
            started += [subprocess.Popen(command, **quiet) for _ in range(processes)]
            _await_workers(address, workers)
            yield LocalCluster(address, started[0].pid, tuple(process.pid for process in started[1:]))
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def _await_workers(address: str, workers: int) -> None:
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=300)
