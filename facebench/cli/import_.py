"""``facebench import``: published curves in a table, next to a run's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--beside", type=click.Path(path_type=Path), metavar="RUN", help="Results folder to show beside them.")
@click.option("--metric", help="PSNR, 1-MS-SSIM or 1-SSIM.  [default: all that the files have]")
@click.option("--measured-on", metavar="DATA", help="What the files were measured on.  [default: by file or folder]")
def import_command(files: tuple[Path, ...], beside: Path | None, metric: str | None, measured_on: str | None) -> None:
    """Print published curves, CompressAI results JSON or folders of them, as a table at equal bits per pixel.

    They hold means over other pictures: they stand beside a run's curves, and are never ranked with them.
    """
    from facebench.exchange.beside import beside_markdown
    from facebench.exchange.compressai import read_results
    from facebench.store import read_run

    published = [curve for file in files for curve in read_results(file, measured_on)]
    click.echo(beside_markdown(published, read_run(beside) if beside else None, metric).rstrip("\n"))
