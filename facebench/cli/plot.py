"""``facebench plot``: a run's rate-distortion curves as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", default="1-SSIM", show_default=True)
@click.option("--face", is_flag=True, help="Score over face pixels only.")
@click.option("--out", type=click.Path(path_type=Path), help="SVG file.  [default: RUN/rate-distortion.svg]")
def plot_command(run: Path, metric: str, face: bool, out: Path | None) -> None:
    """Draw a run's rate-distortion curves (needs the extra: pip install "facebench[plot]")."""
    from facebench.report.plot import rate_distortion_svg
    from facebench.store import read_run

    files = rate_distortion_svg(
        read_run(run), metric, out or run / "rate-distortion.svg", mask="face" if face else "none"
    )
    click.echo("\n".join(str(file) for file in files))
