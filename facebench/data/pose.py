"""Pose and size of faces from five landmarks, in CelebA's order.

The points are left eye, right eye, nose, left and right corner of the mouth; left and right as seen in the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The number of landmarks that have a known order.
POINTS = 5


def yaw(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each face of ``landmarks``, (N, 5, 2), is turned to the side, (N,); NaN without two eyes.

    The nose's offset from the midpoint of the eyes along the line through them, in eye distances: 0 is frontal,
    positive where the nose points to the picture's right. Roll does not change it, nor does the size of the face.
    """
    left, right, nose = landmarks[:, 0], landmarks[:, 1], landmarks[:, 2]
    across = right - left
    offset = nose - (left + right) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((offset * across).sum(axis=1) / (across**2).sum(axis=1), np.float32)


def face_size(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance between the midpoints of eyes and mouth of each face, (N,), in pixels, from (N, 5, 2).

    Not between the eyes: aligned sets fix that. In those it tells long faces from short ones rather than near from
    far, and a turned face, whose eyes are closer together, is drawn larger.
    """
    between = landmarks[:, 3:5].mean(axis=1) - landmarks[:, 0:2].mean(axis=1)
    return np.asarray(np.hypot(between[:, 0], between[:, 1]), np.float32)
