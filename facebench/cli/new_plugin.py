"""``facebench new-plugin``: start a codec plugin."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="here",
    metavar="DIR",
    help="Folder in which facebench-NAME is made.",
)
def new_plugin_command(name: str, out: Path) -> None:
    """Write facebench-NAME, a pip project with a working codec called NAME and its tests.

    NAME is one lower-case word.
    """
    from facebench.scaffold import new_plugin

    folder = new_plugin(name, out)
    click.echo(f"wrote {folder}", err=True)
    click.echo(f'next: pip install -e "{folder}[test]" && facebench check {name} && pytest {folder}', err=True)
