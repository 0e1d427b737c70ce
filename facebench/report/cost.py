"""What codecs cost beside bytes: time, memory, arithmetic, and the weights that a decoder needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facebench.analysis.break_even import RealCost, Rival, real_costs
from facebench.analysis.summary import Summary
from facebench.report.text import NONE, Footnotes, byte_count, counted, markdown_table, number, weights_size

if TYPE_CHECKING:
    from facebench.store import Run

#: Pictures that share the weights, in the table of real costs.
SHARED_BY = (1_000, 100_000, 1_000_000)


def cost_section(summary: Summary, run: Run) -> list[str]:
    """Return the table of what ``facebench cost`` measured for the run's points, with heading, as paragraphs.

    Empty if nothing was measured, or only points that the run has not.
    """
    measured: Mapping[str, Any] = (run.cost or {}).get("points", {})
    rows = {name: measured[name] for name in summary.points if name in measured}
    if run.cost is None or not rows:
        return []
    return ["## Cost", cost_table(rows), *cost_notes(run.cost)]


def cost_table(points: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the measured ``points``, entries of cost.json by label; a failed one says why."""
    cells = []
    for name, about in points.items():
        if about.get("problem"):
            cells.append([name, f"failed: {about['problem']}", *[""] * 7])
            continue
        times = [
            milliseconds(about.get(key)) for key in ("encode_ms", "decode_ms", "encode_batch_ms", "decode_batch_ms")
        ]
        memory, weights = about.get("peak_memory_bytes"), about.get("weights_bytes")
        macs = [_macs(about.get(key)) for key in ("encode_macs", "decode_macs")]
        cells.append([name, *times, f"{memory / 1e6:,.0f} MB" if memory else "n/a", weights_size(weights or 0), *macs])
    headers = ["codec", "encode ms", "decode ms", "encode ms, batch", "decode ms, batch", "memory", "decoder weights"]
    return markdown_table([*headers, "encode MACs", "decode MACs"], cells)


def cost_notes(cost: Mapping[str, Any]) -> list[str]:
    """Return what the figures of cost.json mean, and where they were measured, as paragraphs."""
    machine, data = cost.get("machine") or {}, cost.get("image_set") or {}
    return [
        str(cost.get("definition", "")),
        f"Measured on {machine.get('cpu')} ({counted(machine.get('cores') or 0, 'core')}, {machine.get('os')}, Python "
        f"{machine.get('python')}), device {cost.get('device')}, {cost.get('threads')} thread per process, on pictures "
        f"of {data.get('name')}, {data.get('description')}; facebench {cost.get('facebench')}, {cost.get('created')}.",
    ]


def milliseconds(timing: Mapping[str, Any] | None) -> str:
    """Return the median of a timing in cost.json, in three significant digits."""
    if not timing:
        return NONE
    value = float(timing["median"])
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _macs(count: float | None) -> str:
    if not count:
        return "n/a"
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"


def break_even_section(summary: Summary) -> list[str]:
    """Return the table of what a picture really costs on each learned curve, with heading, as paragraphs.

    Empty if the run has no such curve.
    """
    costs = real_costs(summary)
    if not costs:
        return []
    notes = Footnotes()
    codecs = list(dict.fromkeys(codec for cost in costs for codec, rival in cost.rivals.items() if rival.bytes.value))
    unit = str(summary.metrics[summary.ranked_by].get("unit") or "")
    rows = [
        [
            cost.curve,
            number(cost.quality, unit),
            byte_count(cost.payload),
            weights_size(cost.weights),
            *(_even(cost, cost.rivals[codec], notes) for codec in codecs),
            *(byte_count(cost.at(pictures)) for pictures in SHARED_BY),
        ]
        for cost in costs
    ]
    headers = ["curve", summary.ranked_by, "payload", "decoder weights", *(f"even with {codec}" for codec in codecs)]
    headers += [f"bytes each of {pictures:,}" for pictures in SHARED_BY]
    paragraphs = ["## What a picture really costs", markdown_table(headers, rows)]
    if footnotes := notes.lines():
        paragraphs.append("  \n".join(footnotes))
    paragraphs.append(
        "Weights are sent once: each of N pictures costs payload + weights / N bytes. Each curve stands at the quality "
        f"of its middle operating point. Even with: the N from which it costs less than that codec at the same mean "
        f"{summary.ranked_by}, whose bytes (in brackets) are read off the best of its curves, linearly in log bytes, "
        "never outside. Learned is what has more weights than an uncompressed picture has bytes."
    )
    return paragraphs


def _even(cost: RealCost, rival: Rival, notes: Footnotes) -> str:
    if rival.bytes.value is None:
        return NONE + notes.mark(rival.bytes.reason)
    if rival.pictures is None or math.isinf(rival.pictures):
        return f"never ({byte_count(rival.bytes.value)} B)"
    return f"{math.ceil(rival.pictures):,} ({byte_count(rival.bytes.value)} B)"
