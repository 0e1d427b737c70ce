"""Training: it learns, resumes to the same curve after kill -9, and its result is usable at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facebench_codecs.learned import Cvae, train_learned
from facebench_codecs.training import is_flat

from facebench import SettingError, TrainingJob, WeightsError


def card(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())


def test_training_lowers_the_validation_loss_and_the_weights_are_usable_at_once(
    small_job: TrainingJob, tmp_path: Path
) -> None:
    steps: list[int] = []
    job = replace(
        small_job, codec="cvae", out=tmp_path / "w.safetensors", epochs=40, progress=lambda s, t, f: steps.append(s)
    )
    path = train_learned(job)
    curve = card(path)["curve"]
    assert curve["valid"][-1] < 0.85 * curve["valid"][0]
    assert steps == list(range(1, len(steps) + 1))
    codec = Cvae((16, 16), step=3.0, latent="quantised", weights=str(path))
    assert codec.decode(codec.encode(small_job.valid.images[0])).shape == (16, 16, 3)


def test_a_resumed_run_takes_the_same_steps_as_an_undisturbed_one(small_job: TrainingJob, tmp_path: Path) -> None:
    whole = train_learned(replace(small_job, codec="dcgan", out=tmp_path / "whole.safetensors", epochs=4))
    part = replace(small_job, codec="dcgan", out=tmp_path / "part.safetensors", epochs=4, minutes=1e-6)
    train_learned(part)  # stops at its first validation
    assert card(tmp_path / "part.safetensors")["steps"] < card(whole)["steps"]
    train_learned(replace(part, minutes=None, resume=True))
    resumed = card(tmp_path / "part.safetensors")
    assert resumed["curve"] == card(whole)["curve"]
    assert resumed["sha256"] == card(whole)["sha256"]


def test_a_checkpoint_is_not_overwritten_or_mixed_up(small_job: TrainingJob, tmp_path: Path) -> None:
    job = replace(small_job, codec="cvae", out=tmp_path / "w.safetensors", epochs=1)
    train_learned(job)
    with pytest.raises(SettingError, match="--resume"):
        train_learned(job)
    with pytest.raises(WeightsError, match="another recipe"):
        train_learned(replace(job, seed=5, resume=True))
    (tmp_path / "w.checkpoint").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="damaged"):
        train_learned(replace(job, resume=True))


def test_wrong_options_are_one_clear_error(small_job: TrainingJob) -> None:
    for change in ({"loss": "l3"}, {"recipe": "none"}):
        with pytest.raises(SettingError):
            train_learned(replace(small_job, codec="cvae", **change))


def test_flat_means_less_than_half_a_percent_over_the_last_fifth() -> None:
    steps = list(range(100, 1100, 100))
    assert is_flat(steps, [1, 0.9, 0.8, 0.7, 0.6, 0.55, 0.52, 0.5, 0.4990, 0.4980])
    assert not is_flat(steps, [1, 0.9, 0.8, 0.7, 0.6, 0.55, 0.52, 0.5, 0.4990, 0.4970])
    assert not is_flat([], [])


@pytest.mark.slow
def test_training_survives_kill_9(tmp_path: Path) -> None:
    """The command itself, killed at random moments, ends with the curve of an undisturbed run."""
    rng = np.random.default_rng(0)

    def command(name: str) -> list[str]:
        out = tmp_path / f"{name}.safetensors"
        code = (
            "from facebench_codecs import training; training.CHECKPOINT_SECONDS = 0.0\n"
            "import sys; from facebench.cli import main\n"
            f"sys.argv = ['facebench', 'train', 'cvae', '--size', '16', '--epochs', '40', '--data', 'samples', "
            f"'--out', {str(out)!r}, '--resume', '--quiet', '--device', 'cpu']\n"
            "main()"
        )
        return [sys.executable, "-c", code]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), check=True, env=environment)
    for _ in range(3):
        process = subprocess.Popen(command("killed"), env=environment)
        time.sleep(float(rng.uniform(3, 8)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("killed"), check=True, env=environment)
    assert card(tmp_path / "killed.safetensors")["sha256"] == card(tmp_path / "whole.safetensors")["sha256"]
