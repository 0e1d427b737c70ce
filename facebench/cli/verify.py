"""``facebench verify``: is a published run complete, and do its figures come out again?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facebench.cli.options import jobs_option, prepare_with_progress, quiet_option, registry_with_notes

if TYPE_CHECKING:
    from facebench.data.imageset import ImageSet
    from facebench.plugins import Registry
    from facebench.store import Run
    from facebench.verification.recheck import Recheck


@click.command("verify")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--data", help="Your copy of the image set: its PATH, or NAME:PATH.  [default: the run's set by name]")
@click.option("--sample", type=click.IntRange(1), default=200, show_default=True, help="Rows to measure again.")
@click.option("--seed", default=0, show_default=True, help="Chooses the rows.")
@click.option("--lint", "lint_only", is_flag=True, help="Only check that the run is complete: needs no data.")
@click.option("--conformance", "with_conformance", is_flag=True, help="Run the conformance suite on its codecs too.")
@jobs_option
@click.option("--device", default="cpu", show_default=True, help="torch device of learned codecs: cpu or cuda.")
@quiet_option
def verify_command(
    results: Path,
    data: str | None,
    sample: int,
    seed: int,
    lint_only: bool,
    with_conformance: bool,
    jobs: int,
    device: str,
    quiet: bool,
) -> None:
    """Check that the run in RESULTS may be published, and measure a random sample of it again.

    First whether manifest, records and table are complete and agree. Then, on your own copy of the pictures, rows
    (operating point x picture) are encoded, decoded and scored again: sizes must be the same, scores within 1e-4
    (of their value, where that is above 1).
    The exit status is 0 only if nothing is missing and nothing differs.
    """
    from facebench.paths import LEADERBOARD
    from facebench.store import read_run
    from facebench.verification.conformance import conformance
    from facebench.verification.lint import lint

    run = read_run(results)
    registry = registry_with_notes(quiet)
    file = results / LEADERBOARD
    missing = lint(run, file.read_text() if file.is_file() else None)
    _tell("complete", missing)
    if with_conformance:
        failed, skipped = conformance(run, registry, lambda line: click.echo(f"  {line}"))
        _tell("conformance", failed)
        _list(skipped)
        missing += failed
    else:
        click.echo("conformance     not asked for (--conformance)")
    if lint_only:
        click.echo("measured again  not asked for (--lint)")
        raise SystemExit(1 if missing else 0)
    images = _images(run, data, registry, jobs, quiet)
    found = _recheck(run, images, registry, sample, seed, device, quiet)
    click.echo(f"image set       your copy is the run's, digest {images.digest[:12]}")
    _tell_recheck(found, complete=not missing)
    if missing or not found.ok:
        raise SystemExit(1)


def _images(run: Run, data: str | None, registry: Registry, jobs: int, quiet: bool) -> ImageSet:
    from facebench.verification.data import open_published

    prepare = functools.partial(prepare_with_progress, registry=registry, quiet=quiet, jobs=jobs)
    return open_published(run, data, registry, prepare)


def _recheck(
    run: Run, images: ImageSet, registry: Registry, sample: int, seed: int, device: str, quiet: bool
) -> Recheck:
    from tqdm import tqdm

    from facebench.verification.recheck import recheck

    with tqdm(total=sample, desc="measuring again", unit="row", disable=quiet, leave=False) as bar:
        return recheck(run, images, registry, count=sample, seed=seed, device=device, progress=bar.update)


def _tell_recheck(found: Recheck, *, complete: bool) -> None:
    from facebench.report.text import markdown_table
    from facebench.verification.recheck import TOLERANCE

    rows = [
        [c.codec, *(f"{number:,}" for number in (c.rows, c.identical, c.within, len(c.differing)))]
        for c in found.codecs
    ]
    click.echo(f"measured again  {found.rows:,} rows, {found.differing:,} differ\n")
    headers = ["codec", "rows", "identical", f"within {TOLERANCE:g}", "differing"]
    click.echo(markdown_table(headers, rows) + "\n")
    for check in found.codecs:
        if check.differing:
            more = f" (and {len(check.differing) - 1} more)" if len(check.differing) > 1 else ""
            click.echo(f"  - {check.differing[0]}{more}")
    _list([*found.differences, *found.skipped])
    if not found.rows:
        click.echo("no row could be measured again: nothing is verified")
    elif not found.ok:
        click.echo("NOT verified: see the lines above")
    else:
        what = "nothing differs"
        if found.skipped:
            lines = "the line above says" if len(found.skipped) == 1 else f"{len(found.skipped)} lines above say"
            what = f"nothing differs in what could be measured; {lines} what was skipped"
        click.echo(f"verified: {what}" + ("" if complete else ", but the run is not fit to be published"))


def _tell(what: str, faults: list[str]) -> None:
    from facebench.report.text import counted

    click.echo(f"{what:16}{'no: ' + counted(len(faults), 'fault') if faults else 'yes'}")
    _list(faults)


def _list(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"  - {line}")
