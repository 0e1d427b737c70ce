"""From the user's words (``--data``, ``--split``, ``--crop`` ...) to a prepared image set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facebench.data.imageset import ImageSet
from facebench.data.named import named_set
from facebench.data.parts import part_reader
from facebench.data.preparation import prepare
from facebench.data.preprocess import DEFAULT_FILTER, DEFAULT_SIZE, Preprocessing
from facebench.data.set_recipe import ANNOTATION, AUTO, NO_MASK, SetRecipe
from facebench.data.source import PictureSource
from facebench.errors import DataError
from facebench.masks import parser
from facebench.masks.masker import apply_masker
from facebench.plugins import Registry, load_object, unknown

if TYPE_CHECKING:
    from facebench.engines import Engine


@dataclass(frozen=True)
class DataOptions:
    """The choices that make an image set; None means the set's own default.

    ``data`` is a set's name ("samples"), "NAME:PATH", "NAME:URL", or the path or URL of CelebA. ``mask`` is
    "auto" (the masks that come with the set, or where there are none the face parser's), "annotation" (those that come
    with the set, or none), "none" or a masker's name.
    """

    data: str | None = None
    split: str | None = None
    crop: str | None = None
    size: int = DEFAULT_SIZE
    filter: str = DEFAULT_FILTER
    mask: str = AUTO
    limit: int | None = None


def choose_source(options: DataOptions, registry: Registry, split: str | None = None) -> PictureSource:
    """Open the image set that ``options`` name: ``--data``, else ``FACEBENCH_DATA``, else the samples.

    ``split`` overrides the options' own. Raises UnknownName or DataError.
    """
    spec, path = named_set(options.data, registry)
    chosen = split or options.split or spec.splits[0]
    if chosen not in spec.splits:
        raise DataError(unknown(f"split of {spec.name}", chosen, spec.splits))
    source: PictureSource = load_object(spec.target)(path, chosen)
    return source


def recipe_of(source: PictureSource, options: DataOptions, registry: Registry) -> SetRecipe:
    """Return how ``source``, opened by :func:`choose_source`, is prepared as ``options`` say; raises UnknownName."""
    spec, place = named_set(options.data, registry)
    mask = options.mask
    if mask == AUTO:
        mask = ANNOTATION if source.read_mask is not None else parser.NAME
    return SetRecipe(
        target=spec.target,
        place=place.absolute() if isinstance(place, Path) else place,
        split=source.split,
        preprocessing=Preprocessing(options.crop or source.default_crop, options.size, options.filter),
        mask=mask,
        annotated=mask == ANNOTATION and source.read_mask is not None,
        masker=None if mask in (ANNOTATION, NO_MASK) else registry.masker(mask),
    )


def prepare_chosen(
    source: PictureSource,
    options: DataOptions,
    registry: Registry,
    *,
    jobs: int = 1,
    engine: Engine | None = None,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Prepare ``source`` as ``options`` say, with masks, limited to the first ``limit`` pictures.

    ``jobs`` threads read them, or the processes of ``engine`` where that is faster.
    """
    recipe = recipe_of(source, options, registry)
    wanted = recipe.unmasked(source)
    images = prepare(
        wanted,
        recipe.preprocessing,
        jobs=recipe.readers(jobs),
        submit=part_reader(recipe, wanted, engine),
        progress=progress,
    )
    if options.limit is not None:
        images = images.head(options.limit)
    return replace(recipe.masked(images, progress), recipe=recipe)


def with_default_masks(
    images: ImageSet,
    registry: Registry,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Return a prepared set with masks: its own, or where it has none the face parser's, made with ``progress``."""
    return images if images.masks is not None else apply_masker(images, registry.masker(parser.NAME), progress)
