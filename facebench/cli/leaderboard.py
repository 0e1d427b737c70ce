"""``facebench leaderboard``: print one run's table, or several runs' in one."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("leaderboard")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["md", "csv", "json"]), default="md", show_default=True)
@click.option("--view", type=click.Choice(["default", "paper"]), default="default", show_default=True)
def leaderboard_command(runs: tuple[Path, ...], form: str, view: str) -> None:
    """Print the leaderboard of one or more results folders.

    Runs on other pictures or with other metric definitions are refused: they cannot be ranked together.
    """
    from facebench.analysis.merge import merge_runs
    from facebench.cli.run import rendered
    from facebench.store import read_run

    click.echo(rendered(merge_runs([read_run(folder) for folder in runs]), form, view))
