"""Prepared pictures, masks and what metrics keep: damage is noticed, named, and made good by the next run."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facebench import WholeSet
from facebench.cli import main
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.data.preparation import prepare
from facebench.data.prepared import DamagedArray, RowsFile, checked_rows, map_rows, prepared_rows, save_rows
from facebench.data.preprocess import Preprocessing
from facebench.data.source import PictureSource
from facebench.errors import DataError, PluginError
from facebench.hookspecs import MaskerSpec
from facebench.masks.masker import apply_masker
from facebench.paths import kept_array_path
from facebench.plugins import load_registry

ROWS = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), np.uint8)


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def replace(file: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``file``, as a new file: a process looks at rows that it knows only once."""
    file.with_name("new").write_bytes(data)
    file.with_name("new").replace(file)


# Array files.


def test_an_array_file_is_an_npy_file_and_comes_back_read_only(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npy", ROWS)
    assert np.array_equal(np.load(tmp_path / "rows.npy"), ROWS)
    rows = checked_rows(tmp_path / "rows.npy", 1, 3)
    assert np.array_equal(rows, ROWS[1:]) and not rows.flags.writeable
    assert np.array_equal(map_rows(tmp_path / "rows.npy", np.uint8, ROWS.shape), ROWS)
    same = RowsFile.create(tmp_path / "same.npy", ROWS.dtype, ROWS.shape)
    last = same.write(2, [ROWS[2].tobytes()])
    same.finish(same.write(0, [row.tobytes() for row in ROWS[:2]]) + last)
    assert (tmp_path / "same.npy").read_bytes() == (tmp_path / "rows.npy").read_bytes()


@pytest.mark.parametrize("array", [np.array([[True], [False]]), np.arange(6.0).reshape(2, 3).T, np.float16([[1], [2]])])
def test_any_type_and_memory_order_comes_back(tmp_path: Path, array: NDArray[np.generic]) -> None:
    save_rows(tmp_path / "rows.npy", array)
    found = checked_rows(tmp_path / "rows.npy")
    assert found.dtype == array.dtype and np.array_equal(found, array)


def test_every_changed_bit_is_noticed(tmp_path: Path) -> None:
    save_rows(tmp_path / "whole.npy", ROWS[:, :2, :2])
    data = (tmp_path / "whole.npy").read_bytes()
    for place in range(8 * len(data)):
        file = tmp_path / f"{place}.npy"
        file.write_bytes(flipped(data, place))
        with pytest.raises(DamagedArray, match=rf"{place}\.npy"):
            checked_rows(file)
        file.unlink()


def test_only_the_rows_that_are_read_are_checked(tmp_path: Path) -> None:
    save_rows(tmp_path / "whole.npy", ROWS)
    data = (tmp_path / "whole.npy").read_bytes()
    end = len(data) - 4 * (len(ROWS) + 1)
    (tmp_path / "last.npy").write_bytes(flipped(data, 8 * end - 1))
    assert np.array_equal(checked_rows(tmp_path / "last.npy", 0, 2), ROWS[:2])
    with pytest.raises(DamagedArray, match=r"last\.npy has changed"):
        checked_rows(tmp_path / "last.npy", 2, 3)


def test_every_cut_and_every_addition_is_noticed(tmp_path: Path) -> None:
    save_rows(tmp_path / "whole.npy", ROWS)
    data = (tmp_path / "whole.npy").read_bytes()
    for index, wrong in enumerate([data[:length] for length in range(len(data))] + [data + b"\0", data + bytes(12)]):
        (tmp_path / f"{index}.npy").write_bytes(wrong)
        with pytest.raises(DamagedArray, match=rf"{index}\.npy"):
            checked_rows(tmp_path / f"{index}.npy", 0, 1)
    with pytest.raises(DamagedArray, match="missing"):
        checked_rows(tmp_path / "none.npy")


def test_another_shape_or_type_is_noticed(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npy", ROWS)
    for dtype, shape in ((np.uint8, (2, 5, 5, 3)), (np.int8, ROWS.shape)):
        with pytest.raises(DamagedArray, match="not"):
            map_rows(tmp_path / "rows.npy", dtype, shape)


def test_a_file_that_takes_the_place_of_another_is_read_afresh(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npy", ROWS)
    checked_rows(tmp_path / "rows.npy")
    (tmp_path / "rows.npy").unlink()
    save_rows(tmp_path / "rows.npy", ROWS[::-1])
    assert np.array_equal(checked_rows(tmp_path / "rows.npy"), ROWS[::-1])


def test_too_few_rows_are_not_passed_over(tmp_path: Path) -> None:
    file = RowsFile.create(tmp_path / "rows.npy", np.uint8, (2, 1))
    with pytest.raises(ValueError, match="1 rows"):
        file.finish(file.write(0, [b"x"]))


def test_a_folder_that_is_no_prepared_one_is_left_alone(tmp_path: Path) -> None:
    save_rows(tmp_path / "images.npy", ROWS)
    (tmp_path / "mine.txt").write_text("mine")
    replace(tmp_path / "images.npy", (tmp_path / "images.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match="remove that folder and run again"):
        prepared_rows(tmp_path / "images.npy", 0, 1)
    assert (tmp_path / "mine.txt").exists() and (tmp_path / "images.npy").exists()


# Prepared image sets.


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ImageSet]:
    """Open a set of four pictures with masks, as each run does; the cache is the test's own."""
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "faces" / "face_masks").mkdir(parents=True)
    for index in range(4):
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), rng.integers(0, 256, (16, 16, 3), np.uint8))
        mask = (rng.random((16, 16)) > 0.5).astype(np.uint8) * np.uint8(255)
        cv2.imwrite(str(tmp_path / "faces" / "face_masks" / f"{index}.png"), mask)
    registry = load_registry("")
    options = DataOptions(f"folder:{tmp_path / 'faces'}", size=16)
    return lambda: prepare_chosen(choose_source(options, registry), options, registry)


def _without_checks(data: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.load(io.BytesIO(data)))
    return file.getvalue()


NOTICED_AT_ONCE: dict[str, tuple[str, Callable[[bytes], bytes] | None]] = {
    **{f"{name} missing": (name, None) for name in ("images.npy", "masks.npy", "hashes.npy", "shapes.npy")},
    **{f"{name} cut": (name, lambda data: data[: len(data) // 2]) for name in ("images.npy", "masks.npy")},
    **{f"{name} cut": (name, lambda data: data[:-1]) for name in ("hashes.npy", "shapes.npy")},
    **{f"{name} empty": (name, lambda data: b"") for name in ("images.npy", "masks.npy", "hashes.npy", "meta.json")},
    **{f"{name} changed": (name, lambda data: flipped(data, 8 * 130)) for name in ("hashes.npy", "shapes.npy")},
    "images.npy without checks": ("images.npy", _without_checks),
    "images.npy with another header": ("images.npy", lambda data: data.replace(b"(4, 16, 16, 3)", b"(4, 16, 48, 1)")),
    "meta.json missing": ("meta.json", None),
    "meta.json cut": ("meta.json", lambda data: data[:-5]),
    "meta.json no text": ("meta.json", lambda data: b"\xff\xfe\x00"),
    "meta.json of another set": ("meta.json", lambda data: json.dumps({**json.loads(data), "pictures": 5}).encode()),
    "meta.json no object": ("meta.json", lambda data: b"[]"),
}


@pytest.mark.parametrize("damage", NOTICED_AT_ONCE)
def test_what_is_seen_when_a_set_is_opened_is_prepared_again(opened: Callable[[], ImageSet], damage: str) -> None:
    name, change = NOTICED_AT_ONCE[damage]
    first = opened()
    folder = first.images_file.parent
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    if change is None:
        (folder / name).unlink()
    else:
        assert change(files[name]) != files[name]
        replace(folder / name, change(files[name]))
    again = opened()
    assert again.digest == first.digest
    again.check()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half-written"


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_a_changed_bit_of_a_picture_or_mask_removes_the_set_and_the_next_run_prepares_it(
    opened: Callable[[], ImageSet], name: str
) -> None:
    first = opened()
    first.check()
    pixels, file = np.array(first.images), first.images_file.parent / name
    assert first.masks is not None
    masks = np.array(first.masks)
    replace(file, flipped(file.read_bytes(), 8 * 500))
    damaged = opened()
    with pytest.raises(DataError) as caught:
        damaged.check()
    assert str(caught.value) == f"the prepared pictures in {file.parent} were damaged and have been removed; run again"
    assert not file.parent.exists()
    with pytest.raises(DataError, match="run again"):  # another worker, later
        prepared_rows(file, 0, 1)
    again = opened()
    again.check()
    assert again.digest == first.digest and np.array_equal(again.images, pixels)
    assert again.masks is not None and np.array_equal(again.masks, masks)


def test_a_run_takes_no_damaged_set_for_a_good_one(
    opened: Callable[[], ImageSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    images = opened()
    replace(images.images_file, images.images_file.read_bytes()[:-100])
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    arguments = ["run", "--codecs", "png", "--no-baseline", "--quiet", "--size", "16", "--jobs", "1"]
    arguments += ["--data", f"folder:{tmp_path / 'faces'}", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["facebench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and capfd.readouterr().err == ""
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["image_set"]["digest"] == images.digest


def test_a_read_only_cache_serves_what_it_has(opened: Callable[[], ImageSet], monkeypatch: pytest.MonkeyPatch) -> None:
    digest = opened().digest

    def refuse(*given: object, **options: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert opened().digest == digest


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no file (EMFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pictures_that_cannot_be_read_just_now_are_not_removed(opened: Callable[[], ImageSet]) -> None:
    first = opened()
    refused = r"images\.npy cannot be read \(Too many open files\); try again$"
    with no_more_files(), pytest.raises(DataError, match=refused):  # the checks beside the rows, which are mapped
        prepared_rows(first.images_file)
    replace(first.images_file, first.images_file.read_bytes())
    inode = first.images_file.stat().st_ino
    with no_more_files(), pytest.raises(DataError, match=refused):
        prepared_rows(first.images_file)
    source = PictureSource("made", "all", ("made:0",), "", lambda index: ROWS[0])
    made = prepare(source, Preprocessing("full", 16))
    with (
        no_more_files(),
        pytest.raises(DataError, match=r"meta\.json cannot be read \(Too many open files\); try again$"),
    ):
        prepare(source, Preprocessing("full", 16))
    again = opened()
    again.check()
    assert again.images_file.stat().st_ino == inode and made.images_file.exists()


def test_pictures_removed_while_they_are_checked_are_one_line(
    opened: Callable[[], ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, fromfile = opened(), np.fromfile

    def gone(path: Path, *given: Any, **options: Any) -> NDArray[Any]:
        shutil.rmtree(path.parent)
        return fromfile(path, *given, **options)

    monkeypatch.setattr(np, "fromfile", gone)
    with pytest.raises(DataError, match="run again"):
        images.check()


def test_a_set_that_another_process_has_just_finished_is_taken(
    opened: Callable[[], ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[int] = []
    read_text = Path.read_text

    def overtaken(path: Path) -> str:
        assert path.name == "meta.json" and not path.exists()
        monkeypatch.setattr(Path, "read_text", read_text)
        others.append(opened().images_file.stat().st_ino)
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", overtaken)
    assert [opened().images_file.stat().st_ino] == others


@pytest.mark.parametrize("damage", ["meta.json no object", "meta.json missing", "images.npy cut"])
def test_a_set_that_cannot_be_removed_whole_is_prepared_all_the_same(
    opened: Callable[[], ImageSet], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    name, change = NOTICED_AT_ONCE[damage]
    first = opened()
    file = first.images_file.with_name(name)
    if change is None:
        file.unlink()
    else:
        replace(file, change(file.read_bytes()))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *given, **options: None)  # as where another machine has a file open
        again = opened()
    assert again.digest == first.digest
    again.check()


def test_training_takes_no_damaged_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "faces").mkdir()
    for index, picture in enumerate(np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)):
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), picture)
    options, registry = DataOptions(f"folder:{tmp_path / 'faces'}", size=16), load_registry("")
    file = prepare_chosen(choose_source(options, registry), options, registry).images_file
    replace(file, flipped(file.read_bytes(), 8 * 500))
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    arguments = ["train", "eigenfaces", "--data", options.data, "--size", "16", "--quiet", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["facebench", *arguments, "--out", str(tmp_path / "w.safetensors")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1 and "were damaged and have been removed; run again" in capfd.readouterr().err
    assert not (tmp_path / "w.safetensors").exists()


# What maskers and metrics keep.


def top_half(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    masks = np.zeros(images.shape[:3], np.bool_)
    masks[:, : images.shape[1] // 2] = True
    return masks


def fails(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    raise RuntimeError("no\nmodel")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: flipped(data, 8 * 200), _without_checks])
def test_damaged_masks_of_a_masker_are_made_again(
    opened: Callable[[], ImageSet], change: Callable[[bytes], bytes]
) -> None:
    spec = MaskerSpec("top", f"{__name__}:top_half")
    first = apply_masker(opened(), spec)
    assert first.masks_file is not None and first.masks is not None and first.masks[:, :8].all()
    whole = first.masks_file.read_bytes()
    replace(first.masks_file, change(whole))
    again = apply_masker(opened(), spec)
    assert again.digest == first.digest and again.masks is not None and np.array_equal(again.masks, first.masks)
    assert first.masks_file.read_bytes() == whole


def test_a_masker_that_fails_is_named_and_leaves_nothing(opened: Callable[[], ImageSet]) -> None:
    images = opened()
    before = sorted(images.images_file.parent.iterdir())
    with pytest.raises(PluginError, match="masker 'bad' failed: RuntimeError: no"):
        apply_masker(images, MaskerSpec("bad", f"{__name__}:fails"))
    assert sorted(images.images_file.parent.iterdir()) == before


@pytest.mark.parametrize("shape", [(), (5,), (4, 3)])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: flipped(data, 8 * 130), _without_checks])
def test_a_damaged_array_that_a_metric_kept_is_made_again(
    shape: tuple[int, ...], change: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path))
    made: list[int] = []

    def make(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        made.append(len(pictures))
        return np.full(shape, 1 / 3, order="F")

    whole = WholeSet(ROWS, "ab" * 32, None, np.arange(3))
    for _ in range(2):
        kept = whole.kept("thirds-1", make)
        assert kept.shape == shape and (kept == 1 / 3).all() and not kept.flags.writeable
    assert made == [3]
    file = kept_array_path("ab" * 32, "thirds-1")
    replace(file, change(file.read_bytes()))
    assert (whole.kept("thirds-1", make) == 1 / 3).all()
    assert made == [3, 3]
