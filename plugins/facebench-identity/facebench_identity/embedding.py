"""dlib's face embedding (King 2017, dlib_face_recognition_resnet_model_v1), aligned by the original picture alone.

A detector that has to find the face in the decoded picture would drop just the pictures that a codec damages most.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

#: Side in pixels at which faces are detected and cut out; dlib's detector misses faces below 80 pixels.
WORKING_SIDE = 256
#: Side and padding of the network's input, as dlib trained it.
CHIP_SIDE, CHIP_PADDING = 150, 0.25
#: The detector's threshold: below dlib's 0, for faces turned away; the best rectangle is taken.
DETECTOR_THRESHOLD = -0.5
#: Left, top, right and bottom of the face if none is detected, in parts of the picture's side: the median of what is
#: detected in facebench's validation pictures of CelebA.
FALLBACK = (0.176, 0.305, 0.824, 0.953)


def embeddings(originals: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the embeddings of ``pictures``, (N, 128), each aligned as the original of the same place.

    Both are (N, H, W, 3) uint8 RGB.
    """
    found = np.empty((len(pictures), 128))
    for index, (original, picture) in enumerate(zip(originals, pictures, strict=True)):
        landmarks = face_landmarks(working_copy(original))
        found[index] = embedding(working_copy(picture), landmarks)
    return found


def working_copy(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``picture``, (H, W, 3) uint8, at the working size."""
    filter = cv2.INTER_CUBIC if max(picture.shape) <= WORKING_SIDE else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (WORKING_SIDE, WORKING_SIDE), interpolation=filter), np.uint8)


def face_landmarks(picture: NDArray[np.uint8]) -> Any:
    """Return dlib's 5 landmarks of the face in a picture of the working size: its best, or where one usually is."""
    rectangles, scores, _ = _detector().run(picture, 0, DETECTOR_THRESHOLD)
    if len(rectangles):
        rectangle = rectangles[int(np.argmax(scores))]
    else:
        rectangle = dlib.rectangle(*(round(part * WORKING_SIDE) for part in FALLBACK))
    return _landmarker()(picture, rectangle)


def embedding(picture: NDArray[np.uint8], landmarks: Any) -> NDArray[np.float64]:
    """Return the 128-value embedding of the face at ``landmarks`` in a picture of the working size."""
    chip = dlib.get_face_chip(picture, landmarks, CHIP_SIDE, CHIP_PADDING)
    return np.array(_network().compute_face_descriptor(chip))


@lru_cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@lru_cache
def _landmarker() -> Any:
    return dlib.shape_predictor(str(_models() / "shape_predictor_5_face_landmarks.dat"))


@lru_cache
def _network() -> Any:
    return dlib.face_recognition_model_v1(str(_models() / "dlib_face_recognition_resnet_model_v1.dat"))


def _models() -> Path:
    """Return the folder of dlib's models; raises ModuleNotFoundError if face_recognition_models is not installed.

    It is found without importing that package, which asks for a pkg_resources that current setuptools lack.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("face_recognition_models is not installed: pip install face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / "models"
