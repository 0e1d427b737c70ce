"""How an image set was made, small enough to be sent to whoever prepares pictures of it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from facebench.data.imageset import ImageSet
from facebench.data.named import Place, is_url
from facebench.data.preprocess import Preprocessing
from facebench.data.source import PictureSource
from facebench.data.storage import URL_READERS, shown
from facebench.hookspecs import MaskerSpec
from facebench.masks.masker import apply_masker
from facebench.plugins import load_object

#: What ``--mask`` may say beside a masker's name. "auto" is the annotation where there is one, else the face parser.
AUTO, ANNOTATION, NO_MASK = "auto", "annotation", "none"


@dataclass(frozen=True)
class SetRecipe:
    """How an image set was made: small and picklable, so that a worker elsewhere can prepare pictures of it too.

    ``target`` is :class:`facebench.hookspecs.ImageSetSpec`'s; ``place`` an absolute path, a URL, or None for a set
    that needs neither. ``mask`` is that of :class:`DataOptions` but never "auto", and ``masker`` the masker of
    that name; ``annotated`` says whether the set's own masks are taken.
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
        if self.mask == ANNOTATION or source.read_mask is None:
            return source
        return replace(source, read_mask=None, fingerprint=f"{source.fingerprint} without masks")

    def masked(
        self,
        images: ImageSet,
        progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
    ) -> ImageSet:
        """Return prepared pictures of :meth:`unmasked` with the masks that are wanted, made with ``progress``."""
        if self.masker is not None:
            return apply_masker(images, self.masker, progress)
        if self.mask == NO_MASK:
            return images.with_masks(None, None, "none", "masks were switched off by --mask none")
        return images

    @property
    def remote(self) -> bool:
        """Whether the set is read from a URL."""
        return self.place is not None and is_url(self.place)

    def readers(self, jobs: int) -> int:
        """Return how many threads read the set at once, where ``jobs`` would prepare a set of this machine."""
        return max(jobs, URL_READERS) if self.remote else jobs


@lru_cache(maxsize=4)
def opened(recipe: SetRecipe) -> PictureSource:
    """Return :meth:`SetRecipe.open`, once in this process until ``opened.cache_clear()``."""
    return recipe.open()
