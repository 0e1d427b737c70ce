"""Times encoding and decoding of operating points, in turn: python tests/benchmarks/codec_speed.py POINTS CELEBA.

POINTS as ``facebench run --codecs`` takes them. Batches: one process per core, of one thread, encodes and decodes
the same pictures; pictures a second over all processes. Single: one picture at a time in one process, milliseconds.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

REPEATS = 5
BATCH, SINGLES = 256, 40


def timed(points: str, path: str, index: int, batch: bool) -> float:
    """Return the seconds per picture of point ``index``, encode and decode together."""
    import numpy as np
    import torch

    from facebench.data.choose import DataOptions, choose_source, prepare_chosen
    from facebench.operating_point import make_codec, parse_points
    from facebench.plugins import load_registry

    torch.set_num_threads(1)
    registry = load_registry()
    point = parse_points(points, registry)[index]
    options = DataOptions(path, "valid")
    images = prepare_chosen(choose_source(options, registry), options, registry).images
    pictures = np.array(images[: BATCH if batch else SINGLES])
    codec = make_codec(registry.codec(point.codec), point, pictures.shape[1:3])
    codec.decode(codec.encode(pictures[0]))
    start = time.perf_counter()
    if batch:
        codec.decode_batch(codec.encode_batch(pictures))
    else:
        for picture in pictures:
            codec.decode(codec.encode(picture))
    return (time.perf_counter() - start) / len(pictures)


def main() -> None:
    points, path = sys.argv[1:]
    labels = points.split(",")
    cores = os.cpu_count() or 1
    rates: dict[str, list[float]] = {label: [] for label in labels}
    singles: dict[str, list[float]] = {label: [] for label in labels}
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        for _ in range(REPEATS):
            for index, label in enumerate(labels):
                times = pool.map(timed, [points] * cores, [path] * cores, [index] * cores, [True] * cores)
                rates[label].append(sum(1 / t for t in times))
                singles[label].append(1000 * pool.submit(timed, points, path, index, False).result())
    for label in labels:
        ratio = median(one / first for one, first in zip(rates[label], rates[labels[0]], strict=True))
        print(
            f"{label}: {median(rates[label]):.0f} pictures/s in batches on {cores} cores ({ratio:.2f}x {labels[0]}), "
            f"{median(singles[label]):.1f} ms a single one"
        )


if __name__ == "__main__":
    main()
