"""Pictures made for the conformance suite: smooth face-like ones, and plain ones that break codecs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def faces(size: tuple[int, int], count: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """Return ``count`` smooth random face-like pictures, (count, height, width, 3) uint8 RGB; none is of a person."""
    random = np.random.default_rng(seed)
    return np.stack([_face(size, random) for _ in range(count)])


def _face(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.uint8]:
    height, width = size
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    picture = random.uniform(30, 220, 3) + 30 * random.normal() * x[..., None] + 20 * random.normal() * y[..., None]
    centre_x, centre_y = random.normal(0, 0.05, 2)
    x, y = x - centre_x, y - centre_y
    skin = np.array([205.0, 160, 135]) * random.uniform(0.55, 1.15)
    hair = random.uniform(10, 110, 3)
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = [
        (_blob(x, y + 0.25, 0.68, 0.72), hair),
        (_blob(x, y, 0.5, 0.66), skin),
        (_blob(x - 0.2, y + 0.12, 0.1, 0.05), skin * 0.25),
        (_blob(x + 0.2, y + 0.12, 0.1, 0.05), skin * 0.25),
        (_blob(x, y - 0.1, 0.06, 0.13), skin * 0.85),
        (_blob(x, y - 0.38, 0.2, 0.05), np.array([160.0, 60, 70])),
    ]
    for cover, colour in parts:
        picture = picture + cover[..., None] * (colour - picture)
    picture = picture + 12 * _smooth_noise(x, y, random)[..., None] + random.normal(0, 2, (height, width, 3))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _blob(x: NDArray[np.float64], y: NDArray[np.float64], radius_x: float, radius_y: float) -> NDArray[np.float64]:
    """Return the soft-edged cover, in [0, 1], of an ellipse around the origin."""
    distance = np.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2)
    return np.asarray(1 / (1 + np.exp(np.clip(12 * (distance - 1), -50, 50))))


def _smooth_noise(x: NDArray[np.float64], y: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a sum of random waves whose height falls with their frequency."""
    total = np.zeros_like(x)
    for frequency in range(1, 9):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        wave = frequency * np.pi * (np.cos(angle) * x + np.sin(angle) * y) + phase
        total += random.normal() / frequency * np.sin(wave)
    return total


def plain(size: tuple[int, int]) -> dict[str, NDArray[np.uint8]]:
    """Return pictures unlike any face, each (height, width, 3) uint8 RGB, by name."""
    height, width = size
    rows, columns = np.indices(size)
    gradient = np.stack([rows * 255 // max(height - 1, 1), columns * 255 // max(width - 1, 1), rows * 0], axis=-1)
    checker = np.repeat(((rows + columns) % 2 * 255)[..., None], 3, axis=-1)
    return {
        "black": np.zeros((*size, 3), np.uint8),
        "white": np.full((*size, 3), 255, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8),
        "gradient": gradient.astype(np.uint8),
        "checker": checker.astype(np.uint8),
    }
