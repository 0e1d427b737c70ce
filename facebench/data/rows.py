"""Some pictures of an image set, prepared where they are needed: on a worker that lacks the client's arrays."""

from __future__ import annotations

import hashlib
import platform
import threading
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from facebench.data.imageset import ImageSet
from facebench.data.preparation import prepare
from facebench.data.prepared import remove_prepared
from facebench.data.set_recipe import SetRecipe, opened
from facebench.data.source import PictureSource
from facebench.errors import DataError, FacebenchError

_opening = threading.Lock()


@dataclass(frozen=True)
class Rows:
    """Consecutive pictures of an image set from ``start`` on, as a client tells a worker of them; picklable.

    ``ids`` are their names and ``hashes`` the bytes of :attr:`ImageSet.hashes` (16 each): what the worker's own copy
    must come to.
    """

    recipe: SetRecipe
    start: int
    ids: tuple[str, ...] = field(repr=False)
    hashes: bytes = field(repr=False)


def rows_of(recipe: SetRecipe, images: ImageSet, start: int, stop: int) -> Rows:
    """Return pictures ``start`` to ``stop`` of ``images``, which ``recipe`` made."""
    return Rows(recipe, start, images.ids[start:stop], np.ascontiguousarray(images.hashes[start:stop]).tobytes())


def prepare_rows(rows: Rows) -> ImageSet:
    """Return just these pictures prepared, by the code that prepares whole sets, in this machine's cache.

    They are kept by what they hold, so that no later shard of the same pictures even opens the set. Its pictures
    equal the client's to the last pixel and mask; otherwise raises :class:`DataError` with the worker's name, as for
    all that keeps the set from being read there.
    """
    for again in (False, True):
        try:
            images = _prepared(rows)
        except FacebenchError as error:
            if again:
                raise DataError(f"on worker {platform.node()}: {error}") from error
        else:
            differing = _differing(rows, images)
            if differing is None:
                return images
            remove_prepared(images.images_file.parent)
            if again:
                raise DataError(
                    f"the copy of {rows.recipe.where} on worker {platform.node()} differs from the client's at picture "
                    f"{differing}: other files there, or an OpenCV that decodes otherwise"
                )
        opened.cache_clear()  # the set was opened before its files changed, perhaps
    raise AssertionError("unreachable")


def _prepared(rows: Rows) -> ImageSet:
    recipe = rows.recipe

    @cache
    def source() -> PictureSource:
        try:
            with _opening:  # one thread lists the files, the others wait
                whole = opened(recipe)
        except DataError as error:
            raise FacebenchError(str(error)) from error  # no fault of each picture: DataErrors are collected
        there = whole.ids[rows.start : rows.start + len(rows.ids)]
        if there != rows.ids or (recipe.annotated and whole.read_mask is None):
            raise FacebenchError(f"{recipe.where} has other pictures, or other masks, than the client's copy")
        return whole

    def read_mask(index: int) -> NDArray[np.bool_]:
        reader = source().read_mask
        assert reader is not None
        return reader(rows.start + index)

    pictures = PictureSource(
        name="rows",
        split=recipe.split,
        ids=rows.ids,
        fingerprint=f"rows {hashlib.sha256(rows.hashes).hexdigest()} {recipe.mask} {recipe.annotated}",
        read=lambda index: source().read(rows.start + index),
        read_mask=read_mask if recipe.annotated else None,
    )
    images = recipe.masked(prepare(pictures, recipe.preprocessing, jobs=recipe.readers(1)))
    images.check()
    return images


def _differing(rows: Rows, images: ImageSet) -> str | None:
    expected = np.frombuffer(rows.hashes, np.uint8).reshape(images.hashes.shape)
    wrong = np.flatnonzero((images.hashes != expected).any(axis=1))
    return rows.ids[int(wrong[0])] if len(wrong) else None
