"""``facebench metrics``: what each figure means."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from facebench.cli.options import registry_with_notes

if TYPE_CHECKING:
    from facebench.hookspecs import MetricSpec


@click.command("metrics")
def metrics_command() -> None:
    """Print the definition and version of every metric, and the family to name in 'facebench run --metrics'."""
    from facebench.metrics import SIZE_COLUMNS

    registry = registry_with_notes()
    columns = [(column, _family(metric)) for metric in registry.metrics.values() for column in metric.columns]
    for column, family in (*columns, *((column, "in every run") for column in SIZE_COLUMNS)):
        better = "higher is better" if column.higher_is_better else "lower is better"
        unit = f", {column.unit}" if column.unit else ""
        click.echo(f"{column.name} (version {column.version}{unit}; {better}; {family})")
        click.echo(textwrap.fill(column.definition, 100, initial_indent="    ", subsequent_indent="    "))


def _family(metric: MetricSpec) -> str:
    return f"family {metric.name}" if metric.default else f"family {metric.name}, only on request"
