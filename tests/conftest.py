"""Fixtures shared by all tests: isolated caches, and real faces where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

# The networks of the tests are too small for a second thread; on a busy machine it only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest

from facebench import TrainingJob
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.plugins import load_registry


@pytest.fixture(scope="session")
def celeba_dir() -> Path:
    """The folder of real CelebA faces (FACEBENCH_DATA, or shared/celeba beside the repository); skips without."""
    repository = Path(__file__).parents[1]
    chosen = Path(os.environ.get("FACEBENCH_DATA") or repository.parent / "shared" / "celeba")
    if not (chosen / "img_align_celeba.zip").is_file():
        pytest.skip("no CelebA here: set FACEBENCH_DATA to the folder with img_align_celeba.zip")
    return chosen


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests away from the user's cache and kept weights."""
    os.environ["FACEBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["FACEBENCH_WEIGHTS"] = str(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def test_faces(celeba_dir: Path) -> ImageSet:
    """The 1,565 real test faces at the defaults."""
    registry = load_registry("")
    options = DataOptions(f"celeba:{celeba_dir}")
    return prepare_chosen(choose_source(options, registry), options, registry, jobs=2)


@pytest.fixture(scope="session")
def small_job(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """A training job on 240 smooth random pictures of 16 pixels, quick to learn."""
    folder = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(0)
    for index in range(240):
        coarse = rng.uniform(0, 255, (3, 3, 3)).astype(np.float32)
        cv2.imwrite(str(folder / f"{index:03}.png"), cv2.resize(coarse, (16, 16), interpolation=cv2.INTER_CUBIC))
    registry = load_registry("")
    options = DataOptions(f"folder:{folder}", size=16, mask="none")
    train, valid = prepare_chosen(choose_source(options, registry), options, registry).cut(10)
    told = {"image_set": "folder", "split": "all", "data_digest": train.digest, "pictures": list(train.ids)}
    return TrainingJob("eigenfaces", train, valid, 0, "cpu", "facebench train", told)
