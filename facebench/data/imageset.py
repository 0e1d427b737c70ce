"""Prepared image sets: memory-mapped arrays, identified by a digest of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facebench.data.prepared import (
    prepared_rows,
)
from facebench.data.preprocess import Preprocessing

if TYPE_CHECKING:
    from facebench.data.set_recipe import SetRecipe


@dataclass(frozen=True)
class ImageSet:
    """An ordered list of equally sized pictures, ready for codecs.

    ``images`` is (N, size, size, 3) uint8 RGB, ``masks`` (N, size, size) bool or None, both memory-mapped and not
    checked for damage (see :meth:`check`);
    ``hashes`` is (N, 16) uint8, one hash per picture over its id, pixels and mask. ``attributes`` and ``landmarks``
    are those of :class:`facebench.data.source.PictureSource`, landmarks in pixels of the prepared pictures; no digest
    depends on them. ``masker`` is "annotation", or the masker that made the masks as
    :func:`facebench.masks.spec.described` has it. ``recipe`` says how to prepare the same rows elsewhere; None if there
    is no such way.
    """

    name: str
    split: str
    ids: tuple[str, ...]
    identities: tuple[str, ...] | None
    preprocessing: Preprocessing
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None
    hashes: NDArray[np.uint8]
    images_file: Path
    masks_file: Path | None = None
    synthetic: bool = False
    no_mask_reason: str = ""
    masker: str = "annotation"
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    landmarks: NDArray[np.float32] | None = None
    recipe: SetRecipe | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int]:
        """The pictures' (height, width) in pixels."""
        return self.preprocessing.size, self.preprocessing.size

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the pictures' hashes and the preprocessing: equal digests mean equal pixels and masks."""
        state = hashlib.sha256(json.dumps(asdict(self.preprocessing), sort_keys=True).encode())
        state.update(np.ascontiguousarray(self.hashes).tobytes())
        return state.hexdigest()

    def check(self) -> None:
        """Raise :class:`DataError` if a prepared picture or mask has changed on disk; they are removed then."""
        for file in (self.images_file, self.masks_file):
            if file is not None:
                prepared_rows(file)

    def head(self, count: int) -> ImageSet:
        """Return the set of the first ``count`` pictures."""
        return self if count >= len(self) else self._select(slice(count))

    def cut(self, every: int) -> tuple[ImageSet, ImageSet]:
        """Return all pictures but every ``every``-th, and those; for training, not for a run."""
        held_out = np.arange(len(self)) % every == every - 1
        rows = replace(self, recipe=None)  # theirs are not the first rows of what the recipe makes
        return rows._select(~held_out), rows._select(held_out)

    def _select(self, rows: slice | NDArray[np.bool_]) -> ImageSet:
        def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(np.array(names, dtype=object)[rows])

        return replace(
            self,
            ids=chosen(self.ids),
            identities=chosen(self.identities) if self.identities else None,
            images=self.images[rows],
            masks=None if self.masks is None else self.masks[rows],
            hashes=self.hashes[rows],
            attributes={name: values[rows] for name, values in self.attributes.items()},
            landmarks=None if self.landmarks is None else self.landmarks[rows],
        )

    def with_masks(
        self, masks: NDArray[np.bool_] | None, file: Path | None, masker: str, no_mask_reason: str
    ) -> ImageSet:
        """Return the set with other masks, (N, size, size) bool kept in ``file``, or with none."""
        hashes = np.empty_like(self.hashes)
        for index, picture in enumerate(self.hashes):
            state = hashlib.blake2b(picture.tobytes() + masker.encode(), digest_size=16)
            if masks is not None:
                state.update(np.packbits(masks[index]).tobytes())
            hashes[index] = np.frombuffer(state.digest(), np.uint8)
        return replace(
            self, masks=masks, masks_file=file, masker=masker, no_mask_reason=no_mask_reason, hashes=hashes, recipe=None
        )
