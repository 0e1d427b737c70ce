"""Times whole runs against the loop that a user would write and against CompressAI's own benchmarks, side by side.

Usage: python tests/benchmarks/whole_run.py CELEBA [--size 64] [--compressai PYTHON] [--pictures N] [--repeats 3]

CELEBA's test split is repeated to the number of pictures (hard links). The loop and facebench read the same files,
prepare them alike and score the same things, with and without masks, facebench with cold caches and on all cores.
The loop is timed on an even share of the pictures, ``--loop-share``, and scaled up: it is linear.

PYTHON is the interpreter of an environment with CompressAI, facebench and plugins/facebench-compressai. CompressAI
reads PNG files of the final size; in these comparisons facebench reads the same PNG files, and masks beside.
``bench`` has one process per core, ``eval_model`` has one in all. Both score whole pictures only, facebench the
faces too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from command import Finished, facebench, run_arguments
from picture_folders import link_pictures, write_pngs
from verdict import verdict

COLUMNS = ("1-SSIM", "1-MS-SSIM", "L1", "L2", "PSNR")
#: Pictures by size, for a run of facebench of some ten seconds or more.
PICTURES = {64: 20_000, 128: 10_000, 512: 1_024}
MODEL = "bmshj2018-factorized"
#: Fewer pictures for the learned model, but shards of 128 for both cores.
MODEL_PICTURES = {64: 2_048, 128: 1_024, 512: 256}


def timed_facebench(arguments: list[str], scratch: Path, python: str = sys.executable) -> tuple[Finished, list[float]]:
    """Return a run with cold caches, and its means: bytes, then each column of whole pictures and faces in turn."""
    for folder in ("out", "cache"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    plugins = "" if python == sys.executable else None
    finished = facebench(*arguments, cache=scratch / "cache", python=python, plugins=plugins)
    rows = {row["mask"]: row for row in json.loads(finished.output)["rows"]}
    means = [rows["none"]["bytes"]]
    means += [rows[mask][column] for column in COLUMNS for mask in ("none", "face")]
    return finished, means


def timed_peer(*command: str | Path) -> tuple[float, dict[str, list[float]]]:
    """Return the seconds of a program of one thread per process, and the JSON that it prints."""
    start = time.perf_counter()
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=one_thread)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout)


def started(module: str, python: str) -> float:
    """Return the seconds that a program's imports take, part of each of its runs."""
    start = time.perf_counter()
    subprocess.run([python, "-c", f"import {module}"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def apart(ours: list[float], theirs: list[float]) -> float:
    """Return the largest relative difference."""
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(ours, theirs, strict=True))


def against_loop(celeba: Path, scratch: Path, size: int, count: int, repeats: int, share: float) -> None:
    pictures = link_pictures(celeba, scratch / "pictures", count)
    shared = pictures if share == 1 else link_pictures(celeba, scratch / "share", round(count * share))
    script = Path(__file__).with_name("plain_loop.py")
    ratios = []
    for repeat in range(repeats):
        ours, means = timed_facebench(run_arguments("jpeg", pictures, scratch / "out", size), scratch)
        loop, loop_means = timed_peer(sys.executable, script, shared, str(size))
        loop *= count / round(count * share)
        ratios.append(loop / ours.seconds)
        print(f"repeat {repeat + 1}: plain loop {loop:.1f} s, facebench {ours.seconds:.1f} s", flush=True)
    if shared is not pictures:
        _, means = timed_facebench(run_arguments("jpeg", shared, scratch / "out", size), scratch)
    print(f"largest relative difference between their means: {apart(means, loop_means):.1e}")
    verdict(f"{size} px: plain loop / facebench", median(ratios), at_least=8)


def against_bench(celeba: Path, scratch: Path, size: int, count: int, repeats: int, python: str) -> None:
    plain, masked = scratch / "png", scratch / "png-with-masks"
    write_pngs(celeba, size, plain, masked, count)
    cores = str(os.cpu_count() or 1)
    work = ["jpeg", plain, "--num-jobs", cores, "--qps", "85", "--metrics"]
    # What it can compute by itself: its MS-SSIM takes 161 pixels and more.
    itself = ["psnr-rgb"] if size <= 160 else ["psnr-rgb", "ms-ssim-rgb"]
    alike = ["ssim-rgb", "ms-ssim-rgb", "l1-rgb", "l2-rgb", "psnr-rgb"]
    arguments = run_arguments("jpeg", masked, scratch / "out", size, "full")
    script = Path(__file__).with_name("compressai_peer.py")
    few, same = [], []
    start = started("compressai.utils.bench.codecs", python)
    for repeat in range(repeats):
        ours, means = timed_facebench(arguments, scratch)
        as_is, _ = timed_peer(python, "-m", "compressai.utils.bench", *work, *itself)
        with_metrics, told = timed_peer(python, script, "bench", *work, *alike)
        few.append(as_is / ours.seconds)
        same.append(with_metrics / ours.seconds)
        print(
            f"repeat {repeat + 1}: bench with {' and '.join(itself)} only {as_is:.1f} s, with facebench's metrics "
            f"{with_metrics:.1f} s ({start:.1f} s of each: its imports), facebench {ours.seconds:.1f} s",
            flush=True,
        )
    theirs = [told["results"][name][0] for name in alike]
    theirs[:2] = [1 - theirs[0], 1 - theirs[1]]
    print(f"largest relative difference between their means: {apart(means[1::2], theirs):.1e}")
    verdict(f"{size} px: CompressAI's bench with the same metrics / facebench", median(same), at_least=4)
    print(f"{size} px: CompressAI's bench with {' and '.join(itself)} only / facebench with all: {median(few):.3g}")


def against_eval_model(celeba: Path, scratch: Path, size: int, count: int, repeats: int, python: str) -> None:
    plain, masked = scratch / "png", scratch / "png-with-masks"
    write_pngs(celeba, size, plain, masked, count)
    script = Path(__file__).with_name("compressai_peer.py")
    model = scratch / "model.pth.tar"
    subprocess.run([python, script, "checkpoint", MODEL, model], check=True, stderr=subprocess.DEVNULL)
    codec = f"compressai:model={MODEL}:checkpoint={model}"
    arguments = run_arguments(codec, masked, scratch / "out", size, "full")
    ratios = []
    start = started("compressai.utils.eval_model.__main__", python)
    for repeat in range(repeats):
        ours, means = timed_facebench(arguments, scratch, python)
        theirs, told = timed_peer(
            python, script, "eval_model", "checkpoint", plain, "--architecture", MODEL, "--path", model
        )
        ratios.append(theirs / ours.seconds)
        print(
            f"repeat {repeat + 1}: eval_model {theirs:.1f} s ({start:.1f} s of it: its imports), facebench "
            f"{ours.seconds:.1f} s",
            flush=True,
        )
    results = told["results"]
    ours_told = [means[COLUMNS.index(column) * 2 + 1] for column in ("PSNR", "1-MS-SSIM")] + [means[0]]
    theirs_told = [results["psnr-rgb"][0], 1 - results["ms-ssim-rgb"][0], results["bpp"][0] * size * size / 8]
    print(f"largest relative difference between PSNR, 1-MS-SSIM and bytes: {apart(ours_told, theirs_told):.1e}")
    print(f"{size} px, {count} pictures: CompressAI's eval_model of {MODEL} / facebench: {median(ratios):.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--size", type=int, choices=sorted(PICTURES), default=64)
    parser.add_argument("--compressai", metavar="PYTHON", help="interpreter of an environment with CompressAI")
    parser.add_argument("--pictures", type=int, help="how many; default: 20,000 at 64, 10,000 at 128, 1,024 at 512")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loop-share", type=float, default=0.15)
    parser.add_argument("--only", choices=["loop", "bench", "eval_model"], help="one comparison only")
    options = parser.parse_args()
    celeba, size, repeats, python = options.celeba, options.size, options.repeats, options.compressai
    count = options.pictures or PICTURES[size]
    coded = options.pictures or MODEL_PICTURES[size]
    comparisons: dict[str, Callable[[Path], None]] = {
        "loop": lambda scratch: against_loop(celeba, scratch, size, count, repeats, options.loop_share)
    }
    if python:
        comparisons["bench"] = lambda scratch: against_bench(celeba, scratch, size, count, repeats, python)
        comparisons["eval_model"] = lambda scratch: against_eval_model(celeba, scratch, size, coded, repeats, python)
    if options.only and options.only not in comparisons:
        parser.error(f"--only {options.only} needs --compressai PYTHON")
    for name in [options.only] if options.only else comparisons:
        with tempfile.TemporaryDirectory() as scratch:
            comparisons[name](Path(scratch))


if __name__ == "__main__":
    main()
