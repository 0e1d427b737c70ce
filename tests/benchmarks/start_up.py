"""Times ``facebench --help`` against ``python -c "import click"``, in turn: python tests/benchmarks/start_up.py."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from verdict import verdict

REPEATS = 15


def seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    ours, click = [], []
    for _ in range(REPEATS):
        ours.append(seconds("-m", "facebench", "--help"))
        click.append(seconds("-c", "import click"))
    print(f"medians of {REPEATS}: facebench --help {median(ours):.3f} s, import click {median(click):.3f} s")
    verdict("facebench --help / import click", median(ours) / median(click), at_most=4)


if __name__ == "__main__":
    main()
