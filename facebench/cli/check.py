"""``facebench check``: run the conformance suite on an installed codec."""

from __future__ import annotations

import re

import click


def _size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Return the (height, width) that "64" or "48x80" stands for."""
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", value)
    if match is None or not 0 < int(match[1]) <= 4096 or not 0 < int(match[2] or match[1]) <= 4096:
        raise click.BadParameter(f"'{value}' is not a picture size: write 64, or 48x80 (height x width), up to 4096")
    return int(match[1]), int(match[2] or match[1])


@click.command("check")
@click.argument("codec")
@click.option(
    "--size", callback=_size, default="64", show_default=True, metavar="SIZE", help="Picture size: 64, or 48x80."
)
@click.option("--only", multiple=True, metavar="CHECK", help="Run this check only; may be repeated.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds for one damaged payload.",
)
@click.option(
    "--memory-limit",
    type=click.IntRange(min=16),
    default=512,
    show_default=True,
    help="MiB of memory that decoding a damaged payload may add.",
)
def check_command(
    codec: str, size: tuple[int, int], only: tuple[str, ...], time_limit: float, memory_limit: int
) -> None:
    """Check that CODEC keeps the codec contract.

    CODEC is an installed codec, or one operating point of it: jpeg, jpeg:quality=50. One line is printed for
    each check; the exit status is 1 if any failed.
    """
    from facebench.testing import check_codec

    report = check_codec(
        codec,
        size,
        only=only,
        time_limit=time_limit,
        memory_limit=memory_limit << 20,
        on_result=lambda result: click.echo(str(result)),
    )
    click.echo(report.summary())
    if not report.ok:
        raise SystemExit(1)
