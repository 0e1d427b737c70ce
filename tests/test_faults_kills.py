"""kill -9 of any part of a run, at random moments: the run or its repetition equals an undisturbed one."""

from __future__ import annotations

import random
import signal
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
    for attempt in range(10):
        killed, records = _disturbed(kind, folder / str(attempt), seconds, chance)
        if killed:
            return records
        seconds *= 0.7  # it had ended before its time came
    raise AssertionError("nothing could be killed")


def _disturbed(kind: str, folder: Path, seconds: float, chance: random.Random) -> tuple[bool, bytes]:
    folder.mkdir()
    moment = chance.uniform(0, seconds)
    if kind in (WORKER, CLIENT):
        command = Command(ARGUMENTS, folder)
        process = command.start()
        victims = (lambda: [process.pid]) if kind == CLIENT else (lambda: children(process.pid))
        killed = kill_after(moment, process, victims, chance)
        code = process.wait(120)
        assert code == 0 or kind == CLIENT, command.errors.read_text()
        if code:
            command.finish()
        return killed, comparable(command.out)
    pytest.importorskip("distributed", reason="needs pip install 'facebench[dask]'")
    with cluster(folder) as parts:
        command = Command([*ARGUMENTS, "--engine", "dask", "--scheduler", parts.start()], folder)
        process = command.start()
        victims = (lambda: [parts.scheduler]) if kind == SCHEDULER else parts.workers
        killed = kill_after(moment, process, victims, chance)
        if process.wait(240):
            assert kind == SCHEDULER, command.errors.read_text()
            said = command.errors.read_text()
            assert said.startswith("facebench: ") and said.count("\n") == 1, said
            command = Command([*ARGUMENTS, "--engine", "dask", "--scheduler", parts.start()], folder)
            command.finish()
    return killed, comparable(command.out)


@pytest.mark.parametrize(
    "kind",
    [WORKER, CLIENT, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (DASK_WORKER, SCHEDULER))],
)
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


@pytest.mark.parametrize("share", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.1, 0.3, 0.8))])
def test_ctrl_c_ends_all_processes_at_once_and_the_same_command_goes_on(
    share: float, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    command = Command(ARGUMENTS, tmp_path)
    process = command.start()
    time.sleep(share * undisturbed.seconds)
    below = children(process.pid)
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    assert code == 130 or (code == -signal.SIGINT and not below)  # that early, Python itself has not started
    if code == 130:
        said = command.errors.read_text().strip()  # click ends the line of the terminal's ^C first
        assert said == "facebench: interrupted; the same command goes on where it stopped"
    assert not any(Path(f"/proc/{pid}").exists() for pid in below)
    command.finish()
    assert comparable(command.out) == undisturbed.records
