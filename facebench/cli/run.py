"""``facebench run``: measure codecs on an image set and print the leaderboard."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facebench.cli.options import (
    ByteSize,
    command_line,
    data_options,
    jobs_option,
    mask_option,
    metrics_option,
    note,
    prepare_with_progress,
    quiet_option,
    registry_with_notes,
)

if TYPE_CHECKING:
    from facebench.engines import Engine
    from facebench.plan import Plan
    from facebench.plugins import Registry
    from facebench.store import Run


@click.command("run")
@click.option("--codecs", required=True, help="Codecs: cvae,jpeg:quality=50,webp:quality=1/10/40:method=6 ...")
@click.option("--sweep", is_flag=True, help="Measure each codec's whole sweep: its rate-distortion curve.")
@click.option("--budget", help="Bytes, such as 128,256,512: tune each codec per picture to at most so many.")
@data_options
@mask_option
@metrics_option
@click.option("--limit", type=click.IntRange(1), help="Only the first N pictures.")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: results/SET-SIZE]")
@click.option("--format", "form", type=click.Choice(["md", "csv", "json"]), default="md", show_default=True)
@click.option("--view", type=click.Choice(["default", "paper"]), default="default", show_default=True)
@click.option("--sealed", is_flag=True, help="Decode every shard in a fresh process.")
@click.option("--no-baseline", is_flag=True, help="Leave out the baseline (eigenfaces) unless it is named.")
@jobs_option
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "dask", "serial"]),
    help="Where shards run: processes here, a Dask cluster, or this process (for debugging).",
)
@click.option("--scheduler", help="With --engine dask: the scheduler's address, such as tcp://host:8786.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=900.0,
    show_default=True,
    help="Seconds that encoding, or decoding and scoring, a shard of at most 128 pictures may take.",
)
@click.option(
    "--memory-limit", type=ByteSize(), help="Memory of a worker: 4GB.  [default: its share of 80 %; dask: any]"
)
@click.option("--device", default="cpu", show_default=True, help="torch device of learned codecs: cpu or cuda.")
@click.option("--overwrite", is_flag=True, help="Let --out replace another run's results.")
@quiet_option
def run_command(
    codecs: str,
    sweep: bool,
    budget: str | None,
    data: str | None,
    split: str | None,
    crop: str | None,
    size: int,
    filter: str,
    mask: str,
    metrics: str | None,
    limit: int | None,
    out: Path | None,
    form: str,
    view: str,
    sealed: bool,
    no_baseline: bool,
    jobs: int,
    engine: str,
    scheduler: str | None,
    time_limit: float,
    memory_limit: int | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Measure codecs on an image set, with and without face masks, and print the leaderboard.

    The table goes to standard output, all else to standard error. Finished shards are kept: after an
    interruption the same command goes on where it stopped.
    """
    from facebench.child import limited_threads
    from facebench.finished import recall, remember

    if scheduler and engine != "dask":
        raise click.UsageError("--scheduler is for --engine dask")
    if engine == "serial":  # before numerical libraries are loaded: as in a child, so that records are the same
        os.environ.update(limited_threads())
    registry = registry_with_notes(quiet)
    request = _request(registry)
    if request and not overwrite and (done := recall(request)):
        _tell_finished(done, registry, quiet)
        return
    from facebench.data.choose import DataOptions
    from facebench.operating_point import budget_points, label, parse_budgets, parse_points
    from facebench.plan import Plan, plan_metrics, plan_points, with_downscaled
    from facebench.results_folder import reserved_folder

    start_engine = partial(_engine, engine, scheduler, jobs, time_limit, memory_limit)
    chosen = plan_metrics(registry, metrics)
    budgets = parse_budgets(budget)
    curves = sweep or not budgets
    requested = parse_points(codecs, registry, sweep=sweep) if curves else []
    requested += budget_points(codecs, registry, budgets) if budgets else []
    budgets = tuple(sorted({*budgets, *(p.budget for p in requested if p.budget is not None)}))
    points = plan_points(registry, requested, baseline=not no_baseline, curves=curves, budgets=budgets)
    options = DataOptions(data, split, crop, size, filter, mask, limit)
    with contextlib.ExitStack() as ending:
        started = start_engine()  # its processes start while the pictures are prepared
        ending.callback(started.close)
        import facebench.runner  # noqa: F401  (pandas with it, while the processes start: later they would wait)

        images = prepare_with_progress(options, registry, quiet, jobs, engine=started)
        names = frozenset(label(registry.codecs[p.codec], p) for p in requested)
        plan = Plan(registry, points, names, images, chosen, device, sealed, command_line())
        folder = ending.enter_context(reserved_folder(out, plan, overwrite))  # refuses at once, before the work
        about = {"synthetic": images.synthetic, "masker": images.masks_file and images.masker}
        _note_the_set({**about, "no_mask_reason": images.no_mask_reason}, quiet)
        run = _execute(plan, started, quiet)
        smaller = with_downscaled(plan, run)
        if smaller.points.keys() != plan.points.keys():
            note("not every picture fits every budget: measuring those budgets again, with downscaling", quiet)
            again = start_engine()
            ending.callback(again.close)
            run = _execute(smaller, again, quiet)
        problems = run.manifest["problems"][len(registry.problems) :]
        from facebench.report.groups import groups_markdown
        from facebench.report.leaderboard import leaderboard_markdown
        from facebench.store import write_run

        markdown = leaderboard_markdown(run, view=view)
        write_run(folder, run, markdown, groups_markdown(run))
        if request and not run.crashed:
            with contextlib.suppress(OSError):  # a cache that takes nothing: then the run is measured again
                remember(request, folder)
    for problem in problems:
        note(problem, quiet)
    click.echo(markdown.rstrip("\n") if form == "md" else rendered(run, form, view))
    note(f"written to {folder}", quiet)


#: What a worker may take at least where the user sets no limit: importing torch takes 150 MB of it.
_LEAST_MEMORY = 1 << 30
#: Options that change nothing in what is written to the results folder.
_NO_MATTER = {"jobs", "engine", "scheduler", "time_limit", "memory_limit", "quiet", "overwrite"}


def _request(registry: Registry) -> str | None:
    """Return what this command asks for as a digest; None if a finished run cannot answer it as it stands."""
    from facebench.data.named import named_set
    from facebench.finished import request_digest
    from facebench.operating_point import file_settings_digest, parse_points

    params = click.get_current_context().params
    if params["form"] != "md":
        return None
    spec, place = named_set(params["data"], registry)
    asked = {name: None if value is None else str(value) for name, value in params.items() if name not in _NO_MATTER}
    points = parse_points(params["codecs"], registry)
    asked["files"] = " ".join(file_settings_digest(registry.codecs[point.codec], point) for point in points)
    try:
        return request_digest(registry, asked, spec.name, place)
    except OSError:  # files that come and go
        return None


def _note_the_set(about: dict[str, Any], quiet: bool) -> None:
    """Say what to know of the pictures; ``about`` is a manifest's entry ``image_set``."""
    if about["synthetic"]:
        note("these faces are synthetic; for real figures: --data PATH_TO_CELEBA (see 'facebench data')", quiet)
    if about["masker"] in (None, "none"):
        note(f"+Mask rows are n/a: {about['no_mask_reason']}", quiet)
    elif about["masker"] != "annotation":
        note(f"face masks were made by {about['masker']}", quiet)


def _tell_finished(folder: Path, registry: Registry, quiet: bool) -> None:
    """Say what the run in ``folder`` said when it was written."""
    import json

    from facebench.paths import LEADERBOARD, MANIFEST

    manifest = json.loads((folder / MANIFEST).read_text())
    _note_the_set(manifest["image_set"], quiet)
    for problem in manifest["problems"][len(registry.problems) :]:
        note(problem, quiet)
    click.echo((folder / LEADERBOARD).read_text().rstrip("\n"))
    note(f"finished before, nothing has changed since: {folder}", quiet)


def rendered(run: Run, form: str, view: str) -> str:
    """Return a run as markdown, CSV or JSON text."""
    from facebench.report.frame import leaderboard_csv, leaderboard_json
    from facebench.report.leaderboard import leaderboard_markdown

    if form == "csv":
        return leaderboard_csv(run).rstrip("\n")
    if form == "json":
        return leaderboard_json(run).rstrip("\n")
    return leaderboard_markdown(run, view=view).rstrip("\n")


def _engine(name: str, scheduler: str | None, jobs: int, time_limit: float, memory_limit: int | None) -> Engine:
    from facebench import memory
    from facebench.child import Isolation
    from facebench.engines import dask_engine, local_engine, serial_engine

    if name == "serial":
        return serial_engine()
    if name == "dask":
        return dask_engine(scheduler, jobs, Isolation(time_limit, memory_limit))
    share = memory.installed() * 8 // (10 * jobs)
    return local_engine(jobs, Isolation(time_limit, memory_limit or (max(share, _LEAST_MEMORY) if share else None)))


def _execute(plan: Plan, engine: Engine, quiet: bool) -> Run:
    from tqdm import tqdm

    from facebench.runner import execute

    total = len(plan.points) * len(plan.images)
    with tqdm(total=total, desc="measuring", unit="img", disable=quiet, leave=False, smoothing=0.1) as bar:

        def progress(done: int, total: int, cached: bool) -> None:
            bar.total = total
            if cached:  # keeps images/s and ETA to what is really measured
                bar.initial = bar.n + done
            bar.update(done)

        return execute(plan, engine, progress, lambda line: note(line, quiet))
