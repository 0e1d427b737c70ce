"""Large sets prepared by an engine's processes are those that threads prepare, and say the same of what is wrong."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facebench.child import Isolation
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.data.named import Place
from facebench.data.parts import part_reader
from facebench.data.preparation import prepare
from facebench.data.preprocess import Preprocessing
from facebench.data.set_recipe import SetRecipe
from facebench.data.source import PictureSource
from facebench.engines import Engine, local_engine
from facebench.errors import DataError
from facebench.plugins import load_registry

#: Enough for processes to be worth it.
COUNT = 2_100


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    (folder / "face_masks").mkdir()
    rng = np.random.default_rng(5)
    for index in range(COUNT):
        picture = rng.integers(0, 256, (9, 9, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:04}.png"), picture)
        cv2.imwrite(str(folder / "face_masks" / f"{index:04}.png"), picture[..., 0] // 128 * 255)
    return folder


@pytest.fixture
def engine() -> Iterator[Engine]:
    started = local_engine(2, Isolation(60))
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))


def prepared(faces: Path, engine: Engine | None) -> ImageSet:
    registry = load_registry("")
    options = DataOptions(f"folder:{faces}", size=8)
    return prepare_chosen(choose_source(options, registry), options, registry, jobs=2, engine=engine)


def test_processes_prepare_what_threads_do(
    faces: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_threads = prepared(faces, None)
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "another"))
    by_processes = prepared(faces, engine)
    assert by_processes.digest == by_threads.digest
    assert by_processes.images_file != by_threads.images_file
    np.testing.assert_array_equal(by_processes.images, by_threads.images)
    assert by_processes.masks is not None and by_threads.masks is not None
    np.testing.assert_array_equal(by_processes.masks, by_threads.masks)


def test_what_cannot_be_used_is_named(faces: Path, engine: Engine) -> None:
    file = faces / "1234.png"
    good = file.read_bytes()
    file.write_bytes(good[:-9])
    try:
        with pytest.raises(DataError, match=r"1234\.png is not a readable picture \(it is cut off\); remove"):
            prepared(faces, engine)
    finally:
        file.write_bytes(good)


def test_a_set_that_changes_while_it_is_read_is_refused(faces: Path, engine: Engine) -> None:
    registry = load_registry("")
    options = DataOptions(f"folder:{faces}", size=8)
    source = choose_source(options, registry)
    os.utime(faces / "0007.png", ns=(1, 1))
    with pytest.raises(DataError, match="has changed while it was read; run again"):
        prepare_chosen(source, options, registry, engine=engine)


def test_a_disk_that_takes_no_more_is_one_line(faces: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the processes inherit it: for a full disk
    engine = local_engine(2, Isolation(60))
    try:
        with pytest.raises(DataError, match=r"^cannot write the cache .*: File too large; free some space"):
            prepared(faces, engine)
    finally:
        engine.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "cache" / "prepared").iterdir())


def open_deadly(place: Place | None, split: str) -> PictureSource:
    """A set that ends the process of whoever reads its last picture."""

    def read(index: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        if index == COUNT - 1:
            os._exit(3)
        return np.zeros((8, 8, 3), np.uint8)

    return PictureSource("deadly", split, tuple(f"deadly:{index}" for index in range(COUNT)), "deadly", read)


def test_a_reader_that_ends_its_process_is_one_line(engine: Engine, tmp_path: Path) -> None:
    preprocessing = Preprocessing("full", 8)
    recipe = SetRecipe("test_data_parts:open_deadly", None, "all", preprocessing, "annotation", False, None)
    source = recipe.open()
    with pytest.raises(DataError, match="the process that read the image set ended: it exited with status 3;"):
        prepare(source, preprocessing, submit=part_reader(recipe, source, engine))
    assert not list((tmp_path / "cache" / "prepared").iterdir())
