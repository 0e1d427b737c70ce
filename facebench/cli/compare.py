"""``facebench compare``: two curves against each other, the verdict first."""

from __future__ import annotations

from pathlib import Path

import click


def _numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is no list of numbers with commas between them") from error


def _limits(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    numbers = _numbers(context, option, text)
    if not numbers:
        return None
    if len(numbers) != 2 or not 0 < numbers[0] < numbers[1]:
        raise click.BadParameter(f"'{text}' is no range of bytes; give two numbers, the smaller first: 20,280")
    return numbers[0], numbers[1]


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", default="1-SSIM", show_default=True)
@click.option("--mask", type=click.Choice(["none", "face"]), default="none", show_default=True, help="Pixels scored.")
@click.option("--bytes", "limits", metavar="FROM,TO", callback=_limits, help="Take BD-rate over these bytes only.")
@click.option(
    "--at",
    "values",
    metavar="VALUES",
    callback=_numbers,
    help="Values of the metric to tell the bytes of: 0.307,0.229.  [default: round ones that both reach]",
)
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True)
def compare_command(
    a: str,
    b: str,
    runs: tuple[Path, ...],
    metric: str,
    mask: str,
    limits: tuple[float, float] | None,
    values: tuple[float, ...],
    form: str,
) -> None:
    """Say whether curve A beats curve B in one or more results folders: at equal bytes, and in bytes for a quality.

    A and B are names as the leaderboard's tables at equal bytes have them: eigenfaces, jpeg:headerless=true.
    """
    from facebench.analysis.comparison import compare_curves
    from facebench.analysis.merge import merge_runs
    from facebench.report.compare import comparison_json, comparison_markdown
    from facebench.store import read_run

    run = merge_runs([read_run(folder) for folder in runs])
    comparison = compare_curves(run, a, b, metric=metric, mask=mask, limits=limits, values=values)
    rendered = comparison_json if form == "json" else comparison_markdown
    click.echo(rendered(comparison).rstrip("\n"))
