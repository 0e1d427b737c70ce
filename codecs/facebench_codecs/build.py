"""What the names in a recipe stand for: its network and the coding of its latent."""

from __future__ import annotations

from typing import Any

from facebench import SettingError
from facebench_codecs.coding import Coding, ContextCoding, MixtureCoding, StaticCoding
from facebench_codecs.hierarchical import HierarchicalAutoencoder
from facebench_codecs.hierarchical_coding import HierarchicalCoding
from facebench_codecs.networks import Autoencoder, LatentModel
from facebench_codecs.recipe import HIERARCHICAL, Recipe

#: The coding by a recipe's ``prior``.
CODINGS: dict[str, type[Coding[Any]]] = {
    "gaussian": StaticCoding,
    "mixture": MixtureCoding,
    "context": ContextCoding,
    "conditional": HierarchicalCoding,
}


def build_model(recipe: Recipe, side: int) -> LatentModel:
    """Return the untrained network of a recipe for pictures of ``side`` pixels.

    Raises :class:`facebench.SettingError` if the recipe names no backbone, ValueError on a size that it cannot have.
    """
    return HierarchicalAutoencoder(recipe, side) if recipe.backbone == HIERARCHICAL else Autoencoder(recipe, side)


def coding_of(recipe: Recipe) -> type[Coding[Any]]:
    """Return the coding of a recipe's prior; raises :class:`facebench.SettingError` if there is none."""
    if recipe.prior not in CODINGS:
        raise SettingError(f"recipe: no prior '{recipe.prior}': use one of {', '.join(CODINGS)}")
    return CODINGS[recipe.prior]
