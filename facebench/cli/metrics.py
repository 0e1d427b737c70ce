"""``facebench metrics``: what each figure means."""

from __future__ import annotations

import textwrap

import click

from facebench.cli.options import registry_with_notes


@click.command("metrics")
def metrics_command() -> None:
    """Print the definition and version of every metric."""
    from facebench.metrics import SIZE_COLUMNS

    registry = registry_with_notes()
    columns = [column for metric in registry.metrics.values() for column in metric.columns]
    for column in (*columns, *SIZE_COLUMNS):
        better = "higher is better" if column.higher_is_better else "lower is better"
        unit = f", {column.unit}" if column.unit else ""
        click.echo(f"{column.name} (version {column.version}{unit}; {better})")
        click.echo(textwrap.fill(column.definition, 100, initial_indent="    ", subsequent_indent="    "))
