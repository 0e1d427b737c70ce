"""``facebench report``: a run as one self-contained HTML page."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facebench.cli.options import jobs_option, note, prepare_with_progress, quiet_option, registry_with_notes

if TYPE_CHECKING:
    from facebench.report.page.report import Pictures
    from facebench.store import Run


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file.  [default: report.html]")
@click.option("--data", help="Your copy of the image set: its PATH, or NAME:PATH.  [default: the run's set by name]")
@click.option(
    "--include-pictures",
    "count",
    metavar="N",
    type=click.IntRange(1, 200),
    help="Embed N pictures as every codec leaves them; fewer if the page would get too large.",
)
@jobs_option
@quiet_option
def report_command(
    runs: tuple[Path, ...], out: Path | None, data: str | None, count: int | None, jobs: int, quiet: bool
) -> None:
    """Write one HTML page on one or more results folders: leaderboard, curves, and pictures side by side.

    The page needs no network. It has pictures in it only with --include-pictures: they are encoded and decoded again
    from the image set that the run was scored on.
    """
    from facebench.analysis.merge import merge_runs
    from facebench.errors import ResultsError
    from facebench.paths import atomic_path
    from facebench.report.page.report import report_html
    from facebench.store import read_run

    if data is not None and count is None:
        raise click.UsageError("--data is read for pictures only: add --include-pictures N")
    target = out or Path("report.html")
    if target.is_dir():
        raise ResultsError(f"--out {target} is a folder: name the HTML file in it, {target / 'report.html'}")
    run = merge_runs([read_run(folder) for folder in runs])
    page, notes = report_html(run, None if count is None else _pictures(run, data, count, jobs, quiet))
    for line in notes:
        note(line, quiet)
    with atomic_path(target) as path:
        path.write_text(page, encoding="utf-8")
    note(f"written: {target}, {len(page.encode()) / 1e6:.2f} MB", quiet)


def _pictures(run: Run, data: str | None, count: int, jobs: int, quiet: bool) -> Pictures:
    from tqdm import tqdm

    from facebench.report.page.report import Pictures
    from facebench.verification.data import open_published

    registry = registry_with_notes(quiet)
    prepare = functools.partial(prepare_with_progress, registry=registry, quiet=quiet, jobs=jobs)
    images = open_published(run, data, registry, prepare)
    terms = "" if images.synthetic else registry.image_set(images.name).terms
    if terms:
        note(f"the page holds pictures of real faces; {images.name}: {terms}")

    def progress(labels: Iterable[str]) -> Iterator[str]:
        yield from tqdm(labels, desc="encoding", unit="point", disable=quiet, delay=1, leave=False)

    return Pictures(images, registry, count, terms, progress)
