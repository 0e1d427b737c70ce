"""kill -9 of any part of a run, at random moments: the run or its repetition equals an undisturbed one."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from killing import CLIENT, DASK_WORKER, SCHEDULER, WORKER, Command, children, cluster, comparable, kill_after

if not sys.platform.startswith("linux"):
    pytest.skip("finds the processes to kill in /proc", allow_module_level=True)

ARGUMENTS = ["--codecs", "jpeg:quality=10/50/90,png", "--no-baseline", "--jobs", "2", "--data", "samples"]


class Undisturbed:
    """A run that nobody disturbed: its records, and how long it takes."""

    def __init__(self, folder: Path) -> None:
        command = Command(ARGUMENTS, folder)
        began = time.monotonic()
        command.finish(tries=1)
        self.seconds = time.monotonic() - began
        self.records = comparable(command.out)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def disturbed(kind: str, folder: Path, seconds: float, chance: random.Random) -> bytes:
    """Return the records of a run of which a part was killed once within ``seconds``, run again if it failed."""
    moment = chance.uniform(0, seconds)
    if kind in (WORKER, CLIENT):
        command = Command(ARGUMENTS, folder)
        process = command.start()
        victims = (lambda: [process.pid]) if kind == CLIENT else (lambda: children(process.pid))
        kill_after(moment, process, victims, chance)
        code = process.wait()
        assert code == 0 or kind == CLIENT, command.errors.read_text()
        if code:
            command.finish()
        return comparable(command.out)
    pytest.importorskip("distributed", reason="needs pip install 'facebench[dask]'")
    with cluster(folder) as parts:
        command = Command([*ARGUMENTS, "--engine", "dask", "--scheduler", parts.start()], folder)
        process = command.start()
        kill_after(moment, process, (lambda: [parts.scheduler]) if kind == SCHEDULER else parts.workers, chance)
        if process.wait():
            assert kind == SCHEDULER, command.errors.read_text()
            said = command.errors.read_text()
            assert said.startswith("facebench: ") and said.count("\n") == 1, said
            command = Command([*ARGUMENTS, "--engine", "dask", "--scheduler", parts.start()], folder)
            command.finish()
    return comparable(command.out)


@pytest.mark.parametrize("kind", [WORKER, CLIENT, DASK_WORKER, SCHEDULER])
def test_a_run_of_which_a_part_is_killed_equals_an_undisturbed_one(
    kind: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert disturbed(kind, tmp_path, undisturbed.seconds, random.Random(kind)) == undisturbed.records


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(46))
def test_so_it_is_at_every_moment(trial: int, undisturbed: Undisturbed, tmp_path: Path) -> None:
    chance = random.Random(trial)
    kind = (WORKER, CLIENT, DASK_WORKER, SCHEDULER)[trial % 4]
    assert disturbed(kind, tmp_path, undisturbed.seconds, chance) == undisturbed.records
