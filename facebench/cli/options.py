"""Options and helpers that several commands share."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from facebench.data.choose import DataOptions
    from facebench.data.imageset import ImageSet
    from facebench.engines import Engine
    from facebench.plugins import Registry

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])

_DATA_OPTIONS = (
    click.option(
        "--data",
        help="Image set: PATH of CelebA, folder:PATH or samples; PATH may be a URL (s3://...).  "
        "[default: FACEBENCH_DATA or samples]",
    ),
    click.option("--split", help="Split of the image set.  [default: its first, see 'facebench data']"),
    click.option("--crop", help="full (squashed), square or centre-N.  [default: the set's own; celeba: centre-148]"),
    click.option("--size", default=64, show_default=True, help="Side of the square pictures, in pixels."),
    click.option(
        "--filter", default="area", show_default=True, help="Resize filter: area, bilinear, bicubic, lanczos."
    ),
)


def data_options(command: _CommandT) -> _CommandT:
    """Add the options that choose an image set and its preprocessing."""
    for option in reversed(_DATA_OPTIONS):
        command = option(command)
    return command


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_option(command: _CommandT) -> _CommandT:
    """Add ``--jobs``, the number of worker processes."""
    return click.option(
        "--jobs", type=click.IntRange(1), default=_cores(), help="Worker processes.  [default: all cores]"
    )(command)


class ByteSize(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A number of bytes, as in 500MB or 2GB."""

    name = "SIZE"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes; fails on what is no size, and on 0."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", value.strip(), re.IGNORECASE)
        size = int(float(match[1]) * 1000 ** " KMG".index(match[2].upper() or " ")) if match else 0
        if not size:
            self.fail(f"'{value}' is no size: write 500MB or 2GB", param, ctx)
        return size


mask_option = click.option(
    "--mask",
    default="auto",
    show_default=True,
    help="auto (the set's own masks, else the face parser's), annotation (its own, or none), none or a masker's name.",
)

metrics_option = click.option(
    "--metrics",
    help="Metric families: default,identity ...; 'default' is all but the slow ones.  [default: default]",
)

quiet_option = click.option("--quiet", is_flag=True, help="No progress, no notes: only errors on standard error.")


def registry_with_notes(quiet: bool = False) -> Registry:
    """Load the plugins; one line on standard error for each that is left out."""
    from facebench.plugins import load_registry

    registry = load_registry()
    for problem in registry.problems:
        note(problem, quiet)
    return registry


def note(line: str, quiet: bool = False) -> None:
    """Say something on standard error, where it does not mix with the results."""
    if not quiet:
        click.echo(f"facebench: {line}", err=True)


@contextlib.contextmanager
def codec_faults_named(what: str) -> Iterator[None]:
    """Turn whatever a codec raises within the block into one line that starts with ``what``."""
    from facebench.errors import CodecError, FacebenchError
    from facebench.measure import CODEC_FAULTS, describe

    try:
        yield
    except FacebenchError:
        raise
    except CODEC_FAULTS as error:
        raise CodecError(f"{what}: {describe(error)}") from error


def command_line() -> str:
    """Return the command as the user gave it, for manifests and cards; without passwords in URLs."""
    from facebench.data.named import without_secrets

    return shlex.join(["facebench", *map(without_secrets, sys.argv[1:])])


def prepare_with_progress(
    options: DataOptions,
    registry: Registry,
    quiet: bool,
    jobs: int = 1,
    split: str | None = None,
    engine: Engine | None = None,
) -> ImageSet:
    """Open and prepare the chosen image set, with a progress bar when it takes its time."""
    from facebench.data.choose import choose_source, prepare_chosen

    source = choose_source(options, registry, split)
    progress = partial(picture_progress, quiet=quiet)
    return prepare_chosen(source, options, registry, jobs=jobs, engine=engine, progress=progress)


def picture_progress(steps: Iterable[int], total: int, quiet: bool) -> Iterable[int]:
    """Yield ``steps``, the counts of pictures done, with a progress bar when it takes its time."""
    from tqdm import tqdm

    with tqdm(total=total, desc="preparing pictures", unit="img", disable=quiet, delay=1, leave=False) as bar:
        for step in steps:
            bar.update(step - bar.n)
            yield step
        bar.update(total - bar.n)
