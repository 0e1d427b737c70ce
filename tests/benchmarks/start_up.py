"""Times ``facebench --help`` against ``python -c "import click"``, in turn: python tests/benchmarks/start_up.py."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

REPEATS = 15


def seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    ratios = [seconds("-m", "facebench", "--help") / seconds("-c", "import click") for _ in range(REPEATS)]
    print(f"facebench --help / import click: median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
