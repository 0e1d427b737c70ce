"""FFHQ on a Dask cluster, on paper: 70,000 pictures at 1024x1024, 20 codecs x 10 points, simulated.

Usage: python tests/benchmarks/cluster_simulation.py measure CELEBA     costs, into cluster/costs.json
       python tests/benchmarks/cluster_simulation.py validate CELEBA    real runs on 1 and 2 workers, and simulated
       python tests/benchmarks/cluster_simulation.py simulate [--storage 2e9] [--workers 50,100,500]

Costs are seconds of CPU, which a busy machine changes little. The client's and the scheduler's come from whole runs
of facebench whose codecs are replaced by a function that returns empty records at once, with and without Dask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

WORKERS = (50, 100, 200, 500, 1000, 2000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    measuring = parts.add_parser("measure")
    measuring.add_argument("celeba", type=Path)
    measuring.add_argument("--pictures", type=int, default=4)
    measuring.add_argument("--only", action="append", default=[], help="a part, by its name in the file")
    parts.add_parser("validate").add_argument("celeba", type=Path)
    simulating = parts.add_parser("simulate")
    simulating.add_argument("--workers", default=",".join(map(str, WORKERS)))
    simulating.add_argument("--compare", type=int, default=500, help="workers with which other orders are simulated")
    simulating.add_argument("--storage", type=float, default=2e9, help="bytes/s of the storage, all readers together")
    simulating.add_argument("--network", type=float, default=1.25e9, help="bytes/s that one worker can read")
    simulating.add_argument("--memory", type=float, default=4e9, help="bytes of pictures that a worker's memory keeps")
    simulating.add_argument("--disk", type=float, default=50e9, help="bytes of pictures that a worker's disk keeps")
    simulating.add_argument("--slice", type=int, default=5, help="simulate one of so many parts of the pictures")
    options = parser.parse_args()
    if options.part == "measure":
        from cluster.costs import measure

        measure(options.celeba, options.pictures, options.only)
    elif options.part == "validate":
        from cluster.costs import read_costs
        from cluster.validation import validate

        validate(options.celeba, read_costs())
    else:
        from cluster.costs import read_costs
        from cluster.figures import simulate

        simulate(
            read_costs(),
            [int(count) for count in options.workers.split(",")],
            compare=options.compare,
            storage=options.storage,
            network=options.network,
            memory=options.memory,
            disk=options.disk,
            parts=options.slice,
        )


if __name__ == "__main__":
    main()
