"""Landmark error: how far the 68 points of the face moved (Sagonas et al. 2013: normalised by the outer eye corners).

The predictor is dlib's (Kazemi & Sullivan 2014), started in the same rectangle in both pictures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from facebench import WholeSet
from facebench_identity.alignment import kept_rectangles, was_found, working_copy
from facebench_identity.models import LANDMARKS_68, model_file

#: The outer corners of the two eyes among the 68 points, counted from 0.
OUTER_EYE_CORNERS = (36, 45)


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None, whole: WholeSet
) -> dict[str, NDArray[np.float64]]:
    """Return the column Landmark-NME, (1, N) float64, NaN where no face was found in the original.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 RGB. The points outline the whole face, so that ``masks``
    change nothing.
    """
    errors = np.full(len(decoded), np.nan)
    for index, rectangle in enumerate(kept_rectangles(whole)[whole.rows]):
        if was_found(rectangle):
            before, after = (landmarks(pictures[index], rectangle) for pictures in (originals, decoded))
            errors[index] = normalised_mean_error(before, after)
    return {"Landmark-NME": errors[None]}


def normalised_mean_error(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the mean distance of the points, (68, 2) each, divided by that of the outer eye corners ``before``.

    NaN if those are one point.
    """
    left, right = OUTER_EYE_CORNERS
    eyes = np.linalg.norm(before[left] - before[right])
    return float(np.linalg.norm(after - before, axis=1).mean() / eyes) if eyes else float("nan")


def landmarks(picture: NDArray[np.uint8], rectangle: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the 68 points, x and y, (68, 2), of the face at ``rectangle`` at the working size."""
    found = _landmarker()(working_copy(picture), dlib.rectangle(*map(int, rectangle)))
    return np.array([(point.x, point.y) for point in found.parts()], np.float64)


@lru_cache
def _landmarker() -> Any:
    return dlib.shape_predictor(str(model_file(LANDMARKS_68)))
