"""The face parser as it is used and shipped: each normalisation is part of the convolution before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from facebench.errors import WeightsError
from facebench.masks.parser.network import FaceParser


def folded(network: FaceParser) -> FaceParser:
    """Return a copy of ``network``, float32, that gives the same logits as ``network`` in evaluation mode."""
    made = copy.deepcopy(network).eval().double()
    for block in [module for module in made.modules() if isinstance(module, nn.Sequential)]:
        for index, (layer, after) in enumerate(pairwise(list(block))):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                block[index], block[index + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return made.float()


def tensors_of(network: FaceParser) -> dict[str, NDArray[np.float16]]:
    """Return the tensors of a folded network by name, as they are shipped."""
    return {name: tensor.detach().half().contiguous().numpy() for name, tensor in network.state_dict().items()}


def with_tensors(tensors: Mapping[str, NDArray[np.float16]], path: Path) -> FaceParser:
    """Return the folded network, float32, of ``tensors``; raises :class:`WeightsError` unless they fit.

    ``path`` is where they are from.
    """
    with torch.device("meta"):  # draws no random numbers, which may be somebody's
        network = folded(FaceParser())
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise WeightsError(f"weights {path} are for another network than this face parser; install facebench again")
    floats = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in tensors.items()}
    network.load_state_dict(floats, assign=True)
    return network.requires_grad_(False)
