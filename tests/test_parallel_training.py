"""Training in several processes, really started by torchrun: the result is that of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import training_in_float64
from facebench_codecs.parallel import Processes
from safetensors.numpy import load_file

from facebench import SettingError
from facebench.cli import main

COMMAND = Path(__file__).with_name("training_in_float64.py")
CVAE = ("cvae", "--size", "16", "--epochs", "2")


def command(processes: int, folder: Path, *arguments: str) -> list[str]:
    """Return the command line that trains in so many processes, in ``folder``."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *(launcher if processes > 1 else ()), str(COMMAND), *options(folder, *arguments)]


def options(folder: Path, *arguments: str) -> list[str]:
    return ["train", *arguments, "--data", "samples", "--device", "cpu", "--out", str(folder / "w.safetensors")]


def train(processes: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(command(processes, folder, *arguments), capture_output=True, text=True)


def card(folder: Path) -> dict:
    return json.loads((folder / "w.json").read_text())


def assert_same_training(one: Path, other: Path) -> None:
    """The checkpoints in both folders hold the same networks (and optimisers, and averages) to within 1e-9."""
    (wanted,), (found,) = ([load_file(p) for p in folder.glob("w*.checkpoint")] for folder in (one, other))
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        assert found[name] == pytest.approx(tensor, rel=1e-9, abs=1e-9), name


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def lines_of_facebench(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("facebench: ")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> Path:
    """The folder of a cvae that this process has trained alone."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["facebench", *options(folder, *CVAE, "--quiet")])
        try:
            training_in_float64.change(patch.setattr)
            with pytest.raises(SystemExit) as left:
                main()
        finally:  # the other tests' networks are of 32 bits
            torch.set_default_dtype(torch.float32)
    assert left.value.code == 0
    return folder


def test_two_processes_train_what_one_does_and_only_one_of_them_tells_and_writes(alone: Path, tmp_path: Path) -> None:
    result = train(2, tmp_path, *CVAE)
    assert result.returncode == 0, result.stderr
    assert_same_training(alone, tmp_path)
    assert files(tmp_path) == files(alone) == {"w.safetensors", "w.json", "w.checkpoint"}
    assert len([line for line in lines_of_facebench(result) if "weights written" in line]) == 1
    assert (card(alone)["processes"], card(tmp_path)["processes"]) == ([1], [2])
    for name, values in card(alone)["curve"].items():
        assert card(tmp_path)["curve"][name] == pytest.approx(values), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("dcgan", "--size", "16", "--epochs", "2"), ("facet", "--size", "32")], ids=" ".join
)
def test_three_uneven_shares_train_what_one_process_does(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """dcgan's batches of 100 do not divide by three, and it has a discriminator."""
    for processes in (1, 3):
        result = train(processes, tmp_path / str(processes), *arguments)
        assert result.returncode == 0, result.stderr
    assert_same_training(tmp_path / "1", tmp_path / "3")
    assert files(tmp_path / "3") == files(tmp_path / "1")


@pytest.mark.slow
def test_a_checkpoint_goes_on_in_another_number_of_processes(alone: Path, tmp_path: Path) -> None:
    limited = train(3, tmp_path, *CVAE, "--minutes", "1e-6")
    assert limited.returncode == 0, limited.stderr
    assert card(tmp_path)["steps"] < card(alone)["steps"]
    result = train(1, tmp_path, *CVAE, "--resume")
    assert result.returncode == 0, result.stderr
    assert_same_training(alone, tmp_path)
    assert card(tmp_path)["processes"] == [3, 1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_kill_9_of_one_process_ends_all_and_the_same_command_goes_on(alone: Path, tmp_path: Path, victim: int) -> None:
    slowly = {**os.environ, "SLOWLY": str(tmp_path)}
    process = subprocess.Popen(command(2, tmp_path / "w", *CVAE, "--resume"), env=slowly, stderr=subprocess.DEVNULL)
    while not (tmp_path / "w" / "w.checkpoint").is_file():
        assert process.poll() is None
        time.sleep(0.1)
    pids = [int((tmp_path / f"{rank}.pid").read_text()) for rank in (0, 1)]
    os.kill(pids[victim], signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert files(tmp_path / "w") == {"w.checkpoint"}
    result = train(2, tmp_path / "w", *CVAE, "--resume")
    assert result.returncode == 0, result.stderr
    assert_same_training(alone, tmp_path / "w")
    assert files(tmp_path / "w") == files(alone)


@pytest.mark.slow
def test_an_error_of_all_processes_is_told_once(alone: Path, tmp_path: Path) -> None:
    result = train(2, tmp_path, "eigenfaces", "--size", "16", "--quiet")
    assert result.returncode != 0
    (line,) = lines_of_facebench(result)
    assert "without torchrun" in line
    assert files(tmp_path) == set()
    for name in ("w.checkpoint", "w.json", "w.safetensors"):
        (tmp_path / name).write_bytes((alone / name).read_bytes())
    for arguments, message in ((CVAE, "--resume"), ((*CVAE, "--resume", "--seed", "5"), "another recipe")):
        result = train(2, tmp_path, *arguments, "--quiet")
        assert result.returncode != 0
        (line,) = lines_of_facebench(result)  # the first process alone sees it, the others lose it
        assert message in line


def test_shares_are_the_whole_batch_and_differ_by_one_picture_at_most() -> None:
    for length, count in ((100, 1), (100, 3), (8, 8), (9, 4)):
        parts = [np.arange(length)[Processes(rank, count).share(length)] for rank in range(count)]
        assert np.concatenate(parts).tolist() == list(range(length))
        assert {len(part) for part in parts} <= {length // count, -(-length // count)}
        weights = [Processes(rank, count).weight(length) for rank in range(count)]
        assert weights == pytest.approx([len(part) / length for part in parts])
    with pytest.raises(SettingError, match="at most 8"):
        Processes(0, 9).check_batch(8)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("--device", "cuda:99"), {}, "cuda"),
        (("--device", "toaster"), {}, "--device toaster"),
        ((), {"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not"),
    ],
)
def test_what_the_environment_does_not_have_is_one_clear_error(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["facebench", "train", "cvae", "--quiet", "--data", "samples", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facebench: ") and message in line
