"""Where shards run: threads of this process, each with a child process; a Dask cluster; or this process itself."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from facebench.child import Children, Isolation
from facebench.errors import EngineError

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Engine:
    """What runs tasks: an executor, how its tasks keep codecs apart from themselves, and how to end it at once.

    ``slots()`` is the number of tasks that run at the same time now. A ``remote`` one may run them on other machines.
    """

    executor: Executor
    isolation: Isolation
    slots: Callable[[], int]
    close: Callable[[], None]
    remote: bool = False

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit ``function(isolation, *args)``; raises :class:`EngineError` if the executor is gone."""
        try:
            return self.executor.submit(function, self.isolation, *args)
        except RuntimeError as error:
            raise EngineError(f"the engine takes no more tasks ({error}); run the same command again") from error


def outcome(future: Future[_Result]) -> _Result:
    """Return a task's result; raises what it raised, and :class:`EngineError` if the engine lost it for good."""
    try:
        return future.result()
    except (CancelledError, BrokenExecutor) as error:
        raise EngineError(
            "the connection to what runs the shards is lost; the same command goes on where it stopped"
        ) from error


def local_engine(jobs: int, isolation: Isolation) -> Engine:
    """Return an engine of ``jobs`` child processes on this machine."""
    children = Children()
    threads = ThreadPoolExecutor(jobs, "shard", initializer=children.join)

    def close() -> None:
        threads.shutdown(wait=False, cancel_futures=True)
        children.close()

    for _ in range(jobs):
        threads.submit(time.sleep, 0.01)  # makes the threads, which start their children
    return Engine(threads, isolation, lambda: jobs, close)


class _ThisThread(Executor):
    """Runs each task at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def serial_engine() -> Engine:
    """Return an engine that runs everything in this process, for debugging: no limits, and a crash is a crash."""
    return Engine(_ThisThread(), Isolation(separate=False), lambda: 1, lambda: None)


def _silence() -> None:
    """Keep distributed's loggers, each of which has a level of its own, from what the run's error says in one line."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


#: Seconds between two questions to a cluster how large it is.
_ASK_AGAIN = 5.0


def dask_engine(scheduler: str | None, jobs: int, isolation: Isolation) -> Engine:
    """Return an engine on the Dask cluster whose scheduler is at that address, or on one of ``jobs`` workers here.

    Raises :class:`EngineError` if distributed is not installed or no scheduler answers.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise EngineError(f"--engine dask: {error}; pip install 'facebench[dask]'") from error
    _silence()
    cluster: Any = None
    try:
        if scheduler is not None:
            scheduler = scheduler if "://" in scheduler else f"tcp://{scheduler}"
            distributed.comm.get_address_host_port(scheduler, strict=True)  # a Client of nonsense ends with a traceback
        else:
            cluster = distributed.LocalCluster(jobs, threads_per_worker=1, dashboard_address=None, memory_limit=0)
        client = distributed.Client(scheduler or cluster, timeout="20s", set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close(timeout=5)
        text = " ".join(str(error).split())
        raise EngineError(f"no Dask scheduler answers at {scheduler or 'this machine'}: {text[:200]}") from error

    asked, threads = -_ASK_AGAIN, 1

    def slots() -> int:
        nonlocal asked, threads
        if time.monotonic() - asked > _ASK_AGAIN:
            with contextlib.suppress(Exception):  # a scheduler that is gone makes itself known by its tasks
                threads = max(1, sum(client.nthreads().values()))
            asked = time.monotonic()
        return threads

    def close() -> None:
        with contextlib.suppress(Exception):
            client.close(timeout=5)
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close(timeout=5)

    return Engine(client.get_executor(pure=False), isolation, slots, close, remote=True)
