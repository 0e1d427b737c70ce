"""``facebench study``: all that a paper claims, measured by one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facebench.cli.options import (
    command_line,
    jobs_option,
    note,
    prepare_with_progress,
    quiet_option,
    registry_with_notes,
)

if TYPE_CHECKING:
    from facebench.plugins import Registry
    from facebench.study.steps import Step

_NAME = "facial-image-reconstruction"


@click.command("study")
@click.argument("name", type=click.Choice([_NAME]))
@click.option("--data", help="Image set: PATH of CelebA, folder:PATH or samples.  [default: FACEBENCH_DATA or samples]")
@click.option("--split", help="Split of the image set.  [default: its first, see 'facebench data']")
@click.option("--limit", type=click.IntRange(1), help="Only the first N pictures.")
@click.option("--lpips", is_flag=True, help="Also LPIPS, whose weights you have (see facebench-perceptual).")
@click.option("--identity", is_flag=True, help="Also measure whether the person is recognised (facebench-identity).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the page and its runs.  [default: results/NAME]"
)
@click.option("--overwrite", is_flag=True, help="Let --out replace other runs' results.")
@jobs_option
@quiet_option
def study_command(
    name: str,
    data: str | None,
    split: str | None,
    limit: int | None,
    lpips: bool,
    identity: bool,
    out: Path | None,
    overwrite: bool,
    jobs: int,
    quiet: bool,
) -> None:
    """Measure every system that a paper names, and write what came of its claims as one page.

    After an interruption the same command goes on where it stopped; what is finished
    is not run again.
    """
    from facebench.data.choose import DataOptions
    from facebench.study import facial_image_reconstruction as study
    from facebench.study.steps import run_facebench, shown

    folder = out or Path("results") / name
    registry = registry_with_notes(quiet)
    steps = [step.with_lpips() if lpips else step for step in study.STEPS if identity or not step.on_request]
    _check(steps, registry)
    images = prepare_with_progress(DataOptions(data, split, None, study.SIZE, limit=limit), registry, quiet, jobs)
    common = ["--size", str(study.SIZE)]
    for option, value in (("--data", data), ("--split", split), ("--limit", limit)):
        common += [] if value is None else [option, str(value)]
    own = [f"--jobs={jobs}", *(["--overwrite"] if overwrite else []), *(["--quiet"] if quiet else [])]
    for number, step in enumerate(steps, start=1):
        arguments = step.arguments(folder, common)
        note(f"{number} of {len(steps)}, {step.what}: {shown(arguments)}", quiet)
        if status := run_facebench([*arguments, *own]):
            raise click.exceptions.Exit(status)  # it has said why
    sheet = study.sheet_arguments(folder)
    drawn = run_facebench([*sheet, *(["--quiet"] if quiet else [])]) == 0  # else it has said why: the page does without
    page = study.write(folder, images, registry, command_line(), shown(sheet) if drawn else None)
    note(f"written to {page}", quiet)


def _check(steps: list[Step], registry: Registry) -> None:
    """Raise, before the work, FacebenchError if a codec or metric of a later step, or matplotlib, is not there."""
    from facebench.report.plot import matplotlib_figure

    matplotlib_figure()
    from facebench.errors import FacebenchError
    from facebench.operating_point import parse_points
    from facebench.plan import plan_metrics

    for step in steps:
        try:
            parse_points(",".join(step.codecs), registry)
            if "--metrics" in step.options:
                plan_metrics(registry, step.options[step.options.index("--metrics") + 1])
        except FacebenchError as error:
            raise FacebenchError(f"{error}; step '{step.name}' takes {' and '.join(step.plugins)}") from error
