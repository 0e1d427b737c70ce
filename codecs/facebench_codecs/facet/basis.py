"""The linear transform: principal components of the training faces and of their mirror images.

Faces and mirrored faces together have components that are each their own mirror image, up to the sign: half of
each is enough to store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from facebench_codecs.facet.colour import planes_to_vector, rgb_to_planes

#: Matrices up to this wide are decomposed exactly.
_EXACT_WIDTH = 4096


@dataclass(frozen=True)
class Basis:
    """K components of vectors of ``side`` pixels (colour.py), by falling variance.

    ``halves``, (K, 0.75 S S), are the left half of every plane, row by row, of unit length; ``odd`` (K,) bool says
    whose right half is the negative of its mirror image. ``mean`` (0.75 S S,) is the mean's left half; ``deviation``
    (K,) the standard deviation of each coefficient.
    """

    halves: NDArray[np.float32]
    odd: NDArray[np.bool_]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    side: int

    def vectors(self) -> NDArray[np.float32]:
        """Return the components whole, orthonormal rows (K, 1.5 S S)."""
        signs = np.where(self.odd, -1, 1).astype(np.float32)
        return _whole(self.halves, signs, self.side) / np.float32(np.sqrt(2))

    def whole_mean(self) -> NDArray[np.float32]:
        """Return the mean whole, (1.5 S S,)."""
        return _whole(self.mean[None], np.ones(1, np.float32), self.side)[0]


def principal_components(pictures: NDArray[np.uint8], count: int) -> Basis:
    """Return the ``count`` first components of (N, S, S, 3) uint8 pictures and their mirror images."""
    side = pictures.shape[1]
    width = side * side * 3 // 4
    sums = np.zeros(width)
    scatter = [torch.zeros(width, width), torch.zeros(width, width)]
    for start in range(0, len(pictures), 1024):
        batch = torch.from_numpy(pictures[start : start + 1024]).permute(0, 3, 1, 2).float() / 255
        vectors = planes_to_vector(*rgb_to_planes(batch))
        left, right = _halves(vectors.numpy(), side)
        even, odd = (torch.from_numpy(part / np.float32(np.sqrt(2))) for part in (left + right, left - right))
        sums += even.numpy().sum(axis=0, dtype=np.float64)
        scatter[0] += even.T @ even
        scatter[1] += odd.T @ odd
    mean = torch.from_numpy(sums / len(pictures)).float()
    scatter[0] = scatter[0] / len(pictures) - mean[:, None] * mean
    scatter[1] = scatter[1] / len(pictures)
    found = [_eigenpairs(matrix, count) for matrix in scatter]
    variances = torch.cat([values for values, _ in found]).numpy()
    halves = torch.cat([vectors.T for _, vectors in found]).numpy()
    order = np.argsort(-variances)[:count]
    deviation = np.sqrt(np.maximum(variances[order], 1e-10))
    half_mean = mean.numpy() / np.float32(np.sqrt(2))
    return Basis(halves[order], order >= len(found[0][0]), half_mean, deviation.astype(np.float32), side)


def _eigenpairs(matrix: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eigenvalues and unit eigenvectors (columns), at least the ``count`` largest of a covariance matrix."""
    if len(matrix) <= _EXACT_WIDTH:
        return torch.linalg.eigh(matrix)
    # Halko et al. 2011: subspace iteration, a small part of a full decomposition's time.
    vectors, values, _ = torch.svd_lowrank(matrix, q=count + 64, niter=6)
    return values[:count], vectors[:, :count]


def _planes(vectors: NDArray[np.float32], side: int, width: int) -> list[NDArray[np.float32]]:
    """Split vectors of planes that are ``width`` (luma) and ``width / 2`` (chroma) wide into (N, C, h, w) planes."""
    luma = vectors[:, : side * width].reshape(-1, 1, side, width)
    return [luma, vectors[:, side * width :].reshape(-1, 2, side // 2, width // 2)]


def _halves(vectors: NDArray[np.float32], side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the left halves and the mirrored right halves of all planes, both (N, 0.75 S S)."""
    planes = _planes(vectors, side, side)
    left = [plane[..., : plane.shape[-1] // 2].reshape(len(vectors), -1) for plane in planes]
    right = [plane[..., ::-1][..., : plane.shape[-1] // 2].reshape(len(vectors), -1) for plane in planes]
    return np.concatenate(left, 1), np.concatenate(right, 1)


def _whole(halves: NDArray[np.float32], signs: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    parts = []
    for plane in _planes(halves, side, side // 2):
        mirrored = plane[..., ::-1] * signs[:, None, None, None]
        parts.append(np.concatenate([plane, mirrored], axis=-1).reshape(len(halves), -1))
    return np.concatenate(parts, 1)
