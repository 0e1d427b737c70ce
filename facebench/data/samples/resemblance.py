"""How samples compare with real faces: what they cost as JPEG, how near they come to training faces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: Percentiles of the nearest distances at which samples and test faces are compared; 0 is the minimum.
PERCENTILES = (0, 1, 5, 10, 25)
COMPONENTS = 128


def mean_jpeg_bytes(pictures: NDArray[np.uint8], quality: int) -> float:
    """Return the mean JPEG file size in bytes of (N, H, W, 3) uint8 RGB pictures, Huffman tables optimised."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return float(np.mean([cv2.imencode(".jpg", picture[..., ::-1], options)[1].size for picture in pictures]))


@dataclass(frozen=True)
class Distances:
    """Distances to the nearest training face or mirrored training face, one per picture, float32 (N,).

    ``pixels`` is the root mean square difference in grey levels (0..255) over all pixels and channels,
    ``components`` the same over :data:`COMPONENTS` whitened principal components, in standard deviations.
    """

    pixels: NDArray[np.float32]
    components: NDArray[np.float32]

    def at_percentiles(self) -> dict[str, dict[str, float]]:
        """Return both distances at each of :data:`PERCENTILES`, as for ``figures.json``."""
        return {
            name: {f"p{p}": round(float(np.percentile(values, p)), 4) for p in PERCENTILES}
            for name, values in (("pixels", self.pixels), ("components", self.components))
        }


class TrainingFaces:
    """The training faces and their mirror images, ready for nearest-neighbour searches."""

    def __init__(self, faces: NDArray[np.uint8], seed: int = 0) -> None:
        """``faces`` is (N, 64, 64, 3) uint8 RGB; ``seed`` starts the randomised principal component analysis."""
        both = np.concatenate([faces, faces[:, :, ::-1]])
        self._pixels = both.reshape(len(both), -1)
        self._pixel_norms = np.concatenate([_squares(part) for part in _parts(self._pixels)])
        coarse = _coarse(both)
        self._mean = coarse.mean(0)
        coarse -= self._mean
        # Subspace iteration: Halko, Martinsson & Tropp 2011, algorithm 4.4.
        basis = np.random.default_rng(seed).standard_normal((coarse.shape[1], COMPONENTS + 32), np.float32)
        for _ in range(5):
            basis = np.linalg.qr(coarse.T @ (coarse @ basis))[0]
        _, values, rotation = np.linalg.svd(coarse @ basis, full_matrices=False)
        scale = values[:COMPONENTS] / np.sqrt(len(coarse))
        self._whiten = (basis @ rotation[:COMPONENTS].T / scale).astype(np.float32)
        self._codes = coarse @ self._whiten
        self._code_norms = _squares(self._codes)

    def distances(self, pictures: NDArray[np.uint8]) -> Distances:
        """Return the distances from each of ``pictures``, (N, 64, 64, 3) uint8, to the nearest face."""
        rows = pictures.reshape(len(pictures), -1)
        codes = (_coarse(pictures) - self._mean) @ self._whiten
        return Distances(
            _nearest(rows, self._pixels, self._pixel_norms) / np.float32(np.sqrt(rows.shape[1])),
            _nearest(codes, self._codes, self._code_norms) / np.float32(np.sqrt(COMPONENTS)),
        )


def _coarse(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 64, 64, 3) uint8 to (N, 3072) float32: the principal components are of half-size pictures."""
    halved = pictures.reshape(len(pictures), 32, 2, 32, 2, 3).mean((2, 4), dtype=np.float32)
    return np.asarray(halved.reshape(len(pictures), -1), np.float32)


def _parts(rows: NDArray[np.uint8] | NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [rows[start : start + 2048].astype(np.float32) for start in range(0, len(rows), 2048)]


def _squares(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("nd,nd->n", rows, rows), np.float32)


def _nearest(
    rows: NDArray[np.uint8] | NDArray[np.float32],
    faces: NDArray[np.uint8] | NDArray[np.float32],
    norms: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return each row's Euclidean distance to the nearest of ``faces``."""
    wanted = rows.astype(np.float32)
    best = np.full(len(rows), np.inf, np.float32)
    start = 0
    for part in _parts(faces):  # in parts, so that the faces stay uint8 in memory
        reached = norms[start : start + len(part)] - 2 * (wanted @ part.T)
        best = np.minimum(best, reached.min(1))
        start += len(part)
    return np.asarray(np.sqrt(np.maximum(best + _squares(wanted), 0)), np.float32)
