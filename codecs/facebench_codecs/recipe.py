"""What a learned codec is made of and how it is trained: a recipe is one JSON file in ``recipes/``."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from facebench import SettingError

#: Side of the latent grid; an encoder halves the picture until it is this small.
LATENT_SIDE = 4


@dataclass(frozen=True)
class Recipe:
    """Backbone x loss x discriminator x schedule of one learned codec.

    Sizes: ``widths`` are the channels after each halving of the picture, the first at full resolution / 2;
    the latent has ``latent_channels`` x 4 x 4 values. Losses: ``loss_weight`` times ``loss`` (see
    :mod:`facebench_codecs.losses`, on pictures in [0, 1]) plus ``kl_weight`` times the latent's KL
    divergence from N(0, 1) in nats per picture, plus, where ``discriminator_widths`` is not empty, the
    adversarial loss (binary cross-entropy). Schedule: ``epochs`` passes at a constant learning rate, or, where
    ``epochs`` is None, until the validation loss is flat (:mod:`facebench_codecs.training`).
    """

    codec: str
    widths: tuple[int, ...]
    latent_channels: int
    loss: str
    loss_weight: float
    kl_weight: float
    discriminator_widths: tuple[int, ...]
    epochs: int | None
    batch_size: int
    learning_rate: float
    adam_beta1: float
    mirror: bool

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Make a recipe from a JSON object; raises :class:`facebench.SettingError` on unknown or missing keys."""
        check_keys(cls, values)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def named_recipe(name: str) -> Recipe:
    """Return the shipped recipe of that name, such as ``cvae-flat`` or ``cvae-paper``."""
    return Recipe.from_dict(read_recipe("facebench_codecs", name))


def read_recipe(package: str, name: str) -> dict[str, Any]:
    """Return ``package``'s recipe ``name``, a JSON object; raises :class:`facebench.SettingError` if it has none."""
    folder = Path(str(resources.files(package).joinpath("recipes")))
    file = folder / f"{name}.json"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.json")))
        raise SettingError(f"no recipe '{name}': use one of {known}")
    values: dict[str, Any] = json.loads(file.read_text())
    return values


def check_keys(recipe: type, values: dict[str, Any]) -> None:
    """Raise :class:`facebench.SettingError` unless ``values`` has the fields of the dataclass ``recipe``."""
    if not isinstance(values, dict):
        raise SettingError(f"a recipe is an object, not {values!r:.40}")
    names = {field.name for field in fields(recipe)}
    if wrong := names.symmetric_difference(values):
        raise SettingError(f"recipe: unknown or missing keys {', '.join(sorted(wrong))}")
