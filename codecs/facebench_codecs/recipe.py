"""What a learned codec is made of and how it is trained: a recipe is one JSON file in ``recipes/``."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from facebench import SettingError

CROSS_ENTROPY, HINGE = "cross-entropy", "hinge"
#: What training does with face masks.
MASKS = ("none", "face", "pasted")
CONSTANT, COSINE = "constant", "cosine"
#: The backbone whose latent comes in groups (:mod:`facebench_codecs.hierarchical`), and their prior.
HIERARCHICAL, CONDITIONAL = "hierarchical", "conditional"


@dataclass(frozen=True)
class Recipe:
    """Backbone x losses x quantiser x prior x mask x discriminator x schedule of one learned codec.

    Sizes: ``backbone`` is one of :data:`facebench_codecs.networks.BACKBONES`, which say what ``widths`` are; the latent
    has ``latent_channels`` x ``latent_side`` x ``latent_side`` values. That is the first group of the latent of the
    backbone "hierarchical" (:mod:`facebench_codecs.hierarchical`); further groups, each of twice the side, have
    ``finer_channels`` channels, and its prior is "conditional".

    Losses: ``loss_weight`` times ``loss`` (a sum of :mod:`facebench_codecs.losses`) plus ``kl_weight`` times the
    latent's KL divergence from N(0, 1) in nats per picture, plus, where ``discriminator_widths`` is not empty, the
    adversarial loss (:mod:`facebench_codecs.adversary`).

    The loss "perceptual" compares features of the network ``features`` (:mod:`facebench_codecs.features`).

    Prior: "gaussian", or "mixture" of ``components`` Gaussians that are learned too: then the KL divergence is from
    that; :mod:`facebench_codecs.coding` says how each becomes bytes.

    Quantiser: "uniform", of the latent's values after training, or "residual-vq" of its vectors with ``stages``
    codebooks of ``codes`` vectors (:mod:`facebench_codecs.quantiser`), whose prior is "context"; ``kl_weight`` is then
    the weight of the commitment loss.

    Masks: with ``mask`` "face" the reconstruction loss is over face pixels; with "pasted" it is over the whole picture
    after the original outside the face has been pasted over the reconstruction (Toledo & Antonelo 2021). With either,
    such pasted pictures are what a discriminator judges. A ``mask_decoder_width`` other than 0 adds a decoder of that
    width from the same latent to the mask, trained by binary cross-entropy + Dice.

    Schedule: ``epochs`` passes or ``steps`` batches, or, where both are None, until the validation loss is flat
    (:mod:`facebench_codecs.training`). The learning rate of a schedule of known length is "constant", or falls to 0
    along a half "cosine" (Loshchilov & Hutter 2017). Where ``clip_norm`` is not None, gradients are scaled down to that
    norm.
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
    # What older weights files do not name.
    backbone: str = "strided"
    latent_side: int = 4
    prior: str = "gaussian"
    components: int = 0
    quantiser: str = "uniform"
    stages: int = 0
    codes: int = 0
    finer_channels: tuple[int, ...] = ()
    features: str = ""
    mask: str = "none"
    mask_decoder_width: int = 0
    steps: int | None = None
    decay: str = CONSTANT
    clip_norm: float | None = None
    adversarial_loss: str = CROSS_ENTROPY
    adversarial_weight: float = 1.0
    discriminator_rate: float | None = None
    discriminator_steps: int = 1
    label_smoothing: float = 0.0
    spectral_norm: bool = False
    discriminator_range: float = 1.0

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise SettingError(f"recipe: no mask '{self.mask}': use one of {', '.join(MASKS)}")
        if ("perceptual" in self.loss) != bool(self.features):
            raise SettingError("recipe: the loss perceptual and features go together")
        if self.latent_side < 1 or self.latent_channels < 1:
            raise SettingError("recipe: a latent has at least one value")
        vectors = self.quantiser == "residual-vq"
        if self.quantiser not in ("uniform", "residual-vq") or vectors != (self.prior == "context"):
            raise SettingError("recipe: the quantiser is uniform, or residual-vq with the prior context")
        if vectors != (self.stages > 0) or vectors != (self.codes > 1):
            raise SettingError("recipe: stages and codes are those of residual-vq")
        grouped = self.backbone == HIERARCHICAL
        if grouped != (self.prior == CONDITIONAL) or grouped != bool(self.finer_channels):
            raise SettingError(
                "recipe: finer channels and the prior conditional are those of the backbone hierarchical"
            )
        if grouped and (self.mask_decoder_width or min(self.finer_channels) < 1):
            raise SettingError(
                "recipe: a hierarchical backbone has at least one channel per group, and no mask decoder"
            )
        if (self.prior == "mixture") != (self.components > 0):
            raise SettingError("recipe: components are those of a mixture")
        if self.adversarial_loss not in (CROSS_ENTROPY, HINGE):
            known = f"{CROSS_ENTROPY} or {HINGE}"
            raise SettingError(f"recipe: no adversarial loss '{self.adversarial_loss}': use {known}")
        if self.epochs is not None and self.steps is not None:
            raise SettingError("recipe: name epochs or steps, not both")
        if self.decay not in (CONSTANT, COSINE):
            raise SettingError(f"recipe: no decay '{self.decay}': use {CONSTANT} or {COSINE}")
        if self.decay == COSINE and self.epochs is None and self.steps is None:
            raise SettingError(f"recipe: the decay {COSINE} needs epochs or steps to end at")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latent."""
        return self.latent_channels, self.latent_side, self.latent_side

    @property
    def needs_masks(self) -> bool:
        """Whether training needs face masks."""
        return self.mask != "none" or self.mask_decoder_width > 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Make a recipe from a JSON object; raises :class:`facebench.SettingError` on unknown or missing keys."""
        check_keys(cls, values)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def named_recipe(name: str) -> Recipe:
    """Return the shipped recipe of that name, such as ``cvae-flat`` or ``cvae-paper``."""
    return Recipe.from_dict(read_recipe("facebench_codecs", name))


def recipes_of(codec: str) -> list[str]:
    """Return the names of ``codec``'s shipped recipes, "flat" before others; the first is its default."""
    folder = Path(str(resources.files("facebench_codecs").joinpath("recipes")))
    files = [file for file in folder.glob(f"{codec}-*.json") if json.loads(file.read_text())["codec"] == codec]
    return sorted((file.stem.removeprefix(f"{codec}-") for file in files), key=lambda name: (name != "flat", name))


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
    """Raise :class:`facebench.SettingError` unless ``values`` has the fields of a dataclass, but for defaults."""
    if not isinstance(values, dict):
        raise SettingError(f"a recipe is an object, not {values!r:.40}")
    names = {field.name for field in fields(recipe)}
    optional = {field.name for field in fields(recipe) if field.default is not MISSING}
    if wrong := names.symmetric_difference(values) - (optional - values.keys()):
        raise SettingError(f"recipe: unknown or missing keys {', '.join(sorted(wrong))}")
