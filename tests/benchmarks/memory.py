"""The peak of a run's private memory as pictures grow in number: python tests/benchmarks/memory.py CELEBA [--large].

``facebench run --codecs jpeg`` at 64x64 with metrics and masks, CelebA's test split repeated by hard links. Private
memory is resident and in no file, all processes of the run together. ``--large`` adds 200,000 pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from command import facebench, run_arguments
from picture_folders import link_pictures
from verdict import verdict

PICTURES = (1_000, 20_000)
LARGE = 200_000


def peak(celeba: Path, count: int) -> int:
    """Return the peak private bytes of a run of ``count`` pictures with cold caches."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        pictures = link_pictures(celeba, scratch / "pictures", count)
        arguments = run_arguments("jpeg", pictures, scratch / "out")
        finished = facebench(*arguments, cache=scratch / "cache", watch_memory=True)
    print(f"{count:,} pictures: {finished.private_bytes / 1e6:.0f} MB, {finished.seconds:.0f} s", flush=True)
    return finished.private_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--large", action="store_true", help=f"measure {LARGE:,} pictures too")
    options = parser.parse_args()
    counts = (*PICTURES, LARGE) if options.large else PICTURES
    peaks = [peak(options.celeba, count) for count in counts]
    for count, found in zip(counts[1:], peaks[1:], strict=True):
        each = (found - peaks[0]) / (count - counts[0])
        print(f"from {counts[0]:,} to {count:,} pictures: {each:.0f} bytes for each further picture")
        verdict(f"private memory, {count:,} pictures / {counts[0]:,}", found / peaks[0], at_most=1.25)


if __name__ == "__main__":
    main()
