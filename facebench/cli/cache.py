"""``facebench cache``: list, limit and clean what facebench keeps on this machine."""

from __future__ import annotations

import datetime

import click

from facebench.cli.options import ByteSize


@click.group("cache")
def cache_group() -> None:
    """List, limit or clean the cache of prepared pictures, measured shards and what metrics keep."""


@cache_group.command("list")
def list_command() -> None:
    """Show what the cache holds."""
    from facebench.paths import cache_dir
    from facebench.store import cache_entries

    entries = cache_entries()
    click.echo(f"{cache_dir()}: {_size(sum(entry.bytes for entry in entries))}")
    for kind in ("prepared", "shard", "array", "run", "leftover"):
        chosen = [entry for entry in entries if entry.kind == kind]
        if chosen:
            oldest = datetime.datetime.fromtimestamp(chosen[0].used).isoformat(" ", "minutes")
            size = _size(sum(entry.bytes for entry in chosen))
            click.echo(f"  {len(chosen)} x {kind}, {size}, longest unused since {oldest}")


@cache_group.command("limit")
@click.argument("size", type=ByteSize())
def limit_command(size: int) -> None:
    """Remove the longest unused entries until at most SIZE (such as 500MB or 2GB) is left."""
    from facebench.store import cache_entries, remove_cache_entries

    entries = cache_entries()
    excess = sum(entry.bytes for entry in entries) - size
    removed = []
    for entry in entries:
        if excess <= 0:
            break
        removed.append(entry)
        excess -= entry.bytes
    click.echo(f"removed {len(removed)} entries, {_size(remove_cache_entries(removed))}")


@cache_group.command("clean")
def clean_command() -> None:
    """Remove everything from the cache."""
    from facebench.store import cache_entries, remove_cache_entries

    entries = cache_entries()
    click.echo(f"removed {len(entries)} entries, {_size(remove_cache_entries(entries))}")


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
