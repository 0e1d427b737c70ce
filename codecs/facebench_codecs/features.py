"""The networks whose features the loss "perceptual" compares, by a recipe's ``features``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from facebench import SettingError, TrainingJob
from facebench_codecs.losses import Features
from facebench_codecs.parallel import Processes
from facebench_codecs.recipe import Recipe
from facebench_codecs.recogniser import recogniser_for

#: Small, as each training step runs it twice and differentiates it.
_WIDTHS = (16, 32, 64, 96)
#: Where VGG-19's relu1_1, relu2_1 and relu3_1 are: what Hou et al. 2017 compare in their "VAE-123".
_VGG_LAYERS = (1, 6, 11)
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def features_for(recipe: Recipe, job: TrainingJob, checkpoint: Path, processes: Processes) -> Features | None:
    """Return the frozen network of ``recipe``, or None where it has none.

    "recogniser" is trained first, on the people of ``job``'s pictures; "vgg19" takes torchvision's weights of ImageNet,
    as in the paper. Raises :class:`facebench.SettingError` if there is no such network, or it cannot be had here.
    """
    if not recipe.features:
        return None
    if recipe.features == "recogniser":
        return recogniser_for(job, checkpoint, processes, _WIDTHS).maps
    if recipe.features == "vgg19":
        return _Vgg19().to(job.device).maps
    raise SettingError(f"recipe: no features '{recipe.features}': use recogniser or vgg19")


class _Vgg19(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        try:
            models = importlib.import_module("torchvision.models")  # only those who have it can use it
            layers = models.vgg19(weights="IMAGENET1K_V1").features[: _VGG_LAYERS[-1] + 1]
        except (ImportError, RuntimeError, OSError) as error:  # not there, made for another torch, or no network
            why = " ".join(str(error).split())[:200]
            raise SettingError(f"recipe: features vgg19 need torchvision and its weights of VGG-19 ({why})") from None
        self.layers = layers.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).reshape(1, 3, 1, 1))

    def maps(self, pictures: Tensor) -> Sequence[Tensor]:
        values, found = (pictures - self.mean) / self.deviation, []
        for number, layer in enumerate(self.layers):
            values = layer(values)
            if number in _VGG_LAYERS:
                found.append(values.clone())  # the next layer may work in place
        return found
