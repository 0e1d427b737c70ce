"""Published curves in a table next to a run's own, at equal bits per pixel; nothing is ranked across data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import value_at
from facebench.analysis.summary import summarise
from facebench.errors import ResultsError
from facebench.exchange.compressai import PublishedCurve
from facebench.exchange.documents import without_budget_points
from facebench.plugins import unknown
from facebench.report.text import markdown_table, number

if TYPE_CHECKING:
    from facebench.store import Run

#: Bits per pixel of the columns: 32 to 1,024 bytes of a 64x64 picture.
BPP = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
_NOMINAL_SIDE = 64  # bits per pixel are the same at any


def beside_markdown(published: Sequence[PublishedCurve], run: Run | None = None, metric: str | None = None) -> str:
    """Return a table per metric, or of ``metric`` only, of the published curves below those of ``run``.

    Values are read off each curve, never outside it. Raises ResultsError if no published curve has ``metric``.
    """
    offered = list(dict.fromkeys(name for curve in published for name in curve.metrics))
    if metric is not None and metric not in offered:
        raise ResultsError(unknown("metric of these files", metric, offered))
    paragraphs = []
    for name in [metric] if metric else offered:
        ours, data = _own_curves(run, name)
        rows = [[curve.name, data, *_cells(curve, run, name)] for curve in ours]
        for theirs in published:
            curve = theirs.curve(name, _side(run))
            if curve is not None:
                rows.append([theirs.name, f"{theirs.dataset}; not ranked", *_cells(curve, run, name)])
        paragraphs += [f"## {name} at equal bits per pixel", markdown_table(_headers(run), rows, left=(0, 1))]
    paragraphs.append(
        "Published curves are means over other pictures, under their authors' definitions: pictures of another kind "
        "and size need other numbers of bits per pixel, so their rows stand here for orientation and are not ranked. "
        "MS-SSIM hangs on its number of scales, which small pictures do not leave room for ('facebench metrics'). "
        "Interpolated linearly in log bits within a curve, never outside it."
    )
    return "\n\n".join(paragraphs) + "\n"


def _own_curves(run: Run | None, metric: str) -> tuple[list[Curve], str]:
    """Return the run's curves that have points in ``metric``, and the data that they were measured on."""
    if run is None:
        return [], ""
    kept, _ = without_budget_points(run)
    summary = summarise(kept, resamples=0)
    curves = summary.curves(metric).values() if metric in summary.metrics else ()
    data = run.manifest["image_set"]
    side = data["preprocessing"]["size"]
    kind = ", synthetic" if data.get("synthetic") else ""
    return [curve for curve in curves if curve.points], f"{data['name']} {data['split']}, {side}x{side}{kind}"


def _side(run: Run | None) -> int:
    return _NOMINAL_SIDE if run is None else int(run.manifest["image_set"]["preprocessing"]["size"])


def _headers(run: Run | None) -> list[str]:
    columns = [f"{bpp:g} bpp" if run is None else f"{bpp:g} bpp, {bpp * _side(run) ** 2 / 8:,.0f} B" for bpp in BPP]
    return ["curve", "measured on", *columns]


def _cells(curve: Curve, run: Run | None, metric: str) -> list[str]:
    unit = "dB" if metric == "PSNR" else ""
    return [number(value_at(curve, bpp * _side(run) ** 2 / 8).value, unit) for bpp in BPP]
