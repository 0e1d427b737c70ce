"""``facebench codecs``: the codecs that can be run, and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facebench.cli.options import registry_with_notes

if TYPE_CHECKING:
    from facebench.codec import CodecSpec, Setting


@click.command("codecs")
@click.argument("name", required=False)
def codecs_command(name: str | None) -> None:
    """List the codecs, or show the settings of one."""
    registry = registry_with_notes()
    if name is not None:
        click.echo("\n".join(_details(registry.codec(name), registry.origins[f"codec {name}"])))
        return
    width = max(map(len, registry.codecs), default=0)
    for codec, spec in registry.codecs.items():
        click.echo(f"{codec:<{width}}  {spec.help}  [{registry.origins[f'codec {codec}']}]")


def _details(spec: CodecSpec, origin: str) -> list[str]:
    lines = [f"{spec.name}: {spec.help}", f"from {origin}, version {spec.version}"]
    lines += [f"  {spec.name}:{setting.name}={_domain(setting)}  {setting.help}" for setting in spec.settings]
    if spec.rate_setting:
        lines.append(f"sweep: {spec.name}:{spec.rate_setting}={'/'.join(str(value) for value in spec.sweep)}")
    if spec.trainer:
        lines.append(f"trained by: facebench train {spec.name}")
    return lines


def _domain(setting: Setting) -> str:
    if setting.choices:
        return f"{'|'.join(map(str, setting.choices))} (default {setting.default})"
    if setting.low is not None or setting.high is not None:
        return f"{setting.low}..{setting.high} (default {setting.default})"
    return f"{setting.kind.__name__} (default {setting.default})"
