"""The masker ``faceparser``: face masks of any pictures, found by the shipped network.

Float32 convolutions differ in their last bits with the number of pictures and threads, and from one CPU to another,
and masks are part of an image set's digest. So a picture with a pixel whose score is too near to 0 for float32 is
decided in float64: there they differ too, but a billion times less.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.masks.parser.weights import SHIPPED, load_weights

if TYPE_CHECKING:
    from torch import Tensor

#: Scores of smaller magnitude, in nats, are computed in float64. Float32's are off by a tenth of that at most.
UNSURE = 1e-4
#: Pictures that go through the network together, and pixels that are held at once where pictures are large.
_GROUP, _PIXELS = 32, 2**22


def face_masks(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the face masks, (N, H, W) bool, of pictures, (N, H, W, 3) uint8 RGB: face and hair as the paper has it.

    Hair, and face skin with eyes, brows, nose and mouth, without ears and neck (Toledo & Antonelo 2021). The pictures
    are looked at with 64x64 pixels, framed as CelebA's centre 148: the face fills most of them. A mask does not
    depend on the pictures beside it. Raises ValueError on other arrays, :class:`facebench.errors.WeightsError` if the
    shipped weights are damaged.
    """
    return shipped()(pictures)


@cache
def shipped() -> FaceMasker:
    """Return the masker of the shipped weights, loaded once in this process."""
    return FaceMasker(SHIPPED)


class FaceMasker:
    """The network of one weights file; importing torch takes a second, and is done here."""

    def __init__(self, weights: Path) -> None:
        """Load ``weights``; raises :class:`facebench.errors.WeightsError` if they are damaged."""
        import torch

        from facebench.masks.parser.folding import with_tensors

        self._fast = with_tensors(load_weights(weights), weights).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._exact = copy.deepcopy(self._fast).double()

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return the masks; see :func:`face_masks`."""
        _check(pictures)
        masks = np.empty(pictures.shape[:3], np.bool_)
        group = max(1, min(_GROUP, _PIXELS // (pictures.shape[1] * pictures.shape[2])))
        for start in range(0, len(pictures), group):
            part = pictures[start : start + group]
            scores = self.scores(part)
            masks[start : start + group] = scores > 0
            unsure = np.flatnonzero((np.abs(scores) < UNSURE).any((1, 2)))
            if len(unsure):
                masks[start + unsure] = self.scores(part[unsure], exact=True) > 0
        return masks

    def scores(self, pictures: NDArray[np.uint8], *, exact: bool = False) -> NDArray[np.floating[Any]]:
        """Return by how much each pixel is likelier face or hair than not, (N, H, W) in nats.

        ``exact`` computes in float64, otherwise in float32. Where H or W is not 64, scores are resized linearly.
        """
        import torch
        from torch.nn.functional import interpolate

        from facebench.masks.parser.network import SIDE, mask_score

        with torch.inference_mode():
            scores = mask_score(self._logits(pictures, exact=exact))
            if pictures.shape[1:3] != (SIDE, SIDE):
                size = list(pictures.shape[1:3])
                scores = interpolate(scores[:, None], size, mode="bilinear", antialias=True)[:, 0]
            return np.asarray(scores.numpy())

    def classes(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the likeliest of :data:`facebench.masks.parser.network.CLASSES` at 64x64, (N, 64, 64)."""
        import torch

        with torch.inference_mode():
            parts = [pictures[start : start + _GROUP] for start in range(0, len(pictures), _GROUP)]
            found = [self._logits(part, exact=False).argmax(1).to(torch.uint8) for part in parts]
            return np.asarray(torch.cat(found).numpy())

    def _logits(self, pictures: NDArray[np.uint8], *, exact: bool) -> Tensor:
        import torch

        small = torch.from_numpy(np.stack([_small(picture) for picture in pictures]))
        number = small.permute(0, 3, 1, 2).to(torch.float64 if exact else torch.float32) / 255
        logits: Tensor = (self._exact if exact else self._fast)(number)
        return logits


def _check(pictures: NDArray[np.uint8]) -> None:
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3 or 0 in pictures.shape[1:3]:
        raise ValueError(f"pictures must be (N, H, W, 3) uint8, not {pictures.shape} {pictures.dtype}")


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of any size at 64x64: where it is larger, means over areas."""
    from facebench.masks.parser.network import SIDE

    height, width = picture.shape[:2]
    if max(height, width) > SIDE:
        shrunk = (min(width, SIDE), min(height, SIDE))
        picture = np.asarray(cv2.resize(picture, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
    if min(height, width) < SIDE:
        picture = np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)
    return picture
