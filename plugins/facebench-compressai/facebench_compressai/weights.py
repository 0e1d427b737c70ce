"""Weights of CompressAI models: where they are, what identifies them, and the model that they make."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from compressai.models import (
    Cheng2020Anchor,
    Cheng2020Attention,
    CompressionModel,
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from compressai.zoo.image import model_urls
from compressai.zoo.pretrained import load_pretrained

from facebench import CodecError, TrainedOn, WeightsError
from facebench_compressai import DEFAULT_QUALITY

_CLASSES: dict[str, Any] = {
    "bmshj2018-factorized": FactorizedPrior,
    "bmshj2018-factorized-relu": FactorizedPriorReLU,
    "bmshj2018-hyperprior": ScaleHyperprior,
    "mbt2018-mean": MeanScaleHyperprior,
    "mbt2018": JointAutoregressiveHierarchicalPriors,
    "cheng2020-anchor": Cheng2020Anchor,
    "cheng2020-attn": Cheng2020Attention,
}
# Where training scripts put the model's tensors in their checkpoints (compressai.utils.eval_model).
_WRAPPERS = ("network", "state_dict", "model_state_dict")
#: The zoo's documentation names the data set and no split.
_ZOO_TRAINING = TrainedOn("vimeo90k", "train", "")


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint on disk, the SHA-256 of the file, and its training data if known."""

    path: Path
    digest: str
    trained_on: TrainedOn | None


def checkpoint_file(checkpoint: str, quality: int) -> WeightsFile:
    """Return the user's ``checkpoint``, {quality} in its path filled in; raises CodecError or WeightsError."""
    if "{quality}" not in checkpoint and quality != DEFAULT_QUALITY:
        raise CodecError(
            f"compressai: a checkpoint is of one quality: leave it at {DEFAULT_QUALITY}, with --sweep by "
            f"quality={DEFAULT_QUALITY}, or write {{quality}} in the checkpoint's path"
        )
    path = Path(checkpoint.replace("{quality}", str(quality)))
    if not path.is_file():
        raise WeightsError(f"compressai: there is no checkpoint {path}")
    return WeightsFile(path, _digest(path), None)


def zoo_file(model: str, metric: str, quality: int, *, download: bool) -> WeightsFile:
    """Return the zoo's weights from torch's hub cache; fetches them only on ``download``.

    Raises CodecError if the zoo has none, WeightsError if they are missing, damaged or cannot be fetched.
    """
    qualities = model_urls.get(model, {}).get(metric, {})
    if quality not in qualities:
        offered = f"qualities {min(qualities)} to {max(qualities)}" if qualities else "nothing: name a checkpoint"
        raise CodecError(f"compressai: for {model}, {metric}, quality {quality} the zoo has {offered}")
    url = qualities[quality]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    expected = path.name.partition(".")[0].rpartition("-")[2]  # the first digits of its SHA-256
    if not path.is_file():
        if not download:
            raise WeightsError(
                f"compressai: no weights of {model}, {metric}, quality {quality} here: set download=true, or put {url} "
                f"into {path.parent}"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=expected, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"compressai: cannot fetch {url}: {' '.join(str(error).split())}") from error
    digest = _digest(path)
    if not digest.startswith(expected):
        raise WeightsError(f"compressai: {path} is damaged (its SHA-256 does not start with {expected}): remove it")
    return WeightsFile(path, digest, _ZOO_TRAINING)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_model(model: str, path: Path) -> CompressionModel:
    """Return the model of that name with the weights in ``path``, ready to code; raises WeightsError.

    Probability tables in the file are used as they are, since they are integers and the same everywhere; missing ones
    are computed. Nothing in the file is executed.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError(f"compressai: {path} is no checkpoint of tensors alone, or damaged") from error
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    try:
        loaded: CompressionModel = _CLASSES[model].from_state_dict(load_pretrained(state))
        loaded.update()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"compressai: the weights in {path} are not those of a {model}") from error
    return loaded.eval().requires_grad_(False)


def decoder_bytes(model: CompressionModel) -> int:
    """Return the bytes of the parameters that decoding needs: all but those of the two analysis transforms.

    Probability tables are made from them, so they do not count.
    """
    return sum(
        parameter.numel() * parameter.element_size()
        for name, parameter in model.named_parameters()
        if name.partition(".")[0] not in ("g_a", "h_a")
    )
