"""``facebench plot``: a run's rate-distortion curves as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", default="1-SSIM", show_default=True)
@click.option("--face", is_flag=True, help="Score over face pixels only.")
@click.option("--curves", metavar="A,B", help="Draw these only: facet,jpeg:headerless=true.  [default: all]")
@click.option(
    "--beside",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Published curves too: CompressAI results JSON or a folder of them; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), help="SVG file.  [default: RUN/rate-distortion.svg]")
def plot_command(
    run: Path, metric: str, face: bool, curves: str | None, beside: tuple[Path, ...], out: Path | None
) -> None:
    """Draw a run's rate-distortion curves (needs the extra: pip install "facebench[plot]").

    Curves stand by their names in the leaderboard's tables at equal bytes. Those of --beside were measured on
    other pictures: they are drawn in grey, at the bytes that their bits per pixel make of a picture of the run's size.
    """
    from facebench.errors import ResultsError
    from facebench.exchange.compressai import read_results
    from facebench.report.plot import rate_distortion_svg
    from facebench.store import read_run

    measured = read_run(run)
    side = measured.manifest["image_set"]["preprocessing"]["size"]
    published = []
    for theirs in (curve for file in beside for curve in read_results(file)):
        drawn = theirs.curve(metric, side)
        if drawn is None:
            raise ResultsError(f"{theirs.source} has no {metric}; it has: {', '.join(theirs.metrics)}")
        published.append(drawn)
    files = rate_distortion_svg(
        measured,
        metric,
        out or run / "rate-distortion.svg",
        mask="face" if face else "none",
        only=[name.strip() for name in curves.split(",")] if curves else (),
        beside=published,
    )
    click.echo("\n".join(str(file) for file in files))
