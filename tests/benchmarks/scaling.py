"""How the time of a whole run grows with pictures, operating points and cores: jpeg at 64x64, metrics and masks.

Usage: python tests/benchmarks/scaling.py CELEBA [--only pictures|points|cores] [--repeats 3]

Each run starts with no shard in its cache: "cold" prepares the pictures too, "prepared" finds them prepared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from command import copied_cache, facebench, prepared_cache, run_arguments
from picture_folders import link_pictures
from verdict import verdict

PICTURES = (5_000, 10_000, 20_000)
POINTS_PICTURES = 2_000
#: Operating points of about equal cost.
POINTS = tuple(f"jpeg:quality={qualities}" for qualities in ("82/83", "81/82/83/84", "79/80/81/82/83/84/85/86"))


def seconds(arguments: list[str], scratch: Path, prepared: Path | None = None, cores: Sequence[int] = ()) -> float:
    """Return the wall time of a run with no finished shards; with ``prepared``, a cache, its pictures are ready."""
    shutil.rmtree(scratch / "out", ignore_errors=True)
    shutil.rmtree(scratch / "cache", ignore_errors=True)
    cache = copied_cache(prepared, scratch) if prepared else scratch / "cache"
    return facebench(*arguments, cache=cache, cores=cores).seconds


def growth(what: str, amounts: Sequence[int], times: Sequence[float]) -> None:
    """Print a linear fit of ``times`` and how each further unit's cost compares with the first one's."""
    import numpy as np

    slope, start = np.polyfit(amounts, times, 1)
    fitted = start + slope * np.array(amounts)
    deviation = float(np.max(np.abs(np.array(times) - fitted) / fitted))
    steps = [(b - a) / (m - n) for (n, a), (m, b) in pairwise(zip(amounts, times, strict=True))]
    told = ", ".join(f"{amount:,}: {time:.1f} s" for amount, time in zip(amounts, times, strict=True))
    print(f"{what}: {told}; {start:.1f} s + {1000 * slope:.3g} ms each")
    verdict(f"{what}: largest deviation from a straight line", deviation, at_most=0.1)
    ratio = steps[-1] / steps[0] if steps[0] > 0 else float("nan")  # nan: the machine was too busy to tell
    verdict(f"{what}: cost of each of the last / of the first", ratio, at_most=1.1)


def pictures(celeba: Path, scratch: Path, repeats: int) -> None:
    folders = [link_pictures(celeba, scratch / str(count), count) for count in PICTURES]
    cold: list[list[float]] = [[] for _ in PICTURES]
    ready: list[list[float]] = [[] for _ in PICTURES]
    for _ in range(repeats):
        for index, folder in enumerate(folders):
            arguments = run_arguments("jpeg", folder, scratch / "out")
            cold[index].append(seconds(arguments, scratch))
            ready[index].append(seconds(arguments, scratch, prepared_cache(folder, scratch)))
    growth("pictures, cold", PICTURES, [median(times) for times in cold])
    growth("pictures, prepared", PICTURES, [median(times) for times in ready])


def points(celeba: Path, scratch: Path, repeats: int) -> None:
    folder = link_pictures(celeba, scratch / "pictures", POINTS_PICTURES)
    prepared = prepared_cache(folder, scratch)
    counts = [1 + codecs.count("/") for codecs in POINTS]
    times: list[list[float]] = [[] for _ in POINTS]
    for _ in range(repeats):
        for index, codecs in enumerate(POINTS):
            times[index].append(seconds(run_arguments(codecs, folder, scratch / "out"), scratch, prepared))
    growth(f"operating points, {POINTS_PICTURES:,} pictures each", counts, [median(of_one) for of_one in times])


def cores(celeba: Path, scratch: Path, repeats: int) -> None:
    folder = link_pictures(celeba, scratch / "pictures", PICTURES[-1])
    prepared = prepared_cache(folder, scratch)
    first, second = sorted(os.sched_getaffinity(0))[:2]
    for codecs in ("jpeg", "jpeg:quality=20/50/85"):
        arguments = run_arguments(codecs, folder, scratch / "out")
        for what, cache in (("cold", None), ("prepared", prepared)):
            one, two = [], []
            for _ in range(repeats):
                one.append(seconds([*arguments, "--jobs", "1"], scratch, cache, [first]))
                two.append(seconds([*arguments, "--jobs", "2"], scratch, cache, [first, second]))
            print(f"{codecs}, {PICTURES[-1]:,} pictures, {what}: one {median(one):.1f} s, two {median(two):.1f} s")
            verdict(f"{codecs}, {what}: one core's time / two cores'", median(one) / median(two), at_least=1.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parts = {part.__name__: part for part in (pictures, points, cores)}
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name in [options.only] if options.only else parts:
        with tempfile.TemporaryDirectory() as scratch:
            parts[name](options.celeba, Path(scratch), options.repeats)


if __name__ == "__main__":
    main()
