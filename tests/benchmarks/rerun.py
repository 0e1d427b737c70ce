"""Times a finished run done again: python tests/benchmarks/rerun.py CELEBA [--pictures 20000] [--repeats 5].

Against three times what nobody can do without: ``facebench --version`` and reading the records with pandas.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from command import facebench, run_arguments
from picture_folders import link_pictures
from verdict import verdict


def read_records(run: Path) -> float:
    code = "import sys, pandas; pandas.read_parquet(sys.argv[1])"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, run / "records.parquet"], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--codecs", default="jpeg")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        pictures = link_pictures(options.celeba, scratch / "pictures", options.pictures)
        out, cache = scratch / "out", scratch / "cache"
        for form, what in (("md", "recognised"), ("json", "made again of kept shards")):
            arguments = run_arguments(options.codecs, pictures, out, form=form)
            facebench(*arguments, cache=cache)
            again, version, reading = [], [], []
            for _ in range(options.repeats):
                again.append(facebench(*arguments, cache=cache).seconds)
                version.append(facebench("--version", cache=cache).seconds)
                reading.append(read_records(out))
            print(
                f"{options.pictures:,} pictures, {what}, medians of {options.repeats}: again {median(again):.2f} s, "
                f"--version {median(version):.2f} s, reading the records {median(reading):.2f} s"
            )
            ratio = median(again) / (median(version) + median(reading))
            verdict("run again / (facebench --version + reading the records)", ratio, at_most=3)


if __name__ == "__main__":
    main()
