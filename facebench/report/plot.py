"""Rate-distortion curves as a picture: bytes per picture (log) against a metric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facebench.analysis.summary import FACE, WHOLE, summarise
from facebench.errors import FacebenchError, ResultsError
from facebench.plugins import unknown

if TYPE_CHECKING:
    from facebench.store import Run

#: Okabe & Ito's colours (2008), told apart by colour-blind readers; yellow is left out, too faint on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_BASELINE = "#000000"


def rate_distortion_svg(run: Run, metric: str, path: Path, *, mask: str = WHOLE) -> tuple[Path, Path]:
    """Draw the rate-distortion curves of ``run`` in ``metric``; return the SVG and the PNG written.

    ``path`` names the SVG; the PNG stands beside it. The same run always gives the same SVG. ``mask`` is
    "none" (whole pictures) or "face". Raises FacebenchError without matplotlib, ResultsError if the run
    lacks the metric, the masks or any curve.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    except ImportError as error:
        raise FacebenchError("plots need matplotlib: pip install 'facebench[plot]'") from error
    summary = summarise(run, resamples=0)
    if metric not in summary.metrics:
        raise ResultsError(f"run '{run.name}': {unknown('metric', metric, summary.metrics)}")
    curves = [curve for curve in summary.curves(metric, mask).values() if curve.points]
    if not curves:
        what = "no face masks" if mask == FACE and not summary.has_masks else "no point without failed pictures"
        raise ResultsError(f"run '{run.name}' has {what}: no curve to draw")
    with matplotlib.rc_context({"svg.hashsalt": "facebench", "svg.fonttype": "path", "font.size": 10}):
        figure = Figure(figsize=(10, 5), layout="constrained")
        axes = figure.subplots()
        others = 0
        for curve in curves:
            sizes, values = [p.bytes for p in curve.points], [p.value for p in curve.points]
            if curve.name == summary.baseline_curve:
                axes.plot(sizes, values, color=_BASELINE, linestyle="--", marker=".", label=f"{curve.name} (baseline)")
                continue
            colour, marker = _COLOURS[others % len(_COLOURS)], _MARKERS[others % len(_MARKERS)]
            # Colours and markers repeat with different periods, so that 42 curves stay distinct.
            axes.plot(sizes, values, color=colour, marker=marker, markersize=5, label=curve.name)
            others += 1
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("bytes per picture (mean, log scale)")
        better = "higher" if summary.higher_is_better(metric) else "lower"
        unit = str(summary.metrics[metric].get("unit") or "")
        where = "face pixels" if mask == FACE else "whole pictures"
        axes.set_ylabel(f"{metric}{f' ({unit})' if unit else ''}, {where} ({better} is better)")
        data = run.manifest["image_set"]
        kind = "SYNTHETIC faces" if data.get("synthetic") else "faces"
        axes.set_title(
            f"{data['name']} {data['split']}, {data['pictures']:,} {kind}, {data['description']}", fontsize=10
        )
        axes.grid(True, which="both", linewidth=0.4, color="#dddddd")
        figure.legend(fontsize=8, loc="outside right center")  # outside: it must hide no point
        svg, png = path.with_suffix(".svg"), path.with_suffix(".png")
        svg.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, dpi=150, metadata={"Software": None})
    return svg, png
