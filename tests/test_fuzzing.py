"""Hostile bytes: the fuzzer's corpus through every reader of foreign bytes, a short run of the fuzzer, no pickle."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from facebench_codecs.weights import find_weights, load_weights, save_weights

from facebench.container import FaceFile, unpack
from facebench.errors import CodecError, FacebenchError, SettingError, WeightsError
from facebench.memory import peak, reset_peak
from facebench.operating_point import make_codec, parse_budgets, parse_points
from facebench.plugins import load_registry

REPOSITORY = Path(__file__).parents[1]
FUZZING = REPOSITORY / "tests" / "fuzzing"
#: Generous: what one input may take is checked in CPU seconds, within.
SECONDS = 300


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FUZZING / "fuzz.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_every_kept_input_is_refused_or_read_within_the_limits() -> None:
    done = fuzz("all", "--replay")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folders = {folder.name for folder in (FUZZING / "corpus").iterdir()}
    replayed = {line.partition(":")[0] for line in done.stdout.splitlines() if " inputs, " in line}
    assert folders == replayed
    assert not [line for line in done.stdout.splitlines() if ": 0 inputs" in line]


def test_an_input_that_breaks_a_limit_is_seen() -> None:
    code = f"""
import sys, time
sys.path[:0] = [{str(FUZZING)!r}]
import limits
import numpy as np
from limits import LimitBroken, Watch

def run(data):
    if data == b"memory":
        np.ones(80 << 20, np.uint8)
    elif data == b"untouched memory":
        np.zeros(300 << 20, np.uint8)
    elif data == b"time":
        start = time.process_time()
        while time.process_time() < start + 0.4:
            pass
    elif data == b"allowed":
        raise ValueError
    elif data == b"error":
        raise KeyError("error")

limits.SECONDS = 0.3
for batch in (1, 4):
    for data in (b"memory", b"untouched memory", b"time", b"error", b"allowed", b"fine"):
        watch = Watch(run, (ValueError,), batch)
        try:
            for _ in range(8):
                watch(data)
            print(data.decode(), "passes", watch.accepted)
        except Exception as error:
            print(data.decode(), type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144"},
    )
    seen = ["memory LimitBroken", "untouched memory LimitBroken", "time LimitBroken", "error KeyError"]
    assert done.stdout.splitlines() == [*seen, "allowed passes 0", "fine passes 8"] * 2, done.stderr


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    done = fuzz(
        "png", "jpeg-headerless", "compressai-results", "operating-points", "--runs", "500", "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout[-3000:]
    figures = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [(name, count) for name, count, *_ in figures] == [
        ("png", "500"),
        ("jpeg-headerless", "500"),
        ("compressai-results", "500"),
        ("operating-points", "500"),
    ]
    assert all(int(row[3]) > 10 for row in figures), "no coverage was recorded"


_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
#: facebench's own processes talk pickle with each other over a pipe; no file is ever unpickled.
_BETWEEN_PROCESSES = {"facebench/child.py": {"pickle"}}
#: Names the exception that torch.load(weights_only=True) raises.
_EXCEPTION_ONLY = {"plugins/facebench-compressai/facebench_compressai/weights.py": {"pickle"}}


def sources() -> Iterator[Path]:
    for folder in ("facebench", "codecs", "plugins"):
        yield from (file for file in sorted((REPOSITORY / folder).rglob("*.py")) if "tests" not in file.parts)


def faults(tree: ast.AST) -> Iterator[str]:
    """Yield the modules and calls of a source that make code out of a file's content."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in _MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _MODULES:
            yield node.module or ""
        elif isinstance(node, ast.Call):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            name = ast.unparse(node.func)
            if name in ("eval", "exec"):
                yield name
            elif name == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            elif given.get("allow_pickle", "False") != "False":
                yield "allow_pickle"
            elif name.endswith((".read_pickle", ".extractall", ".extract", ".unpack_archive")):
                yield name


def test_no_file_is_ever_unpickled_or_run_and_no_archive_is_unpacked() -> None:
    found = {}
    for file in sources():
        name = file.relative_to(REPOSITORY).as_posix()
        allowed = _BETWEEN_PROCESSES.get(name, set()) | _EXCEPTION_ONLY.get(name, set())
        if wrong := set(faults(ast.parse(file.read_text(encoding="utf-8")))) - allowed:
            found[name] = wrong
    assert not found
    for name in _EXCEPTION_ONLY:
        used = {
            ast.unparse(node)
            for node in ast.walk(ast.parse((REPOSITORY / name).read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert {text for text in used if text.startswith("pickle.")} == {"pickle.UnpicklingError"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import yaml",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "archive.extractall(folder)",
        "pd.read_pickle(path)",
    ],
)
def test_the_search_sees_what_it_looks_for(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize("text", ["jpeg:quality=" + "9" * 400, "jpeg@" + "1" * 5000 + "B", "@64B", ":", "png,:"])
def test_an_operating_point_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FacebenchError) as refused:
        parse_points(text, load_registry(""))
    assert len(str(refused.value)) < 1000


def test_a_short_text_cannot_name_millions_of_points() -> None:
    values = ["/".join(f"{value}" for value in range(1, 60)), "/".join(f"0.{value}" for value in range(10, 60))]
    with pytest.raises(SettingError, match="more than 10,000 operating points"):
        parse_points(f"jpeg:quality={values[0]}:scale={values[1]}:weights=a/b/c/d", load_registry(""))
    many = ",".join([f"jpeg:quality={values[0]}:scale={values[1]}:weights={name}" for name in "abcde"])
    with pytest.raises(SettingError, match="more than 10,000 operating points"):
        parse_points(many, load_registry(""))
    with pytest.raises(SettingError, match="whole numbers of bytes"):
        parse_budgets("1" * 5000)
    assert len(parse_points("jpeg:quality=5/5/5/6", load_registry(""))) == 2


def test_a_short_file_cannot_claim_a_huge_picture() -> None:
    sound = FaceFile("png", (2048, 2048), None, b"x" * 10)
    assert unpack(sound.pack(), "x.face").size == (2048, 2048)
    huge = FaceFile("png", (4096, 4096), None, b"x" * 4000)
    with pytest.raises(CodecError, match="4096x4096 pixels in 4000 bytes"):
        huge.pack()
    claim = sound.pack()[: -10 - 8] + (4096).to_bytes(2, "little") * 2 + bytes(4)
    with pytest.raises(CodecError, match=r"x\.face is damaged: it claims a picture of 4096x4096 in 4000 bytes"):
        unpack(claim + huge.payload, "x.face")
    assert unpack(claim + bytes(20_000), "x.face").size == (4096, 4096)


def test_weights_may_not_ask_for_memory_that_they_do_not_fill(tmp_path: Path) -> None:
    found = find_weights("cvae-flat", 64)
    assert found is not None
    loaded = load_weights(found, "autoencoder")
    meta = {**loaded.meta, "recipe": {**loaded.meta["recipe"], "widths": [1 << 20] * 4}}
    save_weights(tmp_path / "cvae.safetensors", loaded.tensors, meta, {})
    registry = load_registry("")
    sound, damaged = parse_points(f'cvae,cvae:weights="{tmp_path}/cvae.safetensors"', registry)
    make_codec(registry.codec("cvae"), sound, (64, 64))  # imports what it needs
    before = reset_peak()
    with pytest.raises(WeightsError, match="do not fit their recipe"):
        make_codec(registry.codec("cvae"), damaged, (64, 64))
    assert peak() - before < 64 << 20
