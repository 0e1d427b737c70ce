"""A process that codecs run in and that can be killed, which no executor can do with one of its tasks.

Each thread that runs tasks has one child process of its own and talks pickle with it over a socket. A codec that
crashes, hangs or eats memory costs its child only; the next task gets a new one. Linux and macOS.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import multiprocessing
import os
import pickle
import platform
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from facebench import memory
from facebench.errors import EngineError, FacebenchError

#: Libraries that would otherwise start a thread per core. One each: shards are what runs in parallel, and sums whose
#: order depends on the number of threads would make records depend on the machine.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "NUMEXPR_NUM_THREADS",
)
#: Nothing is imported before the parent's path is set: the current folder may hold a json.py.
_SERVE = (
    "import sys; sys.path[:] = sys.argv[3:]; from facebench.child import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]))"
)
#: Seconds between two looks at a child's memory.
_TICK = 0.1
#: Seconds without a byte after which half a message will never be whole.
_STALLED = 60
#: Seconds without a call after which a child ends: on a worker of a cluster nobody else ends it.
_IDLE = 300
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


class _NotStarted(ChildKilled):
    """The child ended before it was ready: no codec had been there."""


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
        several times, one overstepped the time, or one overstepped the memory that had done nothing else before;
        EngineError if no child can be started.
        """
        if not self.separate:
            return function(*args)
        children = _children_of_this_thread()
        attempt = 0
        while True:
            attempt += 1
            child = children.another() if fresh else children.mine()
            try:
                result: _Result = child.call(self, function, *args)
                return result
            except ChildKilled as death:
                if attempt >= death.attempts or children.closed:
                    if isinstance(death, _NotStarted):
                        raise _cannot_start(str(death)) from None
                    raise
            finally:
                if fresh:
                    children.end(child)


class Child:
    """One child process, started when it is needed; to be used by one thread at a time, and ended by any."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._calls = 0
        self._ended = False
        self._lock = threading.Lock()  # nobody ends it between the decision to start it and its start

    def start(self) -> None:
        """Start the process unless it runs; it imports what measuring needs while its parent does other things.

        Raises :class:`EngineError` if the machine has no process or file descriptor to spare.
        """
        with self._lock:
            if self._ended:
                raise ChildKilled("it was told to end")
            if self._process is None:
                try:
                    self._process, self._connection = _started()
                except OSError as error:
                    raise _cannot_start(error.strerror or str(error)) from error
                self._calls = 0

    def call(self, limits: Isolation, function: Callable[..., Any], *args: Any) -> Any:
        """Return ``function(*args)`` computed by the child; see :meth:`Isolation.run` for what it raises."""
        self.start()
        process, connection = self._process, self._connection
        if process is None or connection is None:
            raise ChildKilled("it was told to end")
        self._calls += 1
        try:
            if self._calls == 1:  # starting is not the function's time
                self._get_ready(process, connection)
            connection.send((function, args))
            self._await(process, connection, limits)
            succeeded, answer = connection.recv()
            if limits.memory is not None and memory.private(process.pid) > limits.memory:
                self.close()  # the answer stands, the memory goes
        except (EOFError, OSError):
            end = _end_of(process)
            self.close()
            raise end from None
        except BaseException:
            self.close()  # what it was doing is nobody's any more
            raise
        if succeeded:
            return answer
        raise answer if isinstance(answer, FacebenchError) else ChildKilled(answer)

    def _get_ready(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        try:
            self._await(process, connection, Isolation())
            connection.recv()
        except (EOFError, OSError):
            end = _end_of(process)
            raise _NotStarted(str(end), end.attempts) from None

    def _await(self, process: subprocess.Popen[bytes], connection: Connection, limits: Isolation) -> None:
        """Return when the child has answered or died; raise ChildKilled when it oversteps a limit."""
        began = time.monotonic()
        while not connection.poll(_TICK):
            if process.poll() is not None and not connection.poll():
                raise EOFError  # not told by the connection where others have it too: a daemon that a codec left
            if limits.seconds is not None and time.monotonic() - began > limits.seconds:
                raise ChildKilled(f"it took more than {limits.seconds:g} seconds (--time-limit)")
            if limits.memory is not None and memory.private(process.pid) > limits.memory:
                text = f"it took more than {limits.memory / 1e6:,.0f} MB of memory (--memory-limit)"
                raise ChildKilled(text, attempts=2 if self._calls > 1 else 1)

    def close(self) -> None:
        """End the process, if any; the next call starts a new one."""
        with self._lock:
            process, connection = self._process, self._connection
            self._process = self._connection = None
        if process is not None:
            kill_session(process)
        if connection is not None:
            connection.close()

    def end(self) -> None:
        """End the process for good; a thread that waits for it, or calls it later, raises ChildKilled."""
        with self._lock:
            self._ended = True
            process = self._process
        if process is not None:
            kill_session(process)


def _started() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        try:
            with socket.socket(fileno=os.dup(ours.fileno())) as same:
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    same.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALLED, 0))
            path = [str(Path(entry or ".").resolve()) for entry in sys.path]
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(theirs.fileno()), str(os.getpid()), *path],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output carries the table
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **limited_threads()},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def limited_threads(count: int = 1) -> dict[str, str]:
    """Return what to set in the environment before numerical libraries are loaded, to give each ``count`` threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(count))


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and all that it started in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _cannot_start(why: str) -> EngineError:
    return EngineError(
        f"cannot start a process for codecs on {platform.node()} ({why}): "
        "free memory or file descriptors, or use fewer --jobs"
    )


class Children:
    """The children of a group of threads, one for each thread that asked for one."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: set[Child] = set()
        self._lock = threading.Lock()
        #: Whether they were ended: a task that sees it was told to end too, its child did not fail.
        self.closed = False

    def join(self) -> None:
        """Make this thread one of the group, and start its child without waiting for it."""
        _thread.children = self
        with contextlib.suppress(FacebenchError, ChildKilled):  # the first task will tell
            self.mine().start()

    def mine(self) -> Child:
        """Return this thread's child; raises ChildKilled if the group is closed."""
        child: Child | None = getattr(self._own, "child", None)
        if child is None:
            child = self._own.child = self.another()
        return child

    def another(self) -> Child:
        """Return a child of its own for one task."""
        child = Child()
        with self._lock:
            if self.closed:
                raise ChildKilled("it was told to end")
            self._all.add(child)
        return child

    def end(self, child: Child) -> None:
        """End one child for good."""
        child.end()
        child.close()
        with self._lock:
            self._all.discard(child)

    def close(self) -> None:
        """End all children at once and for good; tasks that wait for one raise ChildKilled."""
        with self._lock:
            self.closed = True
            closing = list(self._all)
        for child in closing:
            child.end()


_thread = threading.local()
#: Those of threads of no group: a Dask worker's, or the main thread.
_others = Children()
atexit.register(_others.close)


def _children_of_this_thread() -> Children:
    children: Children = getattr(_thread, "children", _others)
    return children


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
    os.register_at_fork(after_in_child=partial(_let_go, [descriptor]))  # a fork must not keep the parent waiting
    try:
        connection.send("ready")
        while connection.poll(_IDLE):
            answer = _answer(connection.recv_bytes())
            if os.getpid() != own:
                break  # a fork that a codec made and forgot
            connection.send_bytes(answer)
    except (EOFError, OSError):  # the parent is gone, or a codec has closed what is not its own
        pass
    os._exit(0)


def _let_go(held: list[int]) -> None:
    """Close the descriptors in ``held``, once: in a fork's own forks the number may be another file's."""
    while held:
        with contextlib.suppress(OSError):  # a codec has closed what is not its own
            os.close(held.pop())


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
