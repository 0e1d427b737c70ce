"""Rate-distortion curves as a picture: bytes per picture (log) against a metric, with 95 % bands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import percentile_interval
from facebench.analysis.comparison import curve_names
from facebench.analysis.curves import Curve
from facebench.analysis.equal_bytes import BUDGETS
from facebench.analysis.ranking import RankingAt, codec_order, ranking_at
from facebench.analysis.summary import FACE, WHOLE, Summary, summarise
from facebench.errors import FacebenchError, ResultsError
from facebench.plugins import unknown
from facebench.report.equal_bytes import WHERE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from facebench.store import Run

#: A codec's colour: those of Okabe & Ito (2008), told apart by colour-blind readers, then darker ones of Tol (2021).
#: Yellow is left out, too faint on white, and black and grey, which are the baseline's and published curves'.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933", "#332288"),
    *("#44AA99", "#8C4A1F", "#117733", "#AA4499", "#661100", "#CC6677", "#6E7F0E", "#4A90A4", "#B8860B"),
)
#: Repeat with another period than the colours: colour and marker together are a codec's own.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_BASELINE = "#000000"
_PUBLISHED = "#808080"
#: So many lines of a legend fit beside the axes.
_LEGEND_LINES = 34

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Line:
    """A curve as it is drawn. ``low`` and ``high`` bound its band at its points; empty without intervals.

    ``strong``: the codec's best curve; its others are thin. ``learned`` curves have filled markers. Of a ``lossless``
    curve only the bytes tell something.
    """

    curve: Curve
    label: str
    colour: str
    marker: str
    strong: bool = True
    learned: bool = False
    lossless: bool = False
    published: bool = False
    low: Floats | None = None
    high: Floats | None = None


def rate_distortion_svg(
    run: Run,
    metric: str,
    path: Path,
    *,
    mask: str = WHOLE,
    only: Sequence[str] = (),
    beside: Sequence[Curve] = (),
) -> tuple[Path, Path]:
    """Draw the rate-distortion curves of ``run`` in ``metric``; return the SVG and the PNG written.

    Each codec has a colour; the one of its curves that is best at most of the sizes of the equal-bytes tables is
    drawn strongly, its others thin. ``only`` names the curves to draw, by default all; ``beside`` are curves that were
    measured elsewhere, in bytes of a picture of the run's size. ``path`` names the SVG; the PNG stands
    beside it. The same run always gives the same SVG. ``mask`` is "none" (whole pictures) or "face". Raises
    FacebenchError without matplotlib, ResultsError if the run lacks the metric, the masks or a curve, or has none.
    """
    summary = summarise(run)
    if metric not in summary.metrics:
        raise ResultsError(f"run '{run.name}': {unknown('metric', metric, summary.metrics)}")
    lines = _lines(summary, run, metric, mask, only)
    lines += [
        _Line(curve, curve.name, _PUBLISHED, _MARKERS[n % len(_MARKERS)], published=True)
        for n, curve in enumerate(beside)
    ]
    svg = path.with_suffix(".svg")
    with saved_figure(svg, (11, 6.2), font_size=10) as figure:
        axes = figure.subplots()
        for line in reversed(lines):  # the first are drawn last, over the others
            _draw(axes, line)
        _label(axes, summary, metric, mask, run.manifest["image_set"])
        _add_legend(figure, axes)
    return svg, svg.with_suffix(".png")


def matplotlib_figure() -> type[Figure]:
    """Return matplotlib's class of figures; raises FacebenchError without it."""
    try:
        import matplotlib  # noqa: F401
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FacebenchError("plots need matplotlib: pip install 'facebench[plot]'") from error
    return Figure


@contextmanager
def saved_figure(svg: Path, size: tuple[float, float], *, font_size: int = 8) -> Iterator[Figure]:
    """Yield an empty figure of ``size`` in inches that is then written to ``svg`` and, as PNG, beside it.

    The same drawing always gives the same SVG. Raises FacebenchError without matplotlib.
    """
    make = matplotlib_figure()
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "facebench", "svg.fonttype": "path", "font.size": font_size}):
        figure = make(figsize=size, layout="constrained")
        yield figure
        svg.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(svg.with_suffix(".png"), dpi=150, metadata={"Software": None})


def _lines(summary: Summary, run: Run, metric: str, mask: str, only: Sequence[str]) -> list[_Line]:
    """Return the curves in the order of the legend: codec by codec, the best first, each followed by its others."""
    if mask == FACE and not summary.has_masks:
        raise ResultsError(f"run '{run.name}' has no face masks: no curve to draw")
    curve_names(run)  # refuses a run without any
    every = summary.curves(metric, mask)
    for name in only:
        if name not in every:
            raise ResultsError(f"run '{run.name}': {unknown('curve', name, every)}")
    curves = {name: curve for name, curve in every.items() if curve.points and (not only or name in only)}
    if not curves:
        raise ResultsError(f"run '{run.name}' has no point without failed pictures: no curve to draw")
    rankings = [ranking_at(summary, metric, mask, size, only=curves) for size in BUDGETS]
    ranked = codec_order(rankings)
    codecs = [*ranked, *sorted({curve.codec for curve in curves.values()} - set(ranked))]
    # By the run's order, whatever is drawn: a codec's colour is the same in every metric and choice of curves.
    others = [codec for codec in dict.fromkeys(c.codec for c in every.values()) if codec != _baseline(summary, every)]
    lines = []
    for codec in codecs:
        place = others.index(codec) if codec in others else 0
        colour = _COLOURS[place % len(_COLOURS)] if codec in others else _BASELINE
        for rank, curve in enumerate(_best_first([c for c in curves.values() if c.codec == codec], rankings)):
            low, high = _band(summary, curve, metric, mask)
            lines.append(
                _Line(
                    curve,
                    _name(curve, summary) if rank == 0 else f"    {curve.name.removeprefix(codec + ':')}",
                    colour,
                    _MARKERS[(place + rank) % len(_MARKERS)],
                    strong=rank == 0,
                    learned=_is_learned(summary, codec, run.manifest),
                    lossless=all(run.manifest["points"][p.label].get("lossless") for p in curve.points),
                    low=low,
                    high=high,
                )
            )
    return lines


def _baseline(summary: Summary, curves: Mapping[str, Curve]) -> str:
    """Return the codec of the baseline's curve, or ''."""
    baseline = curves.get(summary.baseline_curve or "")
    return baseline.codec if baseline else ""


def _name(curve: Curve, summary: Summary) -> str:
    return f"{curve.name} (baseline)" if curve.name == summary.baseline_curve else curve.name


def _best_first(curves: Sequence[Curve], rankings: Sequence[RankingAt]) -> list[Curve]:
    """Return a codec's ``curves``, that which is best of them at the most sizes first; else the order is kept."""
    names = [place.curve.name for ranking in rankings for place in ranking.codecs.values()]
    return sorted(curves, key=lambda curve: -names.count(curve.name))


def _is_learned(summary: Summary, codec: str, manifest: Mapping[str, Any]) -> bool:
    """Return whether a codec's decoder needs weights larger than a raw picture: more than a table of constants."""
    side = int(manifest["image_set"]["preprocessing"]["size"])
    return any(row.weights_bytes > 3 * side**2 for row in summary.rows if row.codec == codec)


def _band(summary: Summary, curve: Curve, metric: str, mask: str) -> tuple[Floats | None, Floats | None]:
    """Return the 95 % interval of the value at the bytes of each of the points, (points,) each, or None without."""
    if not summary.resampled:
        return None, None
    resampled = summary.resampled_curve(curve, metric, mask)
    return percentile_interval(np.stack([resampled.at(point.bytes) for point in curve.points], axis=1))


def _draw(axes: Axes, line: _Line) -> None:
    sizes, values = [p.bytes for p in line.curve.points], [p.value for p in line.curve.points]
    if line.lossless:
        axes.axvline(sizes[0], color=line.colour, linestyle=":", linewidth=1.5, label=f"{line.label} (lossless)")
        return
    if line.low is not None and line.high is not None:
        if len(sizes) == 1:
            axes.vlines(sizes, line.low, line.high, color=line.colour, alpha=0.5, linewidth=1.5)
        axes.fill_between(
            sizes, line.low, line.high, color=line.colour, alpha=0.25 if line.strong else 0.15, linewidth=0
        )
    dashed = line.published or not line.strong
    axes.plot(
        sizes,
        values,
        color=line.colour,
        linestyle=(0, (4, 2)) if dashed else "-",
        linewidth=1.8 if line.strong and not line.published else 0.9,
        marker=line.marker if line.strong or len(sizes) == 1 else "",
        markersize=5.5 if line.strong else 4,
        markerfacecolor=line.colour if line.learned else "white",
        label=line.label,
    )


def _label(axes: Axes, summary: Summary, metric: str, mask: str, data: Mapping[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bytes per picture (mean, log scale)")
    better = "higher" if summary.higher_is_better(metric) else "lower"
    unit = str(summary.metrics[metric].get("unit") or "")
    axes.set_ylabel(f"{metric}{f' ({unit})' if unit else ''}, {WHERE[mask]} ({better} is better)")
    kind = "SYNTHETIC faces" if data.get("synthetic") else "faces"
    axes.set_title(f"{data['name']} {data['split']}, {data['pictures']:,} {kind}, {data['description']}", fontsize=11)
    axes.grid(True, which="major", linewidth=0.5, color="#dddddd")
    axes.grid(True, which="minor", linewidth=0.3, color="#eeeeee")
    axes.set_axisbelow(True)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Add the legend outside, where it hides no point, what was drawn last first."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        fontsize=8,
        loc="outside right upper",
        ncols=1 + len(labels) // (_LEGEND_LINES + 1),
        title="each codec's best curve; thin: its others\nfilled: learned; band: 95 % interval",
        title_fontsize=8,
        alignment="left",
        frameon=False,
    )
