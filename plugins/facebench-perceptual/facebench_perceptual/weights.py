"""Published weights: those that the user has to fetch, checked to be the published ones, and small ones of packages."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from facebench import WeightsError

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that the user fetches.

    ``variable`` is the environment variable with its path; without it the file is looked for where torchvision keeps
    what it fetches. ``digest`` is how the file's SHA-256 begins, in hex, as its publisher says in its name.
    """

    what: str
    file_name: str
    url: str
    variable: str
    digest: str


ALEXNET = PublishedWeights(
    "torchvision's AlexNet",
    "alexnet-owt-7be5be79.pth",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "FACEBENCH_LPIPS_ALEXNET",
    "7be5be79",
)
VGG16 = PublishedWeights(
    "torchvision's VGG16",
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "FACEBENCH_DISTS_VGG16",
    "397923af",
)


def load_published(weights: PublishedWeights) -> Tensors:
    """Return the state dict of the user's file of ``weights``.

    Raises WeightsError if there is none, or if it is not the published one: under a metric's name there are
    only the weights that its definition names.
    """
    path = _path(weights)
    try:
        digest = _sha256(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}; {_advice(weights)}") from error
    if not digest.startswith(weights.digest):
        raise WeightsError(
            f"{path} is not {weights.file_name}: its SHA-256 begins with {digest[:8]}; {_advice(weights)}"
        )
    return load_tensors(path)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex, without holding the file in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _path(weights: PublishedWeights) -> Path:
    given = os.environ.get(weights.variable)
    if given:
        return Path(given)
    kept = Path(torch.hub.get_dir(), "checkpoints", weights.file_name)
    if not kept.is_file():
        raise WeightsError(f"no weights of {weights.what}: {_advice(weights)}")
    return kept


def _advice(weights: PublishedWeights) -> str:
    return f"download {weights.url} and set {weights.variable} to its path"


def torchmetrics_tensors(name: str) -> Tensors:
    """Return the tensors of a file that comes with torchmetrics, named below its functional/image folder.

    It is found without importing that folder's modules, some of which load torchvision where there is one.
    """
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("torchmetrics is not installed: pip install torchmetrics")
    return load_tensors(Path(spec.submodule_search_locations[0], "functional", "image", name))


def load_tensors(path: Path) -> Tensors:
    """Return the tensors of a file that torch.save() wrote, on the CPU, as float32; raises WeightsError."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.detach().float() for name, tensor in found.items()}
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} is not a file of weights: {reason}") from error
