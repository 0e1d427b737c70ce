"""What pictures cost a worker: codecs, metrics, and what is around them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from cluster.client_runs import plan_of, shards_of
from cluster.cpu_time import cpu
from cluster.ffhq import CODECS
from facebench.child import Isolation
from facebench.data.imageset import ImageSet
from facebench.data.rows import prepare_rows, rows_of
from facebench.grid import measure_shard
from facebench.measure import CodecTask, Pictures, decode_shard, encode_shard
from facebench.operating_point import label, parse_points
from facebench.plan import plan_metrics
from facebench.plugins import load_registry


def picture_costs(images: ImageSet) -> dict[str, Any]:
    """Return the CPU seconds per picture of each codec at three rates, and of the metrics, in a child process."""
    registry, isolation = load_registry(), Isolation()
    child = isolation.run(os.getpid)
    singles = [Pictures(images.images_file, None, index, index + 1) for index in range(len(images))]
    codecs: dict[str, dict[str, list[float]]] = {}
    for codec in CODECS.split(","):
        points = parse_points(codec, registry, sweep=True)
        for point in (points[0], points[len(points) // 2], points[-1]):
            task = CodecTask(registry.codecs[point.codec], point, images.size)
            spent = []
            for single in (singles[0], *singles):
                before = cpu(child)
                encoded = isolation.run(encode_shard, task, single)
                scored = isolation.run(decode_shard, task, encoded, single, ())
                spent.append(cpu(child) - before)
                if scored.statuses != ["ok"]:
                    raise SystemExit(f"{codec}: {scored.statuses} {scored.details}")
            codecs.setdefault(codec, {})[label(task.spec, point)] = [round(seconds, 5) for seconds in spent[1:]]
        print(codec, codecs[codec], file=sys.stderr, flush=True)
    task = CodecTask(registry.codecs["jpeg"], parse_points("jpeg", registry)[0], images.size)
    whole = Pictures(images.images_file, None, 0, len(images))
    encoded, spent = isolation.run(encode_shard, task, whole), []
    metrics = plan_metrics(registry)
    for chosen in (metrics, (), metrics, (), metrics):
        before = cpu(child)
        isolation.run(decode_shard, task, encoded, whole, chosen)
        spent.append(cpu(child) - before)
    seconds = (mean(spent[2::2]) - mean(spent[1::2])) / len(images)
    return {"codec_seconds": codecs, "metrics_seconds": round(seconds, 5)}


def worker_costs(folder: Path, images: ImageSet) -> dict[str, float]:
    """Return what a task costs a worker beside codecs and metrics, and a picture that it prepares itself."""
    plan = plan_of(images, "jpeg")
    shard, isolation = next(iter(shards_of(plan))), Isolation()
    child = isolation.run(os.getpid)
    measure_shard(isolation, shard, None, plan.metrics, False)
    calls = 200
    before, in_child = time.process_time(), cpu(child)
    for _ in range(calls):
        isolation.run(len, ())
    call, in_child = time.process_time() - before, cpu(child) - in_child
    before = time.process_time()
    for _ in range(5):
        measure_shard(isolation, shard, None, plan.metrics, False)
    parent = (time.process_time() - before) / 5
    assert images.recipe is not None
    before = time.process_time()
    prepare_rows(rows_of(images.recipe, images, 0, len(images)))
    return {
        "child_call_seconds": (call + in_child) / calls,
        "task_seconds_outside_the_child": parent,
        "prepare_seconds_per_picture": (time.process_time() - before) / len(images),
        "png_bytes_per_picture": mean(file.stat().st_size for file in folder.glob("*.png")),
    }
