"""Kills worker processes of a long run at random moments, and compares its records with an undisturbed run's.

Usage: python tests/benchmarks/worker_kills.py CELEBA [--pictures 20000] [--seconds 6] [--engine local|dask]

CelebA's test split is repeated to the number of pictures. About every so many seconds one of the processes in which
codecs run (dask: of those in which Dask's tasks run) is killed with SIGKILL. All columns but the times must be equal,
byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

from picture_folders import CROP, link_pictures

sys.path.insert(0, str(Path(__file__).parents[1]))

from killing import Command, children, cluster, comparable, kill_after

POINTS = "jpeg:quality=20/85,png,eigenfaces:step=1,cvae:step=3,dcgan:step=3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--engine", choices=["local", "dask"], default="local")
    options = parser.parse_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as ending:
        scratch = Path(temporary)
        faces = link_pictures(options.celeba, scratch / "faces", options.pictures)
        arguments = ["--codecs", POINTS, "--no-baseline", "--jobs", "2", "--data", f"folder:{faces}", "--crop", CROP]
        undisturbed = Command(arguments, scratch / "undisturbed")
        undisturbed.finish(tries=1)
        if options.engine == "dask":
            parts = ending.enter_context(cluster(scratch))
            arguments += ["--engine", "dask", "--scheduler", parts.start()]
        disturbed = Command(arguments, scratch / "disturbed")
        process = disturbed.start()
        victims = parts.workers if options.engine == "dask" else lambda: children(process.pid)
        kills, began = 0, time.monotonic()
        while kill_after(chance.uniform(0, 2 * options.seconds), process, victims, chance):
            kills += 1
        seconds = time.monotonic() - began
        if process.wait():
            raise SystemExit(f"the disturbed run failed: {disturbed.errors.read_text()}")
        equal = comparable(disturbed.out) == comparable(undisturbed.out)
        print(
            f"{options.pictures:,} pictures x 6 operating points, {options.engine} engine, {kills} workers killed in "
            f"{seconds:.0f} s: completed, records {'equal' if equal else 'DIFFERENT FROM'} the undisturbed run's"
        )
        if not equal or not kills:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
