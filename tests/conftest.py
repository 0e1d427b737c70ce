"""Fixtures shared by all tests: isolated caches, and real faces where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
