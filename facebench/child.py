"""A process that codecs run in and that can be killed, which no executor can do with one of its tasks.

Each thread that runs tasks has one child process of its own and talks pickle with it over a socket. A codec that
crashes, hangs or eats memory costs its child only; the next task gets a new one. Linux and macOS.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from facebench import memory
from facebench.errors import FacebenchError

#: Libraries that would otherwise start a thread per core. One each: shards are what runs in parallel, and sums whose
#: order depends on the number of threads would make records depend on the machine.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "NUMEXPR_NUM_THREADS",
)
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from facebench.child import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[3]))"
)
#: Seconds that a child may take to start, on a slow and busy machine.
_START = 300.0
#: Seconds between two looks at a child's memory.
_TICK = 0.1
#: How often a task is tried: whose child ends by itself, and whose child is killed, which others may have done (the
#: machine ran out of memory, an operator).
_ATTEMPTS = 3
_ATTEMPTS_IF_KILLED = 8

_Result = TypeVar("_Result")


class ChildKilled(Exception):
    """The child died, had to be killed, or raised what nobody expected; the text says which.

    ``attempts`` is how often the task is to be tried in a new child, which may fare better.
    """

    def __init__(self, how: str, attempts: int = 1) -> None:
        super().__init__(how)
        self.attempts = attempts


@dataclass(frozen=True)
class Isolation:
    """How tasks are kept apart from what runs them.

    A call may take ``seconds`` (None: any time), and a child ``memory`` bytes of its own (None: any; known on Linux
    only). Without ``separate`` there are no children: functions run in this process, for debugging.
    """

    seconds: float | None = None
    memory: int | None = None
    separate: bool = True

    def run(self, function: Callable[..., _Result], *args: Any, fresh: bool = False) -> _Result:
        """Return ``function(*args)``, run in this thread's child; in one of its own that then ends if ``fresh``.

        Raises what the function raises if it is a FacebenchError, and :class:`ChildKilled` if its children died
        several times, one overstepped the time, or one overstepped the memory that had done nothing else before.
        """
        if not self.separate:
            return function(*args)
        round_before = _children.round
        attempt = 0
        while True:
            attempt += 1
            if fresh:
                _children.mine().close()
            child = _children.mine()
            try:
                result: _Result = child.call(self, function, *args)
                return result
            except ChildKilled as death:
                if attempt >= death.attempts or _children.round != round_before:
                    raise
            finally:
                if fresh:
                    child.close()


class Child:
    """One child process, started when it is needed; to be used by one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._calls = 0

    def start(self) -> None:
        """Start the process unless it runs; it imports what measuring needs while its parent does other things."""
        if self._process is not None:
            return
        ours, theirs = multiprocessing.Pipe()
        path = json.dumps([str(Path(entry or ".").resolve()) for entry in sys.path])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(theirs.fileno()), path, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output carries the table
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")},
                start_new_session=True,
            )
        self._connection = ours
        self._calls = 0

    def call(self, limits: Isolation, function: Callable[..., Any], *args: Any) -> Any:
        """Return ``function(*args)`` computed by the child; see :meth:`Isolation.run` for what it raises."""
        self.start()
        process, connection = self._process, self._connection
        assert process is not None and connection is not None
        self._calls += 1
        try:
            if self._calls == 1:  # starting is not the function's time
                self._await(process, connection, Isolation(_START))
                connection.recv()
            connection.send((function, args))
            self._await(process, connection, limits)
            succeeded, answer = connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            end = _end_of(process)
            self.close()
            raise end from None
        except BaseException:
            self.close()  # what it was doing is nobody's any more
            raise
        if succeeded:
            return answer
        raise answer if isinstance(answer, FacebenchError) else ChildKilled(answer)

    def _await(self, process: subprocess.Popen[bytes], connection: Connection, limits: Isolation) -> None:
        """Return when the child has answered or died; raise ChildKilled when it oversteps a limit."""
        began = time.monotonic()
        while not connection.poll(_TICK):
            if process.poll() is not None and not connection.poll():
                raise EOFError  # not told by the connection where the codec forked: the fork has it too
            if limits.seconds is not None and time.monotonic() - began > limits.seconds:
                raise ChildKilled(f"it took more than {limits.seconds:g} seconds (--time-limit)")
            if limits.memory is not None and memory.private(process.pid) > limits.memory:
                text = f"it took more than {limits.memory / 1e6:,.0f} MB of memory (--memory-limit)"
                raise ChildKilled(text, attempts=2 if self._calls > 1 else 1)

    def kill(self) -> None:
        """End the process and all that it started; a thread that waits for it raises ChildKilled."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the process, if any; the next call starts a new one."""
        self.kill()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


class _Children:
    """The children of this process, one for each thread that asked for one."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: list[Child] = []
        #: How often all were closed: a task that sees it change was told to end, its child did not fail.
        self.round = 0

    def mine(self) -> Child:
        child: Child | None = getattr(self._own, "child", None)
        if child is None or child not in self._all:
            child = self._own.child = Child()
            self._all.append(child)
        return child

    def close(self) -> None:
        self.round += 1
        closing, self._all = self._all, []
        for child in closing:
            child.kill()


_children = _Children()
atexit.register(_children.close)


def start_child() -> None:
    """Start this thread's child if it has none, without waiting for it."""
    _children.mine().start()


def close_children() -> None:
    """End all children of this process at once; tasks that are waiting for one raise ChildKilled."""
    _children.close()


def _end_of(process: subprocess.Popen[bytes]) -> ChildKilled:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return ChildKilled("it closed its connection")
    if code >= 0:
        return ChildKilled(f"it exited with status {code}", _ATTEMPTS)
    try:
        how = signal.Signals(-code).name
    except ValueError:
        how = f"signal {-code}"
    return ChildKilled(f"it was killed by {how}", _ATTEMPTS_IF_KILLED if code == -signal.SIGKILL else _ATTEMPTS)


def serve(descriptor: int, parent: int) -> None:
    """Answer the calls that come over the socket ``descriptor`` until it closes: a child process's whole life."""
    _die_with(parent)
    memory.volunteer_for_oom()
    import facebench.measure  # noqa: F401  (while the parent does other things)

    own = os.getpid()
    connection = Connection(descriptor)
    try:
        connection.send("ready")
        while True:
            answer = _answer(connection.recv_bytes())
            if os.getpid() != own:
                break  # a fork that a codec made and forgot
            connection.send_bytes(answer)
    except (EOFError, OSError):  # the parent is gone, or a codec has closed what is not its own
        pass
    os._exit(0)


def _answer(call: bytes) -> bytes:
    try:
        function, args = pickle.loads(call)
        return pickle.dumps((True, function(*args)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        if isinstance(error, FacebenchError):
            with contextlib.suppress(Exception):
                answer = pickle.dumps((False, error))
                pickle.loads(answer)  # an exception class of a plugin's own may be one-way
                return answer
        return pickle.dumps((False, " ".join(f"it raised {type(error).__name__}: {error}".split())[:200]))


def _die_with(parent: int) -> None:
    """End this process when its parent is gone, even by kill -9 and while a codec holds Python's lock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
