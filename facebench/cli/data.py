"""``facebench data``: describe, check and digest an image set."""

from __future__ import annotations

import click

from facebench.cli.options import (
    data_options,
    jobs_option,
    mask_option,
    prepare_with_progress,
    quiet_option,
    registry_with_notes,
)


@click.command("data")
@data_options
@mask_option
@jobs_option
@quiet_option
def data_command(
    data: str | None, split: str | None, crop: str | None, size: int, filter: str, mask: str, jobs: int, quiet: bool
) -> None:
    """Describe an image set: read every picture of it, count, and print its digest and terms.

    Without --data: the embedded samples. Also lists the image sets and where they are obtained.
    """
    from facebench.data.choose import DataOptions

    registry = registry_with_notes(quiet)
    options = DataOptions(data, split, crop, size, filter, mask)
    images = prepare_with_progress(options, registry, quiet, jobs)
    kind = " (synthetic)" if images.synthetic else ""
    click.echo(f"image set       {images.name}{kind}, split {images.split}")
    click.echo(f"pictures        {len(images)}, all readable")
    people = len(set(images.identities)) if images.identities else None
    click.echo(f"identities      {people if people is not None else 'not known'}")
    click.echo(f"attributes      {', '.join(images.attributes) or 'none'}")
    points = 0 if images.landmarks is None else images.landmarks.shape[1]
    click.echo(f"landmarks       {f'{points} points per face' if points else 'none'}")
    click.echo(f"preprocessing   {images.preprocessing.describe()}")
    if images.masks is None:
        click.echo(f"face masks      none: {images.no_mask_reason}")
    else:
        click.echo(f"face masks      {images.masker}, {images.masks.mean():.1%} of the pixels")
    click.echo(f"digest          {images.digest}")
    click.echo("\nimage sets:")
    for spec in registry.image_sets.values():
        click.echo(f"  {spec.name}: {spec.help}")
        click.echo(f"    splits: {', '.join(spec.splits)}")
        click.echo(f"    terms: {spec.terms}")
