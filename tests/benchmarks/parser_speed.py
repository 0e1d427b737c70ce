"""Times the face parser: python tests/benchmarks/parser_speed.py CELEBA [REPEATS].

Pictures a second at 64x64 on all cores, as a run masks them: in one process, torch with a thread per core; and in one
process per core of one thread, as workers of a cluster have them. Medians over repeats.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

from verdict import verdict

PICTURES = 1024
WANTED = 400
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def rate(path: str) -> float:
    """Return the pictures a second of this process, loaded and warm."""
    import numpy as np

    from facebench.data.choose import DataOptions, choose_source, prepare_chosen
    from facebench.masks.parser.masker import face_masks
    from facebench.plugins import load_registry

    registry = load_registry("")
    options = DataOptions(path, "valid", mask="none", limit=PICTURES)
    pictures = np.array(prepare_chosen(choose_source(options, registry), options, registry).images)
    face_masks(pictures[:64])
    start = time.perf_counter()
    face_masks(pictures)
    return len(pictures) / (time.perf_counter() - start)


def rates(path: str, processes: int, threads: int, repeats: int) -> list[float]:
    """Return the pictures a second of so many processes together, once for each repeat."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))  # read when their libraries are loaded
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return [sum(pool.map(rate, [path] * processes)) for _ in range(repeats)]


def main() -> None:
    path, repeats = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    verdict(f"pictures/s, a process of {cores} threads", median(rates(path, 1, cores, repeats)), at_least=WANTED)
    print(f"pictures/s, {cores} processes of one thread: {median(rates(path, cores, 1, repeats)):.0f}", flush=True)


if __name__ == "__main__":
    main()
