"""The child process of the conformance suite: ``python -m facebench.testing.worker JOB LOG``.

It runs the job's steps and writes one JSON line to LOG before and after everything that could go wrong, so
that the parent knows what a process that never came back was doing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from facebench import memory
from facebench.errors import UnsupportedSize
from facebench.testing.job import Job


def main(job_file: str, log_file: str) -> None:
    """Run the job in ``job_file``; what happens is told in ``log_file``, not by the exit status."""
    memory.volunteer_for_oom()
    job = Job.from_json(Path(job_file).read_text())
    with Path(log_file).open("a") as log:
        _run(job, log)
        log.flush()
        # Threads that a codec left behind must not hold the process.
        os._exit(0)


def _run(job: Job, log: TextIO) -> None:
    def tell(**event: Any) -> None:
        log.write(json.dumps(event) + "\n")
        log.flush()

    def limit_memory(extra: int) -> None:
        memory.limit_address_space(extra)
        tell(event="memory", bytes=memory.resident(os.getpid()) + extra, extra=extra)

    from facebench.testing import context, steps

    now = ""

    def doing(what: str, seconds: float) -> None:
        nonlocal now
        now = what
        tell(event="doing", what=what, seconds=seconds)

    ctx = context.Context(job, doing, limit_memory)
    for step in job.steps:
        now = "at the start"
        tell(event="start", step=step)
        began = time.perf_counter()
        try:
            status, detail = "passed", steps.run_step(step, ctx)
        except context.CheckFailure as failure:
            status, detail = "failed", str(failure)
        except context.CheckWarning as warning:
            status, detail = "warned", str(warning)
        except context.CheckSkipped as skipped:
            status, detail = "skipped", str(skipped)
        except UnsupportedSize as error:
            status = "skipped" if step == "construction" else "failed"
            detail = f"unsupported: {error}" if step == "construction" else f"{now}: {context.describe(error)}"
        except BaseException as error:
            status, detail = "failed", f"{now}: {context.describe(error)}"
        tell(event="end", step=step, status=status, detail=detail, seconds=time.perf_counter() - began)
        if step == "construction" and status != "passed":
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
