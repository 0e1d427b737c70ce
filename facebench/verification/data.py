"""The image set that a run was scored on, opened from the reader's own copy of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facebench.data.choose import DataOptions
from facebench.data.set_recipe import ANNOTATION, NO_MASK
from facebench.errors import DataError
from facebench.masks.spec import masker_named

if TYPE_CHECKING:
    from facebench.data.imageset import ImageSet
    from facebench.plugins import Registry
    from facebench.store import Run


def published_options(image_set: Mapping[str, Any], data: str | None, registry: Registry) -> DataOptions:
    """Return the options that make the set of a manifest's ``image_set`` entry again.

    ``data`` is where the reader has it, a path or "NAME:PATH"; None leaves that to the set's own default place.
    Raises DataError if it names another set.
    """
    name, preprocessing = str(image_set["name"]), image_set["preprocessing"]
    masker = str(image_set.get("masker") or NO_MASK)
    return DataOptions(
        data=_place(name, data, registry),
        split=str(image_set["split"]),
        crop=str(preprocessing["crop"]),
        size=int(preprocessing["size"]),
        filter=str(preprocessing["filter"]),
        mask=masker if masker in (ANNOTATION, NO_MASK) else masker_named(masker),
        limit=int(image_set["pictures"]),
    )


def _place(name: str, data: str | None, registry: Registry) -> str:
    if data is None:
        return name
    named = data.partition(":")[0]
    if named not in registry.image_sets or Path(data).exists():
        return f"{name}:{data}"
    if named != name:
        raise DataError(f"the run was scored on {name}, not on {named}: give --data {name}:PATH")
    return data


def open_published(
    run: Run, data: str | None, registry: Registry, prepare: Callable[[DataOptions], ImageSet]
) -> ImageSet:
    """Return the image set of ``run`` from the reader's copy; ``prepare`` makes a set from options.

    Raises :class:`facebench.errors.DataError` with what differs if it is not the same set to the last pixel.
    """
    published = run.manifest["image_set"]
    options = published_options(published, data, registry)
    images = prepare(options)
    if images.digest == published["digest"]:
        return images
    if options.mask == NO_MASK:  # the set has no masks of its own, rather than masks that were switched off
        from dataclasses import replace

        unmasked = prepare(replace(options, mask=ANNOTATION))
        if unmasked.digest == published["digest"]:
            return unmasked
    raise DataError(
        f"your copy of {published['name']} is not what {run.name} was scored on: {_difference(run, images)}"
    )


def _difference(run: Run, images: ImageSet) -> str:
    published = run.manifest["image_set"]
    if len(images) != published["pictures"]:
        return f"it has {len(images):,} pictures, the run {published['pictures']:,}"
    names = run.records.drop_duplicates("position").set_index("position")["picture"]
    for position, name in enumerate(images.ids):
        if names.get(position, name) != name:
            return f"picture {position} is {name}, in the run {names[position]}"
    masker = str(published.get("masker") or NO_MASK)
    if images.masks is not None and masker not in (NO_MASK, images.masker):
        return f"its face masks are by '{images.masker}', the run's by '{masker}'; install what brings those"
    return (
        f"the same pictures by name, but pixels or face masks differ (digest {images.digest[:12]}, the run's "
        f"{str(published['digest'])[:12]}); get the original files again"
    )
