"""From what ``--data`` says to the image set's name and place; nothing is opened and nothing heavy imported."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

from facebench.errors import DataError
from facebench.hookspecs import ImageSetSpec
from facebench.plugins import Registry

#: What ``--data`` may lead to: a path of this machine, or a URL in fsspec's sense as str ("s3://...", "zip://A::URL").
Place: TypeAlias = Path | str

#: What an image set's folder may hold, or the folder above it: the part masks of CelebAMask-HQ.
HQ_FOLDER = "CelebAMask-HQ-mask-anno"


def place_of(text: str) -> Place:
    """Return the place that a user wrote: a URL as it is, anything else (and file://) as a path."""
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return text if is_url(text) else Path(text).expanduser()


def is_url(place: Place) -> bool:
    """Return whether ``place`` is a URL, plain or chained ("simplecache::s3://...")."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", place) is not None


def without_secrets(text: str) -> str:
    """Return ``text`` without the password, and without the query, that a URL in it may have."""
    return re.sub(r"(://[^\s?]*)\?\S+", r"\1?...", re.sub(r"://[^/@\s]*@", "://", text))


def named_set(data: str | None, registry: Registry) -> tuple[ImageSetSpec, Place | None]:
    """Return the image set that ``--data``, else ``FACEBENCH_DATA`` names, else the samples, and its place or None."""
    text = data or os.environ.get("FACEBENCH_DATA") or "samples"
    name, colon, place = text.partition(":")
    if colon and name in registry.image_sets:
        return registry.image_set(name), place_of(place)
    if name in registry.image_sets and (name not in ("celeba", "folder") or not Path(text).exists()):
        return _set_without_place(registry.image_set(name))
    if not _may_exist(place_of(text)):
        raise DataError(
            f"no file or folder {text}, and no image set of that name: give CelebA's folder, folder:PATH, a URL or "
            f"one of {', '.join(sorted(registry.image_sets))}"
        )
    return registry.image_set("celeba"), place_of(text)


def _may_exist(place: Place) -> bool:
    return place.exists() if isinstance(place, Path) else is_url(place)


def _set_without_place(spec: ImageSetSpec) -> tuple[ImageSetSpec, Place | None]:
    if spec.name not in ("celeba", "folder"):
        return spec, None
    default = os.environ.get("FACEBENCH_DATA", "")
    if spec.name == "celeba" and default and _may_exist(place_of(default)):
        return spec, place_of(default)
    raise DataError(f"where is {spec.name}? write --data {spec.name}:PATH or {spec.name}:URL")
