"""Where shards run: a pool of processes, a fresh process per task, or this process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

#: Libraries that would otherwise start a thread per core in every worker.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "NUMEXPR_NUM_THREADS",
)


@contextlib.contextmanager
def threads_per_worker(jobs: int) -> Iterator[None]:
    """Share this machine's cores among ``jobs`` workers started within the block."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, threads))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(parent: int) -> None:
    """Set a worker up: no Ctrl-C, nothing on standard output (it carries the table), gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def local_pool(jobs: int) -> Executor:
    """Return a pool of ``jobs`` worker processes, started afresh (never forked: threads and locks)."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(os.getpid(),))


class FreshProcesses(Executor):
    """Runs each task in a process of its own that ends with it: nothing but the arguments can reach it."""

    def __init__(self, jobs: int) -> None:
        self._threads = ThreadPoolExecutor(jobs)
        self._running: set[Executor] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def alone() -> Any:
            with local_pool(1) as process:
                self._running.add(process)
                try:
                    return process.submit(fn, *args, **kwargs).result()
                finally:
                    self._running.discard(process)

        return self._threads.submit(alone)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if not wait:
            for process in list(self._running):
                stop(process)
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class ThisProcess(Executor):
    """Runs each task at once in this process, for debugging."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def stop(executor: Executor) -> None:
    """End an executor without waiting for what it is doing."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
