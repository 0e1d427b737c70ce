"""Times ``facebench run --codecs jpeg`` against the plain loop, side by side, and measures its private memory.

Usage: python tests/benchmarks/whole_run.py CELEBA [--pictures 20000] [--repeats 3]

The test split is repeated to the number of pictures (hard links). Both read the same files with cold caches of
their own, prepare them alike, and score the same things, with and without masks; the means are compared. The
loop is timed on an even sample of the pictures, ``--loop-share`` of them, and scaled up: it is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from statistics import median

COLUMNS = ("1-SSIM", "1-MS-SSIM", "L1", "L2", "PSNR")


def link_pictures(celeba: Path, folder: Path, count: int) -> None:
    """Fill ``folder`` with ``count`` pictures and masks of the test split, repeated in turn."""
    from facebench.data.celeba import facebench_split

    numbers = [entry.number for entry in facebench_split() if entry.part == "test"]
    (folder / "face_masks").mkdir(parents=True)
    for archive, member, ending, target in (
        ("img_align_celeba.zip", "img_align_celeba", ".jpg", folder),
        ("face_masks.zip", "face_masks", ".png", folder / "face_masks"),
    ):
        with zipfile.ZipFile(celeba / archive) as opened:
            for index, number in enumerate(numbers[:count]):
                (target / f"{index:06}{ending}").write_bytes(opened.read(f"{member}/{number}{ending}"))
        for index in range(len(numbers), count):
            os.link(target / f"{index % len(numbers):06}{ending}", target / f"{index:06}{ending}")


class PrivateMemory:
    """Watches the private memory (resident and unshared) of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self.peak = max(self.peak, sum(_private(pid) for pid in _descendants(self._pid)))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self.peak


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(found for child in children for found in _descendants(int(child)))]


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))


def timed_facebench(pictures: Path, scratch: Path) -> tuple[float, int, list[float]]:
    """Return the seconds, peak private bytes and means of a whole run with cold caches."""
    shutil.rmtree(scratch, ignore_errors=True)
    arguments = [
        "run",
        "--codecs",
        "jpeg",
        "--no-baseline",
        "--quiet",
        "--format",
        "json",
        "--out",
        str(scratch / "out"),
    ]
    arguments += ["--data", f"folder:{pictures}", "--crop", "centre-148"]
    environment = {**os.environ, "FACEBENCH_CACHE": str(scratch / "cache"), "FACEBENCH_PLUGINS": ""}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "facebench", *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    memory = PrivateMemory(process.pid)
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit("facebench run failed")
    rows = {row["mask"]: row for row in json.loads(output)["rows"]}
    means = [rows["none"]["bytes"]]
    means += [rows[mask][column] for column in COLUMNS for mask in ("none", "face")]
    return seconds, memory.stop(), means


def timed_loop(pictures: Path) -> tuple[float, list[float]]:
    start = time.perf_counter()
    script = Path(__file__).with_name("plain_loop.py")
    output = subprocess.run([sys.executable, script, pictures], capture_output=True, text=True, check=True).stdout
    return time.perf_counter() - start, json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loop-share", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        link_pictures(options.celeba, scratch / "all", options.pictures)
        link_pictures(options.celeba, scratch / "tenth", options.pictures // 10)
        loop_pictures = scratch / "all"
        if options.loop_share < 1:
            loop_pictures = scratch / "share"
            link_pictures(options.celeba, loop_pictures, round(options.pictures * options.loop_share))
        ratios = []
        for repeat in range(options.repeats):
            ours, peak, means = timed_facebench(scratch / "all", scratch / "run")
            loop, loop_means = timed_loop(loop_pictures)
            loop /= options.loop_share
            ratios.append(loop / ours)
            print(
                f"repeat {repeat + 1}: plain loop {loop:.1f} s, facebench {ours:.1f} s, ratio {loop / ours:.2f}",
                flush=True,
            )
        if options.loop_share == 1:
            apart = max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(means, loop_means, strict=True))
            print(f"largest relative difference between their means: {apart:.2e}")
        _, small, _ = timed_facebench(scratch / "tenth", scratch / "run")
        print(f"ratio, median of {options.repeats}: {median(ratios):.2f}")
        print(
            f"peak private memory: {peak / 1e6:.0f} MB; of a tenth of the pictures: {small / 1e6:.0f} MB "
            f"({peak / small - 1:+.1%})"
        )


if __name__ == "__main__":
    main()
