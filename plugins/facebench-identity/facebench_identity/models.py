"""Where dlib's trained models lie: in the package face_recognition_models."""

from __future__ import annotations

import importlib.util
from pathlib import Path

NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS_5 = "shape_predictor_5_face_landmarks.dat"
LANDMARKS_68 = "shape_predictor_68_face_landmarks.dat"


def model_file(name: str) -> Path:
    """Return the file of one of dlib's models; raises ModuleNotFoundError if face_recognition_models is not installed.

    It is found without importing that package, which asks for a pkg_resources that current setuptools lack.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("face_recognition_models is not installed: pip install face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / "models" / name
