"""How facet is trained: one JSON file in ``recipes/`` per tune and picture size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facebench_codecs.facet.network import Shape
from facebench_codecs.recipe import check_keys, read_recipe


@dataclass(frozen=True)
class FacetRecipe:
    """Objective and schedule of one tune.

    The objective of a picture at rate r in [0, 1] is ``D + lambda(r) x payload bytes``, weighted by
    ``lambda(r) ** -rate_weight``; lambda falls geometrically from ``lambda_high`` at r = 0 to ``lambda_low`` at
    r = 1. D = ``ssim`` x (1 - SSIM) + ``l1`` x MAE + ``l2`` x MSE + ``identity`` x distance of the recogniser's
    features, pictures in [0, 1]. ``start`` names the tune whose networks it starts from, or is empty;
    ``frozen_analysis`` keeps that tune's analysis and steps.

    ``steps`` of ``batch_size`` pictures, each with a rate of its own; Adam, ``learning_rate`` after 300 steps of
    warming up falls by a half cosine to 2 % of itself.
    """

    tune: str
    start: str
    frozen_analysis: bool
    shape: Shape
    ssim: float
    l1: float
    l2: float
    identity: float
    lambda_high: float
    lambda_low: float
    rate_weight: float
    steps: int
    batch_size: int
    learning_rate: float

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FacetRecipe:
        """Make a recipe from a JSON object; raises :class:`facebench.SettingError` on unknown or missing keys."""
        check_keys(cls, values)
        return cls(**{**values, "shape": Shape(**values["shape"])})


def named_recipe(tune: str, side: int) -> FacetRecipe:
    """Return the shipped recipe for ``tune`` at pictures of ``side`` pixels."""
    return FacetRecipe.from_dict(read_recipe("facebench_codecs.facet", f"{tune}-{side}"))
