"""The cost of codecs: figures that are what their definition says, faults that stay with the codec at fault."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from constructed_run import Point, make_run
from numpy.typing import NDArray

from facebench import Codec, CodecSpec
from facebench.analysis.summary import summarise
from facebench.cli import main
from facebench.cost.choice import point_of_each_curve
from facebench.cost.measure import measure_costs, steps
from facebench.data.prepared import save_rows
from facebench.measure import CodecTask, Pictures
from facebench.operating_point import OperatingPoint
from facebench.report.cost import cost_section, milliseconds
from facebench.report.leaderboard import leaderboard_markdown
from facebench.store import read_run, write_run

Image = NDArray[np.uint8]
SIZE = (16, 16)
MEMORY = 64 << 20


class Grey(Codec):
    """Sends the mean grey; ``encode`` takes 2 ms, ``decode`` 8 ms."""

    def encode(self, image: Image) -> bytes:
        time.sleep(0.002)
        return bytes([int(image.mean())])

    def decode(self, payload: bytes) -> Image:
        time.sleep(0.008)
        return np.full((*self.size, 3), payload[0], np.uint8)


class Batches(Grey):
    """Takes a batch in no time, and 64 MiB while it decodes one."""

    def encode_batch(self, images: Image) -> list[bytes]:
        return [bytes([int(image.mean())]) for image in images]

    def decode_batch(self, payloads: Any) -> list[Image]:
        np.ones(MEMORY, np.uint8)
        return [np.full((*self.size, 3), payload[0], np.uint8) for payload in payloads]


class Torch(Grey):
    """One convolution to encode, one matrix product to decode."""

    weights_bytes = 1234

    def encode(self, image: Image) -> bytes:
        import torch  # here: the other codecs' processes need not load it

        picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            torch.nn.functional.conv2d(picture, torch.zeros(8, 3, 5, 5), padding=2)
        return b"\x07"

    def decode(self, payload: bytes) -> Image:
        import torch

        with torch.inference_mode():
            torch.nn.functional.linear(torch.zeros(1, 10), torch.zeros(20, 10))
        return np.full((*self.size, 3), payload[0], np.uint8)


class Breaks(Grey):
    """Raises when it decodes."""

    def decode(self, payload: bytes) -> Image:
        raise RuntimeError("out of\norder")


class Kills(Grey):
    """Ends its process when it decodes."""

    def decode(self, payload: bytes) -> Image:
        os._exit(9)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    images = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)
    save_rows(tmp_path / "images.npy", images)
    return Pictures(tmp_path / "images.npy", None, 0, len(images))


@pytest.fixture
def costs(pictures: Pictures) -> dict[str, dict[str, Any]]:
    classes = (Grey, Kills, Batches, Torch, Breaks)
    tasks = {
        cls.__name__: CodecTask(
            CodecSpec(cls.__name__.lower(), f"test_cost:{cls.__name__}"), OperatingPoint(cls.__name__.lower(), ()), SIZE
        )
        for cls in classes
    }
    told: list[str] = []
    found = measure_costs(tasks, pictures, repeats=2, least_seconds=0.02, progress=told.append)
    assert list(found) == list(tasks)
    assert len(told) <= steps(len(tasks), 2)
    return found


def test_costs_are_what_their_definition_says(costs: dict[str, dict[str, Any]]) -> None:
    grey, batches, learned = costs["Grey"], costs["Batches"], costs["Torch"]
    assert grey["problem"] == ""
    # Only orders: 2 ms asleep are at least 2 ms, and decoding sleeps longer.
    assert 2 <= grey["encode_ms"]["median"] < grey["decode_ms"]["median"]
    assert grey["encode_ms"]["least"] <= grey["encode_ms"]["median"] <= grey["encode_ms"]["most"]
    assert grey["encode_ms"]["repeats"] == 2
    # Without a batch method the batch is the single pictures, and is not timed again.
    assert grey["encode_batch_ms"] == {**grey["encode_ms"], "one_by_one": True}
    assert batches["encode_batch_ms"]["median"] < batches["encode_ms"]["median"]
    assert not batches["encode_batch_ms"]["one_by_one"]
    # Multiply-adds by hand: 16 x 16 places x 8 filters of 5 x 5 x 3, and 10 x 20.
    assert (learned["encode_macs"], learned["decode_macs"]) == (16 * 16 * 8 * 5 * 5 * 3, 10 * 20)
    assert (grey["encode_macs"], grey["decode_macs"]) == (None, None)
    assert (grey["weights_bytes"], learned["weights_bytes"]) == (0, 1234)
    if sys.platform.startswith("linux"):
        assert batches["peak_memory_bytes"] >= MEMORY
        assert batches["peak_memory_bytes"] - (grey["peak_memory_bytes"] or 0) >= MEMORY / 2
    # Faults stay with the codec at fault.
    assert costs["Breaks"]["problem"] == "RuntimeError: out of order"
    assert costs["Kills"]["problem"] == "the codec's process ended: it exited with status 9"


def test_each_curve_is_measured_at_the_sound_point_nearest_to_128_bytes() -> None:
    def at(label: str, curve: str, size: int, **more: Any) -> Point:
        about = {"curve": curve, **more.pop("about", {})}
        return Point(label, [0.1, 0.2], [size, size], about=about, **more)

    run = make_run(
        [
            at("a:q=1", "a", 60),
            at("a:q=2", "a", 260),  # nearer by ratio: 2.03 against 2.13
            at("a:q=3", "a", 120, failed={0: "decode failed"}),
            at("b", "b", 9000),
            at("b@128B", "b@budget", 127, about={"budget": 128}),
        ]
    )
    assert point_of_each_curve(run) == ["a:q=2", "b"]


def facebench(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    monkeypatch.delenv("FACEBENCH_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["facebench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_runs_cost_goes_into_its_folder_and_its_leaderboard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"settings": {"quality": 20, "headerless": False, "scale": 1.0}, "curve": "jpeg"}
    gone = {"codec": "fancy", "origin": "facebench-fancy 1.2", "curve": "fancy"}
    image_set = {"name": "celeba", "preprocessing": {"crop": "full", "size": 64, "filter": "area"}}
    points = [Point("jpeg:quality=20", [0.1], [500], about=about), Point("fancy", [0.1], [50], about=gone)]
    run = make_run(points, name="run", image_set=image_set)
    write_run(tmp_path / "run", run, leaderboard_markdown(run))
    monkeypatch.setattr("facebench.cost.measure.LEAST_SECONDS", 0.001)
    assert facebench(monkeypatch, "cost", "--run", str(tmp_path / "run")) == 0
    said = capsys.readouterr()
    assert "jpeg:quality=20" in said.out
    assert "1 thread per process" in said.out
    assert "fancy is not installed here, the run had it from facebench-fancy 1.2: skipped" in said.err
    assert "measured on the samples: where is celeba?" in said.err
    again = read_run(tmp_path / "run")
    assert again.cost is not None
    assert list(again.cost["points"]) == ["jpeg:quality=20"]
    assert {"cpu", "cores", "packages"} <= set(again.cost["machine"])
    assert (tmp_path / "run" / "leaderboard.md").read_text() == leaderboard_markdown(again)
    section = "\n\n".join(cost_section(summarise(again, resamples=0), again))
    assert "| jpeg:quality=20" in section
    assert "on pictures of samples" in section
    assert cost_section(summarise(run, resamples=0), run) == []


@pytest.mark.parametrize(
    ("point", "complaint"),
    [
        (
            Point("jpeg@900B", [0.1], [500], about={"budget": 900, "curve": "jpeg@budget"}),
            "byte budgets only, which lie",
        ),
        (Point("jpeg:quality=20", [0.1], [500], failed={0: "crashed"}), "no point without failed pictures"),
    ],
)
def test_a_run_without_a_point_to_measure_says_so(
    point: Point, complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", make_run([point], name="run"), "")
    assert facebench(monkeypatch, "cost", "--run", str(tmp_path / "run")) == 1
    assert complaint in capsys.readouterr().err


def test_a_leaderboard_keeps_its_view(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = {"settings": {"quality": 20, "headerless": False, "scale": 1.0}}
    run = make_run([Point("jpeg:quality=20", [0.1], [500], about=about)], name="run")
    write_run(tmp_path / "run", run, leaderboard_markdown(run, view="paper"))
    monkeypatch.setattr("facebench.cost.measure.LEAST_SECONDS", 0.001)
    assert facebench(monkeypatch, "cost", "--run", str(tmp_path / "run"), "--quiet") == 0
    again = read_run(tmp_path / "run")
    assert (tmp_path / "run" / "leaderboard.md").read_text() == leaderboard_markdown(again, view="paper")


@pytest.mark.parametrize("option", ["--split=all", "--crop=full", "--size=64", "--filter=area"])
def test_what_a_run_has_decided_cannot_be_chosen_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert facebench(monkeypatch, "cost", "--run", str(tmp_path), option) == 2
    assert f"leave {option.partition('=')[0]} out: with --run" in capsys.readouterr().err


def test_codecs_by_name_print_json_and_write_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deep" / "cost.json"
    arguments = (
        "cost",
        "--codecs",
        "jpeg:quality=20",
        "--size",
        "32",
        "--out",
        str(file),
        "--format",
        "json",
        "--quiet",
    )
    assert facebench(monkeypatch, *arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {**printed, "sha256": None} == {**json.loads(file.read_text()), "sha256": None}
    assert printed["points"]["jpeg:quality=20"]["encode_ms"]["median"] > 0


def test_neither_or_both_of_codecs_and_run_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facebench(monkeypatch, "cost") == 2
    assert facebench(monkeypatch, "cost", "--codecs", "jpeg", "--run", "x") == 2
    assert "give --codecs, or --run with a results folder" in capsys.readouterr().err


def test_a_failed_codec_says_so_in_the_table_and_times_have_three_digits() -> None:
    run = make_run([Point("a", [0.1], [50])])
    cost = {"points": {"a": {"problem": "no licence"}, "stranger": {"problem": ""}}, "definition": "Times: so and so."}
    text = "\n\n".join(cost_section(summarise(run, resamples=0), replace(run, cost=cost)))
    assert "failed: no licence" in text
    assert "stranger" not in text
    assert "Times: so and so." in text
    assert [milliseconds({"median": value}) for value in (0.01234, 1.234, 123.4, 1234.0)] == [
        "0.0123",
        "1.23",
        "123",
        "1,234",
    ]
