"""The file with the measured costs, and the measuring of all of them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask

from cluster.client_costs import client_costs, look_seconds, message_bytes, report_costs
from cluster.client_runs import own_cache, prepared
from cluster.dask_costs import dask_costs, messages_per_task
from cluster.ffhq import PICTURES, SIZE, write_pictures
from cluster.worker_costs import picture_costs, worker_costs
from facebench.provenance import machine

COSTS = Path(__file__).with_name("costs.json")


def read_costs() -> dict[str, Any]:
    """Return the measured costs by the name of their part."""
    costs: dict[str, Any] = json.loads(COSTS.read_text())
    return costs


def described_machine() -> dict[str, Any]:
    """Return this machine, its load and its libraries."""
    load = [round(value, 1) for value in os.getloadavg()]
    return {**machine({f"dask {dask.__version__}"}), "load": load}


def measure(celeba: Path, count: int, only: Sequence[str]) -> None:
    """Measure all costs, or some, here, and put them into the file."""
    with own_cache(), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        write_pictures(celeba, folder, count)
        images = prepared(folder, SIZE)
        parts: dict[str, Callable[[], Any]] = {
            "message_bytes": lambda: message_bytes(images),
            "client": lambda: client_costs(images, PICTURES),
            "report": lambda: report_costs(images),
            "look": lambda: {"seconds_per_task_in_flight": look_seconds()},
            "dask": lambda: [dask_costs(images, workers, 24_000) for workers in (2, 32, 128)],
            "messages": lambda: messages_per_task(images),
            "worker": lambda: worker_costs(folder, images),
            "picture": lambda: picture_costs(images),
        }
        for name in only or parts:
            found = parts[name]()
            print(name, json.dumps(found), file=sys.stderr, flush=True)
            costs = read_costs() if COSTS.exists() else {}
            costs |= {name: found, "machine": described_machine()}
            COSTS.write_text(json.dumps(costs, indent=1) + "\n")
