"""How facet is trained: one JSON file in ``recipes/`` per tune and picture size."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from facebench import SettingError
from facebench_codecs.facet.network import Shape


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
        names = {field.name for field in fields(cls)}
        if wrong := names.symmetric_difference(values):
            raise SettingError(f"facet recipe: unknown or missing keys {', '.join(sorted(wrong))}")
        return cls(**{**values, "shape": Shape(**values["shape"])})


def named_recipe(tune: str, side: int) -> FacetRecipe:
    """Return the shipped recipe for ``tune`` at pictures of ``side`` pixels."""
    folder = Path(str(resources.files("facebench_codecs.facet").joinpath("recipes")))
    file = folder / f"{tune}-{side}.json"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.json")))
        raise SettingError(f"facet has no recipe '{tune}' for {side} pixels: there are {known}")
    return FacetRecipe.from_dict(json.loads(file.read_text()))
