"""Runs jobs of the conformance suite in fresh interpreters, ended when they overstep time or memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facebench import memory
from facebench.child import kill_session, limited_threads
from facebench.testing.job import Job
from facebench.testing.report import CheckResult

#: Seconds for a new interpreter to start and import numpy, on a slow and busy machine.
_START = 120.0
_POLL = 0.01


@dataclass
class _Watched:
    """What the parent knows of a child from its log."""

    step: str | None = None
    doing: str = "starting"
    deadline: float = 0.0
    allowed: int | None = None
    memory: int | None = None


def run_job(
    job: Job, *, threads: int, hash_seed: int, tell: Callable[[CheckResult], None] = lambda result: None
) -> list[CheckResult]:
    """Run the job's steps in a fresh process and return a result for each; a new process goes on after a crash.

    ``threads`` is what the numerical libraries are told to use, ``hash_seed`` Python's PYTHONHASHSEED.
    ``tell`` is called with each result as it comes. A construction that does not pass ends the job.
    """
    results: list[CheckResult] = []

    def add(result: CheckResult) -> None:
        results.append(result)
        tell(result)

    while len(results) < len(job.steps):
        before = len(results)
        why = _run_once(replace(job, steps=job.steps[before:]), threads, hash_seed, add)
        if any(r.name == "construction" and r.status != "passed" for r in results):
            break
        if len(results) < len(job.steps):
            add(CheckResult(job.steps[len(results)], "failed", why))
            if results[-1].name == "construction":
                break
    return results


def _run_once(job: Job, threads: int, hash_seed: int, add: Callable[[CheckResult], None]) -> str:
    """Run one child until it ends or is ended; returns why it stopped before its last step."""
    with tempfile.TemporaryDirectory(prefix="facebench-check-", ignore_cleanup_errors=True) as own:
        folder = Path(own)
        (folder / "job.json").write_text(job.to_json())
        log_path = folder / "log.jsonl"
        log_path.touch()
        # Its own current and temporary folder, so that files left lying there by the encoder do not help.
        (folder / "tmp").mkdir()
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "facebench.testing.worker", str(folder / "job.json"), str(log_path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder / "tmp",
                env=_environment(threads, hash_seed, folder / "tmp"),
                start_new_session=True,
            )
            try:
                with log_path.open() as log:
                    why = _watch(process, log.readline, add)
            finally:
                kill_session(process)
        return why or _last_words(process.returncode, (folder / "output.txt").read_bytes())


def _environment(threads: int, hash_seed: int, temporary: Path) -> dict[str, str]:
    paths = [str(Path(p or ".").resolve()) for p in sys.path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": str(hash_seed),
        "TMPDIR": str(temporary),
        **limited_threads(threads),
    }


def _watch(process: subprocess.Popen[bytes], readline: Callable[[], str], add: Callable[[CheckResult], None]) -> str:
    """Follow the child's log until it is done; returns what it was ended for, or '' if it went by itself."""
    state = _Watched(deadline=time.monotonic() + _START)
    partial = ""
    while True:
        # Asked first: what the child wrote before it went is then all there to be read.
        gone = process.poll() is not None
        while line := readline():
            partial += line
            if partial.endswith("\n"):
                _follow(state, json.loads(partial), add)
                partial = ""
        if gone:
            if state.step is None:
                return ""
            return f"the process died {state.doing}: {_status(process.returncode)}"
        if state.allowed is not None and (used := memory.resident(process.pid)) > state.allowed:
            return f"{state.doing} takes more than the {(state.memory or 0) >> 20} MiB allowed ({used >> 20} in all)"
        if time.monotonic() > state.deadline:
            return f"{state.doing} does not come back in time"
        time.sleep(_POLL)


def _follow(state: _Watched, event: dict[str, Any], add: Callable[[CheckResult], None]) -> None:
    kind = event["event"]
    if kind == "start":
        state.step, state.doing = event["step"], "at the start"
        state.allowed, state.deadline = None, time.monotonic() + _START
    elif kind == "doing":
        state.doing, state.deadline = event["what"], time.monotonic() + event["seconds"]
    elif kind == "memory":
        state.allowed, state.memory = event["bytes"], event["extra"]
    elif kind == "end":
        state.step, state.allowed = None, None
        add(CheckResult(event["step"], event["status"], event["detail"], event["seconds"]))


def _status(returncode: int) -> str:
    if returncode < 0:
        try:
            return f"killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"killed by signal {-returncode}"
    return f"it exited with status {returncode}"


def _last_words(returncode: int, output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return f"the process ended ({_status(returncode)})" + (f": {lines[-1].strip()[:300]}" if lines else "")
