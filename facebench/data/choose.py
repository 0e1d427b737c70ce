"""From the user's words (``--data``, ``--split``, ``--crop`` ...) to a prepared image set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facebench.data.imageset import ImageSet, prepare
from facebench.data.preprocess import DEFAULT_FILTER, DEFAULT_SIZE, Preprocessing
from facebench.data.source import PictureSource
from facebench.errors import DataError
from facebench.hookspecs import ImageSetSpec
from facebench.masks.masker import apply_masker
from facebench.plugins import Registry, load_object, unknown

ANNOTATION, NO_MASK = "annotation", "none"


@dataclass(frozen=True)
class DataOptions:
    """The choices that make an image set; None means the set's own default.

    ``data`` is a set's name ("samples"), "NAME:PATH", or the path of CelebA. ``mask`` is "annotation" (the
    masks that come with the set, where there are any), "none" or a masker's name.
    """

    data: str | None = None
    split: str | None = None
    crop: str | None = None
    size: int = DEFAULT_SIZE
    filter: str = DEFAULT_FILTER
    mask: str = ANNOTATION
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


def named_set(data: str | None, registry: Registry) -> tuple[ImageSetSpec, Path | None]:
    """Return the image set that ``--data``, else ``FACEBENCH_DATA`` names, else the samples, and its path or None."""
    text = data or os.environ.get("FACEBENCH_DATA") or "samples"
    name, colon, path = text.partition(":")
    if colon and name in registry.image_sets:
        return registry.image_set(name), Path(path).expanduser()
    if name in registry.image_sets and (name not in ("celeba", "folder") or not Path(text).exists()):
        return _set_without_path(registry.image_set(name))
    if not Path(text).expanduser().exists():
        raise DataError(
            f"no file or folder {text}, and no image set of that name: give CelebA's folder, folder:PATH or "
            f"one of {', '.join(sorted(registry.image_sets))}"
        )
    return registry.image_set("celeba"), Path(text).expanduser()


def _set_without_path(spec: ImageSetSpec) -> tuple[ImageSetSpec, Path | None]:
    if spec.name not in ("celeba", "folder"):
        return spec, None
    default = os.environ.get("FACEBENCH_DATA", "")
    if spec.name == "celeba" and default and Path(default).exists():
        return spec, Path(default)
    raise DataError(f"where is {spec.name}? write --data {spec.name}:PATH")


def prepare_chosen(
    source: PictureSource,
    options: DataOptions,
    registry: Registry,
    *,
    jobs: int = 1,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Prepare ``source`` as ``options`` say, with masks, limited to the first ``limit`` pictures."""
    if options.mask != ANNOTATION:
        source = replace(source, read_mask=None, fingerprint=f"{source.fingerprint} without masks")
    preprocessing = Preprocessing(options.crop or source.default_crop, options.size, options.filter)
    images = prepare(source, preprocessing, jobs=jobs, progress=progress)
    if options.limit is not None:
        images = images.head(options.limit)
    if options.mask == ANNOTATION:
        return images
    if options.mask == NO_MASK:
        return images.with_masks(None, None, "none", "masks were switched off by --mask none")
    return apply_masker(images, registry.masker(options.mask))
