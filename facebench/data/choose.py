"""From the user's words (``--data``, ``--split``, ``--crop`` ...) to a prepared image set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facebench.data.imageset import ImageSet, prepare
from facebench.data.named import Place, is_url, named_set
from facebench.data.preprocess import DEFAULT_FILTER, DEFAULT_SIZE, Preprocessing
from facebench.data.source import PictureSource
from facebench.data.storage import URL_READERS, shown
from facebench.errors import DataError
from facebench.hookspecs import MaskerSpec
from facebench.masks.masker import apply_masker
from facebench.plugins import Registry, load_object, unknown

ANNOTATION, NO_MASK = "annotation", "none"


@dataclass(frozen=True)
class DataOptions:
    """The choices that make an image set; None means the set's own default.

    ``data`` is a set's name ("samples"), "NAME:PATH", "NAME:URL", or the path or URL of CelebA. ``mask`` is
    "annotation" (the masks that come with the set, where there are any), "none" or a masker's name.
    """

    data: str | None = None
    split: str | None = None
    crop: str | None = None
    size: int = DEFAULT_SIZE
    filter: str = DEFAULT_FILTER
    mask: str = ANNOTATION
    limit: int | None = None


@dataclass(frozen=True)
class SetRecipe:
    """How an image set was made: small and picklable, so that a worker elsewhere can prepare pictures of it too.

    ``target`` is :class:`facebench.hookspecs.ImageSetSpec`'s; ``place`` an absolute path, a URL, or None for a set
    that needs neither. ``mask`` is that of :class:`DataOptions` and ``masker`` the masker of that name; ``annotated``
    says whether the set's own masks are taken.
    """

    target: str
    place: Place | None
    split: str
    preprocessing: Preprocessing
    mask: str
    annotated: bool
    masker: MaskerSpec | None

    def open(self) -> PictureSource:
        """Open the set, with its own masks only if they are wanted; raises DataError or PluginError."""
        source: PictureSource = load_object(self.target)(self.place, self.split)
        return self.unmasked(source)

    @property
    def where(self) -> str:
        """The set as messages name it."""
        return "the image set" if self.place is None else shown(self.place)

    def unmasked(self, source: PictureSource) -> PictureSource:
        """Return ``source`` without masks of its own, if others or none are wanted."""
        if self.mask == ANNOTATION:
            return source
        return replace(source, read_mask=None, fingerprint=f"{source.fingerprint} without masks")

    def masked(self, images: ImageSet) -> ImageSet:
        """Return prepared pictures of :meth:`unmasked` with the masks that are wanted."""
        if self.masker is not None:
            return apply_masker(images, self.masker)
        if self.mask == NO_MASK:
            return images.with_masks(None, None, "none", "masks were switched off by --mask none")
        return images

    def readers(self, jobs: int) -> int:
        """Return how many threads read the set at once, where ``jobs`` would prepare a set of this machine."""
        return max(jobs, URL_READERS) if self.place is not None and is_url(self.place) else jobs


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
    return SetRecipe(
        target=spec.target,
        place=place.absolute() if isinstance(place, Path) else place,
        split=source.split,
        preprocessing=Preprocessing(options.crop or source.default_crop, options.size, options.filter),
        mask=options.mask,
        annotated=options.mask == ANNOTATION and source.read_mask is not None,
        masker=None if options.mask in (ANNOTATION, NO_MASK) else registry.masker(options.mask),
    )


def prepare_chosen(
    source: PictureSource,
    options: DataOptions,
    registry: Registry,
    *,
    jobs: int = 1,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Prepare ``source`` as ``options`` say, with masks, limited to the first ``limit`` pictures."""
    recipe = recipe_of(source, options, registry)
    images = prepare(recipe.unmasked(source), recipe.preprocessing, jobs=recipe.readers(jobs), progress=progress)
    if options.limit is not None:
        images = images.head(options.limit)
    return replace(recipe.masked(images), recipe=recipe)
