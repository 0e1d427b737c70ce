"""Fuzzes what reads foreign bytes: ``python tests/fuzzing/fuzz.py TARGET|all --runs N``; see README.md.

Each target runs in a process of its own, under atheris, from the corpus beside this file and seeds that it makes.
The first input that breaks a limit ends a target's run and is kept in --out; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
# Networks this small gain nothing by a second thread, and CPU seconds count those of all.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["FACEBENCH_PLUGINS"] = ""
sys.path[:0] = [str(HERE), str(HERE.parent)]

#: Seconds after which libFuzzer ends an input that does not return; shorter ones are measured in CPU seconds.
_HANGS = 60
_RSS_LIMIT_MB = 3000
_FIGURES = "figures.json"
#: Where input files are written: millions of them, so in memory if the system has such a place.
_MEMORY = Path("/dev/shm")


#: Makes the C library give large blocks back at once, so that each execution's are seen; must be set before it starts.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 18)}


def main() -> int:
    """Fuzz or replay; returns the exit status."""
    if not _MALLOC.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **_MALLOC})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="+", help="names of targets, or: all, parsers, neural, weights")
    parser.add_argument("--runs", type=int, default=1000, help="executions of each target [default: 1000]")
    parser.add_argument("--seconds", type=int, default=0, help="stop each target after so long [default: no limit]")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer's random numbers [default: 1]")
    parser.add_argument("--out", type=Path, help="folder for grown corpora and broken inputs [default: a new one]")
    parser.add_argument("--replay", action="store_true", help="run the kept corpus once, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    from targets import NEURAL, PARSER, TARGETS, WEIGHTS

    groups = {"all": (PARSER, NEURAL, WEIGHTS), "parsers": (PARSER,), "neural": (NEURAL,), "weights": (WEIGHTS,)}
    chosen = [t for t in TARGETS if any(t.name == name or t.kind in groups.get(name, ()) for name in options.target)]
    if strangers := set(options.target) - set(groups) - {t.name for t in TARGETS}:
        parser.error(f"no target {min(strangers)}: use {', '.join((*groups, *(t.name for t in TARGETS)))}")
    if options.child:
        _fuzz_here(chosen[0].name, options.out, options)
    with tempfile.TemporaryDirectory(prefix="facebench-fuzzing-", dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        if options.replay:
            tempfile.tempdir = scratch
            return max([_replay(target) for target in chosen])
        return _fuzz(chosen, options, scratch)


def _fuzz(chosen: list[Any], options: argparse.Namespace, scratch: str) -> int:
    """Fuzz the targets one after the other; returns the exit status."""
    out = (options.out or Path(tempfile.mkdtemp(prefix="facebench-fuzzing-"))).resolve()
    print(f"out: {out}")
    print(
        f"{'target':24}{'executions':>11}{'accepted':>10}{'edges':>7}{'inputs':>7}{'s':>7}{'slowest ms':>11}{'MiB':>6}"
    )
    return max([_in_child(target.name, out / target.name, options, scratch) for target in chosen])


def _kept(name: str) -> list[Path]:
    return sorted((CORPUS / name).glob("*"))


def _replay(target: Any) -> int:
    """Run the kept corpus of a target; returns 1 and says why if an input breaks a limit."""
    from limits import Watch

    watch = Watch(target.make(), target.allowed, batch=1)
    broken = 0
    for file in _kept(target.name):
        try:
            watch(file.read_bytes())
        except Exception as error:
            print(f"{target.name}: {file.name}: {type(error).__name__}: {error}", flush=True)
            broken = 1
    slowest, grown = round(watch.slowest * 1000), watch.grown >> 20
    print(f"{target.name}: {watch.executions} inputs, {watch.accepted} accepted, {slowest} ms, {grown} MiB", flush=True)
    return broken


def _in_child(name: str, out: Path, options: argparse.Namespace, scratch: str) -> int:
    """Fuzz one target in a process of its own and print its line of figures; returns its exit status."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, name, "--child", "--out", str(out)]
    for option in ("runs", "seconds", "seed"):
        command += [f"--{option}", str(getattr(options, option))]
    start = time.monotonic()
    with (out / "log.txt").open("wb") as log:
        environment = {**os.environ, "TMPDIR": scratch}
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    seconds = time.monotonic() - start
    log_text = (out / "log.txt").read_text(errors="replace")
    figures = json.loads((out / _FIGURES).read_text()) if (out / _FIGURES).is_file() else {}
    covered = re.findall(r"cov: (\d+)", log_text)
    print(
        f"{name:24}{figures.get('executions', 0):11,}{figures.get('accepted', 0):10,}"
        f"{covered[-1] if covered else '?':>7}{figures.get('inputs', 0):7}{seconds:7.0f}"
        f"{1000 * figures.get('slowest', 0):11.0f}{figures.get('grown', 0) / 2**20:6.1f}",
        flush=True,
    )
    if status:
        print(f"{name} FAILED, {out}/log.txt ends in:\n{log_text[-1500:]}", flush=True)
    return int(status != 0)


def _fuzz_here(name: str, out: Path, options: argparse.Namespace) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris
    from limits import LONGEST_INPUT, Watch

    # What was imported to choose the target is imported again, instrumented.
    for module in [m for m in sys.modules if m.partition(".")[0] in ("facebench", "facebench_codecs", "targets")]:
        del sys.modules[module]
    grown, broken = out / "corpus", out / "broken"
    for folder in (grown, broken):
        folder.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["facebench", "facebench_codecs"]):
        from targets import TARGETS

        (target,) = [t for t in TARGETS if t.name == name]
        seeds = [seed for seed in target.seeds() if len(seed) <= LONGEST_INPUT]
        watch = Watch(target.make(), target.allowed)
        for seed in seeds:  # what is imported at the first use is imported now
            watch(seed)
    if not watch.accepted:
        sys.exit(f"{name}: no seed is accepted")
    for number, seed in enumerate(seeds):
        (grown / f"seed-{number:02}").write_bytes(seed)
    # Words in libFuzzer's notation.
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.tokens)
    words = "".join(f'"{word}"\n' for word in escaped)
    (out / "words.txt").write_text(words)
    watch.executions = watch.accepted = 0
    flushed = 0.0

    def run(data: bytes) -> None:
        nonlocal flushed
        watch(data)
        if time.monotonic() - flushed > 0.5 or watch.executions >= options.runs:
            inputs = len(list(grown.iterdir())) if watch.executions >= options.runs else 0
            figures = {key: getattr(watch, key) for key in ("executions", "accepted", "slowest", "grown")}
            (out / _FIGURES).write_text(json.dumps({**figures, "inputs": inputs}))
            flushed = time.monotonic()

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        made = target.mutate(data, random.Random(seed)) if target.mutate else None
        return made if made is not None and len(made) <= most else atheris.Mutate(data, most)

    arguments = [
        f"-runs={options.runs}",
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-max_len={LONGEST_INPUT}",
        "-len_control=0",
        f"-timeout={_HANGS}",
        f"-rss_limit_mb={_RSS_LIMIT_MB}",
        f"-artifact_prefix={broken}/",
        *([f"-dict={out / 'words.txt'}"] if words else []),
        str(grown),
    ]
    if (CORPUS / name).is_dir():
        arguments.append(str(CORPUS / name))
    atheris.Setup([sys.argv[0], *arguments], run, **({"custom_mutator": mutated} if target.mutate else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
