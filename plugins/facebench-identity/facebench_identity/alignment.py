"""Where the face is: looked for in the original picture alone, by dlib, and taken to be there in the decoded one.

A detector that has to find the face in the decoded picture would drop just the pictures that a codec damages most.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from facebench import WholeSet
from facebench_identity.models import LANDMARKS_5, model_file
from facebench_identity.network import SIDE

#: Side in pixels at which faces are detected and cut out; dlib's detector misses faces below 80 pixels.
WORKING_SIDE = 256
#: Padding of the network's input, as dlib trained it.
CHIP_PADDING = 0.25
#: The detector's threshold: below dlib's 0, for faces turned away; the best rectangle is taken.
DETECTOR_THRESHOLD = -0.5
#: Left, top, right and bottom of the face if none is detected, in parts of the picture's side: the median of what is
#: detected in facebench's validation pictures of CelebA.
FALLBACK = (0.176, 0.305, 0.824, 0.953)
#: Names the kept rectangles: raise it whenever one of the above changes.
_KEPT = "face-rectangles-1"


def working_copy(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``picture``, (H, W, 3) uint8, at the working size."""
    filter = cv2.INTER_CUBIC if max(picture.shape) <= WORKING_SIDE else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (WORKING_SIDE, WORKING_SIDE), interpolation=filter), np.uint8)


def kept_rectangles(whole: WholeSet) -> NDArray[np.int64]:
    """Return the rectangles of all originals, (M, 4), as :func:`face_rectangles` does; found once per image set."""
    rectangles: NDArray[np.int64] = whole.kept(_KEPT, face_rectangles)
    return rectangles


def face_rectangles(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return left, top, right and bottom of each picture's face at the working size, (N, 4); -1 where none is found.

    ``pictures`` is (N, H, W, 3) uint8 RGB. Of several the one of which dlib's frontal detector is surest is taken.
    """
    found = np.full((len(pictures), 4), -1, np.int64)
    for index, picture in enumerate(pictures):
        rectangles, scores, _ = _detector().run(working_copy(picture), 0, DETECTOR_THRESHOLD)
        if len(rectangles):
            best = rectangles[int(np.argmax(scores))]
            found[index] = best.left(), best.top(), best.right(), best.bottom()
    return found


def was_found(rectangle: NDArray[np.int64]) -> bool:
    """Return whether there is a face in a rectangle, (4,), that :func:`face_rectangles` gave."""
    return bool(rectangle[0] < rectangle[2])


def face_chip(
    original: NDArray[np.uint8], picture: NDArray[np.uint8], rectangle: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the face of ``picture`` as the network takes it, (150, 150, 3), by 5 landmarks of ``original``.

    Both are (H, W, 3) uint8 RGB; they may be the same. Where no face was found in the original, the fixed rectangle
    serves.
    """
    if not was_found(rectangle):
        rectangle = np.array([round(part * WORKING_SIDE) for part in FALLBACK])
    landmarks = _landmarker()(working_copy(original), dlib.rectangle(*map(int, rectangle)))
    return np.asarray(dlib.get_face_chip(working_copy(picture), landmarks, SIDE, CHIP_PADDING), np.uint8)


@lru_cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@lru_cache
def _landmarker() -> Any:
    return dlib.shape_predictor(str(model_file(LANDMARKS_5)))
