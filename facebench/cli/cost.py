"""``facebench cost``: time, memory and arithmetic of codecs."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from facebench.cli.options import (
    command_line,
    data_options,
    note,
    prepare_with_progress,
    quiet_option,
    registry_with_notes,
)

if TYPE_CHECKING:
    from facebench.data.imageset import ImageSet
    from facebench.operating_point import OperatingPoint
    from facebench.plugins import Registry
    from facebench.store import Run

#: Options that a run has decided.
_OF_THE_RUN = ("split", "crop", "size", "filter")


@click.command("cost")
@click.option("--codecs", help="Codecs to measure: facet,cvae:step=3,jpeg:quality=20 ...")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Results folder: measure each of its curves.")
@data_options
@click.option("--out", type=click.Path(path_type=Path), help="File for the figures.  [default: RUN/cost.json]")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="torch device of learned codecs: cpu or cuda.")
@quiet_option
def cost_command(
    codecs: str | None,
    folder: Path | None,
    data: str | None,
    split: str | None,
    crop: str | None,
    size: int,
    filter: str,
    out: Path | None,
    form: str,
    device: str,
    quiet: bool,
) -> None:
    """Measure what encoding and decoding cost: milliseconds, memory, multiply-adds, weights.

    Give either --codecs or --run. With --run each curve of a results folder is measured at its operating point
    nearest to 128 bytes, on the run's image set where it is at hand, else on the samples; the figures go into the
    folder, and into its leaderboard. Everything runs in processes of one thread.
    """
    from facebench.data.choose import DataOptions
    from facebench.data.set_recipe import ANNOTATION
    from facebench.operating_point import label, parse_points
    from facebench.paths import COST
    from facebench.report.cost import cost_notes, cost_table
    from facebench.store import read_run, write_cost

    if (codecs is None) == (folder is None):
        raise click.UsageError("give --codecs, or --run with a results folder")
    given = click.get_current_context().get_parameter_source
    fixed = [f"--{name}" for name in _OF_THE_RUN if given(name) is not ParameterSource.DEFAULT]
    if folder is not None and fixed:
        raise click.UsageError(f"leave {', '.join(fixed)} out: with --run the pictures are prepared as in the run")
    registry = registry_with_notes(quiet)
    if folder is None:
        points = {label(registry.codecs[p.codec], p): p for p in parse_points(codecs or "", registry)}
        options = DataOptions(data, split, crop, size, filter, ANNOTATION)  # none need be made: they are not used
        images = prepare_with_progress(options, registry, quiet)
    else:
        run = read_run(folder)
        points = _points_of(run, registry, quiet)
        images = _images_of(run, data, registry, quiet)
    cost = _measured(points, images, registry, device, quiet)
    if out is not None:
        write_cost(out, cost)
    elif folder is not None:
        write_cost(folder / COST, cost)
        _rewrite_leaderboard(folder)
        note(f"written to {folder / COST} and into its leaderboard", quiet)
    if form == "json":
        click.echo(json.dumps(cost, indent=1))
    else:
        click.echo("\n\n".join([cost_table(cost["points"]), *cost_notes(cost)]))


def _points_of(run: Run, registry: Registry, quiet: bool) -> dict[str, OperatingPoint]:
    """Return the operating points of ``run`` to measure; those that are not installed are named and left out."""
    from facebench.analysis.comparison import curve_names
    from facebench.cost.choice import point_of_each_curve
    from facebench.errors import FacebenchError, PluginError, ResultsError
    from facebench.verification.rebuild import not_installed, rebuild

    curve_names(run)  # refuses a run without any
    chosen = point_of_each_curve(run)
    if not chosen:
        raise ResultsError(f"run '{run.name}' has no point without failed pictures: nothing to measure")
    points = {}
    for name in chosen:
        entry = run.manifest["points"][name]
        try:
            points[name] = rebuild(name, entry, registry).point
        except FacebenchError as error:
            note(not_installed(entry, error), quiet)
    if not points:
        raise PluginError(f"no codec of {run.name} is installed here")
    return points


def _images_of(run: Run, data: str | None, registry: Registry, quiet: bool) -> ImageSet:
    """Return the run's image set; the samples at its size if it is not at hand and no ``data`` were given."""
    from dataclasses import replace

    from facebench.data.set_recipe import ANNOTATION
    from facebench.errors import DataError, UnknownName
    from facebench.verification.data import published_options

    options = published_options(run.manifest["image_set"], data, registry)
    prepare = functools.partial(prepare_with_progress, registry=registry, quiet=quiet)
    try:
        return prepare(options)
    except (DataError, UnknownName) as error:
        if data is not None:
            raise
        note(f"measured on the samples: {error}", quiet)
        samples = replace(options, data="samples", split=None, crop=None, mask=ANNOTATION, limit=None)
        return prepare(samples)


def _measured(
    points: dict[str, OperatingPoint], images: ImageSet, registry: Registry, device: str, quiet: bool
) -> dict[str, Any]:
    from tqdm import tqdm

    from facebench.cost.measure import BATCH, measure_costs, steps
    from facebench.cost.record import cost_record
    from facebench.measure import CodecTask, Pictures

    tasks = {
        name: CodecTask(registry.codecs[point.codec], point, images.size, device) for name, point in points.items()
    }
    pictures = Pictures(images.images_file, None, 0, min(BATCH, len(images)))
    with tqdm(total=steps(len(tasks)), desc="measuring", unit="step", disable=quiet, leave=False) as bar:

        def progress(label: str) -> None:
            bar.set_postfix_str(label)
            bar.update(1)

        entries = measure_costs(tasks, pictures, progress=progress)
    return cost_record(entries, tasks, images, registry, len(pictures), device, command_line())


def _rewrite_leaderboard(folder: Path) -> None:
    """Make the leaderboard of ``folder`` again, in the view in which it is."""
    from facebench.paths import LEADERBOARD, atomic_path
    from facebench.report.leaderboard import leaderboard_markdown
    from facebench.report.views import view_of
    from facebench.store import read_run

    file = folder / LEADERBOARD
    view = view_of(file.read_text()) if file.is_file() else "default"
    markdown = leaderboard_markdown(read_run(folder), view=view)
    with atomic_path(file) as path:
        path.write_text(markdown)
