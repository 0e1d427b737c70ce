"""Which of many drawn candidates become samples: plausible masks, ordinary features, no nearness to real people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.data.samples.resemblance import PERCENTILES, Distances


@dataclass(frozen=True)
class SelectionRules:
    """The automatic rules; they are applied in this order and take the candidates as they were drawn."""

    #: Face areas (share of the picture) outside these percentiles of the training masks' are implausible.
    area_percentiles: tuple[float, float] = (2.0, 98.0)
    #: The share of candidates with the most unusual features that is dropped. Real faces are heavy-tailed: most are
    #: nearer to the mean than draws from a Gaussian of the same variance, which look odd out there.
    dropped_as_atypical: float = 0.65


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part of ``mask``, (H, W), with its holes filled."""
    if not mask.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    face = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    framed = np.pad(~face, 1, constant_values=True).astype(np.uint8)
    outside = cv2.connectedComponents(framed, connectivity=4)[1] == 1
    return np.asarray(~outside[1:-1, 1:-1], np.bool_)


def without_strands(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return ``mask``, (H, W), without what is under three pixels wide, cleaned again."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return clean_mask(opened > 0)


def choose(
    masks: NDArray[np.bool_],
    atypicality: NDArray[np.float32],
    distances: Distances,
    *,
    training_areas: NDArray[np.float64],
    test_distances: Distances,
    count: int,
    rules: SelectionRules,
) -> list[int]:
    """Return the indices of the chosen candidates, at most ``count``, in the order in which they were drawn.

    ``masks`` (N, 64, 64) bool, ``atypicality`` (N,) and ``distances`` to the training faces belong to the
    candidates; ``training_areas`` are the training masks' shares of the picture. A candidate is passed over if it
    is nearer to a training face than any test face is, or if with it more samples than test faces, in proportion,
    would lie below one of the test distances' percentiles: samples must not crowd around training faces.
    """
    low, high = np.percentile(training_areas, rules.area_percentiles)
    areas = masks.mean((1, 2))
    plausible = (areas >= low) & (areas <= high) & (masks[:, 24:48, 24:40].mean((1, 2)) > 0.95)
    ordinary = atypicality <= np.quantile(atypicality[plausible], 1 - rules.dropped_as_atypical)
    pairs = ((distances.pixels, test_distances.pixels), (distances.components, test_distances.components))
    below = np.stack([own < np.percentile(test, p) for own, test in pairs for p in PERCENTILES])
    # Rounded down, less one for the percentiles' interpolation between two samples.
    allowed = np.array([max(0, int(count * p / 100) - 1) for _ in pairs for p in PERCENTILES])
    used = np.zeros_like(allowed)
    chosen: list[int] = []
    for index in np.flatnonzero(plausible & ordinary):
        if len(chosen) < count and np.all(used + below[:, index] <= allowed):
            used += below[:, index]
            chosen.append(int(index))
    return chosen
