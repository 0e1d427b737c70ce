"""The plugin author's guide: its examples run as they stand there, and it leaves nothing of the contract out."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import facebench
from facebench import hookspecs
from facebench.plugins import load_registry
from facebench.testing import check_codec, check_names

GUIDE = Path(__file__).parents[1] / "plugins" / "README.md"
TEXT = GUIDE.read_text(encoding="utf-8")

SPECS = [
    facebench.CodecSpec,
    facebench.Setting,
    facebench.TrainedOn,
    facebench.TrainingJob,
    facebench.MetricSpec,
    facebench.MetricColumn,
    facebench.ImageSetSpec,
    facebench.MaskerSpec,
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def file_in_guide(name: str, language: str) -> str:
    """Return the code that the guide gives for the file ``name``, exactly."""
    match = re.search(rf"^`{re.escape(name)}`[^\n]*:\n\n```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert match, f"no {name} in the guide"
    return match[1]


def is_mentioned(word: str, beside: str = "") -> bool:
    """Whether the guide has ``word`` in code, between backticks, in a paragraph that has ``beside`` so too."""
    for paragraph in TEXT.split("\n\n"):
        words = {w for code in re.findall(r"`([^`\n]+)`", paragraph) for w in re.findall(r"\w+", code)}
        if word in words and (not beside or beside in words):
            return True
    return False


def test_every_hook_is_in_the_guide() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("facebench_")]
    assert len(hooks) >= 4
    assert [name for name in hooks if not is_mentioned(name)] == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_every_field_of_a_spec_is_in_the_guide(spec: type) -> None:
    assert is_mentioned(spec.__name__)
    assert [field.name for field in dataclasses.fields(spec) if not is_mentioned(field.name, spec.__name__)] == []  # type: ignore[arg-type]


def test_every_spec_that_a_hook_returns_is_among_those() -> None:
    returned = " ".join(
        str(inspect.signature(hook).return_annotation)
        for name, hook in vars(hookspecs).items()
        if name.startswith("facebench_")
    )
    assert set(re.findall(r"\w+Spec", returned)) <= {spec.__name__ for spec in SPECS}


def test_every_public_part_of_codec_is_in_the_guide() -> None:
    public = ["__init__", "size", *(name for name in vars(facebench.Codec) if not name.startswith("_"))]
    assert {"encode", "decode", "trained_on"} <= set(public)
    assert [name for name in public if not is_mentioned(name)] == []


def test_every_name_of_the_author_api_is_in_the_guide() -> None:
    apart = {"__version__", "FacebenchError", "SettingError"}  # not for plugins to use
    assert [name for name in facebench.__all__ if name not in apart and not is_mentioned(name)] == []


def test_every_check_is_in_the_guide() -> None:
    assert [name for name in check_names() if f"`{name}`" not in TEXT] == []


def test_guide_states_the_contract_version() -> None:
    assert f"FACEBENCH_API = {facebench.API_VERSION}\n" in TEXT
    assert f"`facebench.API_VERSION`, {facebench.API_VERSION}." in TEXT
    assert "`FACEBENCH_PLUGINS=" in TEXT and "--no-plugins" in TEXT


def test_smallest_codec_is_under_20_lines_is_found_and_conforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, project = file_in_guide("facebench_greys.py", "python"), file_in_guide("pyproject.toml", "toml")
    assert len([line for line in source.splitlines() if line.strip()]) < 20
    (tmp_path / "facebench_greys.py").write_text(source)
    entry = re.search(r"^\[project\.entry-points\.facebench\]\n(\w+) = \"(\w+)\"$", project, re.MULTILINE)
    name, version = (re.search(rf'^{key} = "(.+)"$', project, re.MULTILINE) for key in ("name", "version"))
    assert entry and name and version
    info = tmp_path / "facebench_greys-0.1.0.dist-info"  # what pip makes of that pyproject.toml
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name[1]}\nVersion: {version[1]}\n")
    (info / "entry_points.txt").write_text(f"[facebench]\n{entry[1]} = {entry[2]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("FACEBENCH_PLUGINS", raising=False)
    assert "greys" in load_registry().codecs
    report = check_codec("greys")
    assert report.ok, report
    assert {r.status for r in report.results if r.name not in ("lossless", "sweep")} == {"passed"}, report


def test_metric_example_scores_as_its_definition_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "facebench_worst.py").write_text(file_in_guide("facebench_worst.py", "python"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("facebench_worst")
    (spec,) = module.facebench_metrics()
    originals, decoded = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)
    decoded[0, 0, 0, 1], originals[1, 2, 2, 0] = 200, 7
    masks = np.zeros((2, 4, 4), bool)
    masks[1, 2, 2] = True
    scores = module.score(originals, decoded, masks)
    assert list(scores) == [column.name for column in spec.columns]
    assert scores["Worst"].dtype == np.float64
    assert scores["Worst"].tolist() == [[200, 7], [0, 7]]
    assert module.score(originals, decoded, None)["Worst"].tolist() == [[200, 7]]


def test_every_example_runs() -> None:
    for block in blocks("python"):
        exec(compile(block, str(GUIDE), "exec"), {name: getattr(facebench, name) for name in facebench.__all__})
