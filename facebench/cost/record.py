"""cost.json: the measured figures with where they come from."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from facebench import __version__
from facebench.cost.measure import definition
from facebench.data.imageset import ImageSet
from facebench.measure import CodecTask
from facebench.operating_point import curve_label
from facebench.plugins import Registry
from facebench.provenance import git_state, machine


def cost_record(
    entries: Mapping[str, Mapping[str, Any]],
    tasks: Mapping[str, CodecTask],
    images: ImageSet,
    registry: Registry,
    batch: int,
    device: str,
    command: str,
) -> dict[str, Any]:
    """Return the content of cost.json: measured ``entries`` by label, each with its codec, and what they mean."""
    origins = {name: registry.origins[f"codec {task.point.codec}"] for name, task in tasks.items()}
    return {
        "facebench": __version__,
        "command": command,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "git": git_state(),
        "machine": machine(set(origins.values())),
        "device": device,
        "threads": 1,
        "image_set": {
            "name": images.name,
            "split": images.split,
            "description": images.preprocessing.describe(),
            "digest": images.digest,
        },
        "definition": definition(batch),
        "points": {
            name: {
                "codec": tasks[name].point.codec,
                "curve": curve_label(tasks[name].spec, tasks[name].point),
                "version": tasks[name].spec.version,
                "origin": origins[name],
                **entry,
            }
            for name, entry in entries.items()
        },
    }
