"""Image sets at URLs, and some of their pictures prepared on a worker that lacks the client's arrays."""

from __future__ import annotations

import http.server
import importlib.util
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2
import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from facebench.data import celeba
from facebench.data.choose import DataOptions, SetRecipe, choose_source, prepare_chosen, recipe_of
from facebench.data.facts import picture_facts
from facebench.data.imageset import ImageSet
from facebench.data.rows import Rows, prepare_rows, rows_of
from facebench.errors import DataError, FacebenchError
from facebench.hookspecs import MaskerSpec
from facebench.paths import cache_dir
from facebench.plugins import Registry, load_registry

COUNT, SIZE = 6, 16


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FACEBENCH_DATA", "")


@pytest.fixture(autouse=True)
def memory() -> Iterator[MemoryFileSystem]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def prepared(registry: Registry, data: str, **changes: Any) -> ImageSet:
    options = DataOptions(data, **{"size": SIZE, "mask": "annotation", **changes})
    return prepare_chosen(choose_source(options, registry), options, registry)


def recipe(registry: Registry, data: str, **changes: Any) -> SetRecipe:
    options = DataOptions(data, **{"size": SIZE, "mask": "annotation", **changes})
    return recipe_of(choose_source(options, registry), options, registry)


def encoded(extension: str, seed: int, side: int = 24) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(extension, picture)[1].tobytes()


def mask(index: int, side: int = 24) -> bytes:
    picture = np.zeros((side, side), np.uint8)
    picture[: 4 + 2 * index] = 255
    return cv2.imencode(".png", picture)[1].tobytes()


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def zipped(members: dict[str, bytes], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def upload(folder: Path, filesystem: MemoryFileSystem, to: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            filesystem.pipe_file(f"{to}/{file.relative_to(folder).as_posix()}", file.read_bytes())


NAMES = ["a b.png", "b.JPG", "c#1.png", "d%20.png", "é.png", "f&.png"]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of six pictures, some of names that URLs write otherwise, and a file that is none."""
    for index, name in enumerate(NAMES):
        write(tmp_path / "faces" / name, encoded(Path(name).suffix.lower(), index))
    write(tmp_path / "faces" / "notes.txt", "no picture")
    return tmp_path / "faces"


def add_masks(folder: Path, kind: str) -> None:
    stems = [Path(name).stem for name in sorted(NAMES)]
    if kind == "zip":
        zipped({f"any/{stem}.png": mask(i) for i, stem in enumerate(stems)}, folder / "face_masks.zip")
    for index, stem in enumerate(stems if kind == "folder" else []):
        write(folder / "face_masks" / f"{stem}.png", mask(index))


@pytest.fixture
def small_celeba(tmp_path: Path) -> Path:
    """CelebA's layout with six pictures, masks and all list files."""
    root, numbers = tmp_path / "celeba", [f"{number:06}" for number in range(1, COUNT + 1)]
    root.mkdir()
    pictures = {f"img_align_celeba/{number}.jpg": encoded(".jpg", i, 150) for i, number in enumerate(numbers)}
    zipped(pictures, root / "img_align_celeba.zip")
    zipped({f"{number}.png": mask(i, 150) for i, number in enumerate(numbers)}, root / "face_masks.zip")
    write(root / "list_eval_partition.txt", "".join(f"{n}.jpg {i // 2}\n" for i, n in enumerate(numbers)))
    write(root / "identity_CelebA.txt", "".join(f"{n}.jpg {i + 100}\n" for i, n in enumerate(numbers)))
    rows = "".join(f"{n}.jpg {1 if i % 2 else -1} -1\n" for i, n in enumerate(numbers))
    write(root / "list_attr_celeba.txt", f"{COUNT}\nMale Young\n{rows}")
    rows = "".join(f"{n}.jpg {' '.join(str(20 + 7 * k + i) for k in range(10))}\n" for i, n in enumerate(numbers))
    write(root / "list_landmarks_align_celeba.txt", f"{COUNT}\nlefteye_x a b c d e f g h i\n{rows}")
    return root


def assert_same(images: ImageSet, other: ImageSet) -> None:
    assert (images.ids, images.digest, images.identities) == (other.ids, other.digest, other.identities)
    assert np.array_equal(images.images, other.images)
    assert (images.masks is None) == (other.masks is None)
    facts, others = picture_facts(images), picture_facts(other)
    assert (facts is None and others is None) or (facts is not None and facts.equals(others))


# The same set from a path and from a URL.


@pytest.mark.parametrize("kind", ["none", "zip", "folder"])
def test_a_folder_at_a_url_is_the_set_that_it_is_at_a_path(registry, faces, memory, kind: str) -> None:
    add_masks(faces, kind)
    upload(faces, memory, "/bucket/faces")
    images = prepared(registry, "folder:memory://bucket/faces")
    assert_same(images, prepared(registry, f"folder:{faces}"))
    assert len(images) == COUNT and (images.masks is None) == (kind == "none")
    assert_same(prepared(registry, "folder:memory://bucket/faces/"), images)
    assert_same(prepared(registry, f"folder:file://{faces}"), images)


@pytest.mark.parametrize("place", ["hq/CelebA-HQ-img", "hq"])
def test_part_masks_are_found_in_the_folder_and_above_it(registry, tmp_path, memory, place: str) -> None:
    for index in range(3):
        write(tmp_path / place / f"{index}.jpg", encoded(".jpg", index))
        for part in ("hair", "skin", "neck"):
            file = tmp_path / "hq" / "CelebAMask-HQ-mask-anno" / str(index % 2) / f"{index:05}_{part}.png"
            write(file, mask(index + 3 * (part == "neck")))
    upload(tmp_path, memory, "/bucket")
    images = prepared(registry, f"folder:memory://bucket/{place}")
    assert images.masks is not None
    assert_same(images, prepared(registry, f"folder:{tmp_path / place}"))


@pytest.mark.parametrize("data", ["celeba:memory://b/celeba", "memory://b/celeba", "memory://b/celeba/x.zip"])
@pytest.mark.parametrize("split", ["all", "official-valid"])
def test_celeba_at_a_url_is_the_set_that_it_is_at_a_path(registry, small_celeba, memory, data: str, split) -> None:
    expected = prepared(registry, str(small_celeba), split=split)
    assert expected.masks is not None and expected.identities is not None and expected.landmarks is not None
    if data.endswith(".zip"):
        (small_celeba / "img_align_celeba.zip").rename(small_celeba / "x.zip")
    upload(small_celeba, memory, "/b/celeba")
    assert_same(prepared(registry, data, split=split), expected)


def test_unpacked_celeba_and_facebench_data_may_be_urls(registry, small_celeba, memory, monkeypatch) -> None:
    expected = prepared(registry, str(small_celeba), split="all")
    with zipfile.ZipFile(small_celeba / "img_align_celeba.zip") as archive:
        archive.extractall(small_celeba)
    (small_celeba / "img_align_celeba.zip").unlink()
    upload(small_celeba, memory, "/b/celeba")
    monkeypatch.setenv("FACEBENCH_DATA", "memory://b/celeba")
    assert_same(prepared(registry, "", split="all"), expected)
    assert_same(prepared(registry, "celeba", split="all"), expected)


def test_a_folder_in_a_zip_at_a_url_is_a_set_too(registry, faces, memory, tmp_path) -> None:
    add_masks(faces, "folder")
    files = {f"in/{f.relative_to(faces).as_posix()}": f.read_bytes() for f in faces.rglob("*") if f.is_file()}
    zipped(files, tmp_path / "faces.zip")
    memory.pipe_file("/b/faces.zip", (tmp_path / "faces.zip").read_bytes())
    assert_same(
        prepared(registry, "folder:zip://in::memory://b/faces.zip"),
        prepared(registry, f"folder:{faces}"),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the memory filesystem is asked what, by method and path."""
    counted: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(MemoryFileSystem, name)

        def counting(self: MemoryFileSystem, path: str, *args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            counted[f"{name} {self._strip_protocol(path)}"] += 1
            return method(self, path, *args, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, name, counting)

    for name in ("ls", "info", "exists", "isfile", "isdir", "cat_file"):
        count(name)
    return counted


def test_a_folder_is_listed_by_one_call_and_a_known_set_is_not_read_again(registry, faces, memory, calls) -> None:
    add_masks(faces, "folder")
    upload(faces, memory, "/b/faces")
    calls.clear()
    images = prepared(registry, "folder:memory://b/faces")
    assert (calls["ls"], calls["ls /b/faces"], calls["ls /b/faces/face_masks"]) == (2, 1, 1)
    assert calls["info"] == calls["exists"] == calls["isdir"] == 0
    assert calls["cat_file"] == 2 * COUNT
    calls.clear()
    assert_same(prepared(registry, "folder:memory://b/faces"), images)
    assert (calls["ls"], calls["cat_file"]) == (2, 0)


def test_a_replaced_file_is_noticed(registry, faces, memory) -> None:
    upload(faces, memory, "/b/faces")
    before = prepared(registry, "folder:memory://b/faces")
    data = encoded(".png", 99)
    memory.pipe_file(f"/b/faces/{NAMES[2]}", data)
    after = prepared(registry, "folder:memory://b/faces")
    assert (before.hashes != after.hashes).any(axis=1).tolist() == [name == NAMES[2] for name in sorted(NAMES)]


def test_the_data_command_opens_a_url(faces, memory) -> None:
    from facebench.cli import cli

    upload(faces, memory, "/b/faces")
    options = ["--size", "16", "--mask", "annotation"]
    told = CliRunner().invoke(cli, ["data", "--quiet", "--data", "folder:memory://b/faces", *options])
    assert told.exit_code == 0 and "pictures        6, all readable" in told.output
    assert "no face_masks.zip, face_masks/ or CelebAMask-HQ-mask-anno/ in memory://b/faces" in told.output


def test_a_set_at_a_path_needs_no_fsspec(faces) -> None:
    code = (
        "import sys; from facebench.data.folder import open_source; from pathlib import Path; "
        f"open_source(Path({str(faces)!r}), 'all').read(0); sys.exit('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Web servers.


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; with byte ranges and an index of each folder, unless told otherwise.

    With a ``token`` only files are served, and only to who says it. ``asked`` are the methods and paths of requests.
    """

    lists = ranges = True
    token = ""
    asked: ClassVar[Counter[str]] = Counter()

    def send_head(self) -> Any:
        self.asked[f"{self.command} {self.path}"] += 1
        if self.token and not self.path.endswith(f"?{self.token}"):
            return self.send_error(403)
        return super().send_head()

    def do_GET(self) -> None:
        if self.token and not self.path.endswith(f"?{self.token}"):
            return self.send_error(403)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not (wanted and self.ranges and path.is_file()):
            return super().do_GET()
        with path.open("rb") as file:
            file.seek(int(wanted[1]))
            data = file.read(int(wanted[2]) + 1 - int(wanted[1]))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {wanted[1]}-{int(wanted[1]) + len(data) - 1}/{path.stat().st_size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def list_directory(self, path: Any) -> Any:
        return super().list_directory(path) if self.lists else self.send_error(403)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    if importlib.util.find_spec("aiohttp") is None:
        pytest.skip("fsspec reads http:// with aiohttp, which is not installed")
    servers = []

    def start(folder: Path, **facts: Any) -> str:
        handler = type("Server", (_Server,), facts)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_folder_on_a_web_server_is_read_by_its_index(registry, faces, serve) -> None:
    add_masks(faces, "folder")
    url = serve(faces.parent)
    assert_same(prepared(registry, f"folder:{url}/faces"), prepared(registry, f"folder:{faces}"))


def test_a_replaced_file_on_a_web_server_is_noticed_by_one_request_for_each(registry, faces, serve) -> None:
    """Its index tells names alone."""
    asked: Counter[str] = Counter()
    data = f"folder:{serve(faces.parent, asked=asked)}/faces"
    before = prepared(registry, data)
    asked.clear()
    assert prepared(registry, data).images_file == before.images_file
    assert not any(name.startswith("GET ") and Path(name).suffix for name in asked), "no picture is read"
    heads = [name for name in asked.elements() if name.startswith("HEAD ")]
    assert len(heads) == COUNT and not any("notes" in name for name in heads)
    seen = {choose_source(DataOptions(data), registry).fingerprint}
    picture = faces / NAMES[0]
    for content, time in (
        (encoded(".png", 98), 1000),
        (encoded(".png", 99), 5000),
        (picture.read_bytes() + b"1", 5000),
    ):
        write(picture, content)
        os.utime(picture, (time, time))
        seen.add(choose_source(DataOptions(data), registry).fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(
    "data", ["celeba:{url}/celeba/x.zip?{token}", "celeba:simplecache::{url}/celeba/x.zip?{token}"]
)
def test_celeba_at_a_signed_url(registry, small_celeba, serve, data: str) -> None:
    expected = prepared(registry, str(small_celeba), split="official-valid")
    (small_celeba / "img_align_celeba.zip").rename(small_celeba / "x.zip")
    for token in ("signature=secret/+%2B=", "signature=secret2"):
        place = data.format(url=serve(small_celeba.parent, token=token), token=token)
        assert_same(prepared(registry, place, split="official-valid"), expected)
        with pytest.raises(FacebenchError) as refused:
            prepared(registry, place.replace("x.zip", "y.zip"))
        assert "y.zip" in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize("lists", [True, False])
def test_celeba_on_a_web_server_needs_no_index(registry, small_celeba, serve, lists: bool) -> None:
    url = serve(small_celeba.parent, lists=lists)
    expected = prepared(registry, str(small_celeba), split="all")
    for data in (f"{url}/celeba", f"celeba:{url}/celeba/img_align_celeba.zip"):
        assert_same(prepared(registry, data, split="all"), expected)
    (small_celeba / "face_masks.zip").unlink()
    assert prepared(registry, f"{url}/celeba", split="all").masks is None


def test_web_servers_that_cannot_serve_a_set_are_one_line(registry, faces, small_celeba, serve) -> None:
    with zipfile.ZipFile(small_celeba / "img_align_celeba.zip", "a") as archive:
        archive.writestr("more than a block", bytes(2**21))
    url = serve(faces.parent, lists=False, ranges=False)
    for data, message in (
        (f"folder:{url}/faces", "no access to http"),
        (f"folder:{url}/none", "nothing found at http"),
        (f"{url}/celeba/img_align_celeba.zip", "img_align_celeba.zip is not a readable zip archive: .*range requests"),
        ("folder:http://127.0.0.1:9/faces", "cannot be read"),
    ):
        assert_refused(registry, data, message)


# What is refused.


def assert_refused(registry: Registry, data: str, message: str, **changes: Any) -> None:
    with pytest.raises(FacebenchError, match=message) as caught:
        prepared(registry, data, **changes)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert not list((cache_dir() / "prepared").glob("*"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("folder:nosuch://b/faces", "nosuch://b/faces: Protocol not known: nosuch"),
        ("nosuch://user:secret@host/faces", "nosuch://host/faces: Protocol not known"),
        ("folder:memory://b/none", "nothing found at memory://b/none"),
        ("memory://b/none", "nothing found at memory://b/none"),
        ("memory://b/none.zip", "no file memory://b/none.zip"),
        ("folder:memory://b/faces/b.JPG", "memory://b/faces/b.JPG is a file"),
        ("memory://b/faces", "no CelebA pictures in memory://b/faces"),
        ("folder:memory://b/empty", "no pictures in memory://b/empty"),
        ("folder:zip://in::memory://b/none.zip", "nothing found"),
        ("folder:/nowhere", "no folder /nowhere"),
        ("celeba:/nowhere.zip", "no file /nowhere.zip"),
    ],
)
def test_what_is_no_set_is_one_line(registry, faces, memory, data: str, message: str) -> None:
    upload(faces, memory, "/b/faces")
    memory.pipe_file("/b/empty/notes.txt", b"no picture")
    assert_refused(registry, data, message)


def test_a_missing_package_is_named_with_its_installation(registry, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    assert_refused(registry, "folder:s3://bucket/faces", "s3://bucket/faces .*: pip install s3fs$")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("Access Denied"), r"no access to memory://b/faces \(Access Denied\)"),
        (ConnectionResetError("reset\nby peer"), r"cannot be read \(ConnectionResetError: reset by peer\)"),
        (RuntimeError("from://user:secret@host"), r"cannot be read \(RuntimeError: from://host\)"),
    ],
)
def test_a_listing_that_fails_is_one_line(registry, faces, memory, monkeypatch, error, message: str) -> None:
    upload(faces, memory, "/b/faces")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "ls", fail)
    assert_refused(registry, "folder:memory://b/faces", message)


def test_a_server_that_fails_halfway_ends_the_reading_at_once(registry, faces, memory, calls, monkeypatch) -> None:
    upload(faces, memory, "/b/faces")
    read = MemoryFileSystem.cat_file

    def fail(self: MemoryFileSystem, path: str) -> bytes:
        if "c#1" in path:
            raise TimeoutError("no answer")
        return read(self, path)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    line = r"^memory://b/faces/c#1.png cannot be read \(TimeoutError: no answer\); try again$"
    assert_refused(registry, "folder:memory://b/faces", line)


def test_files_that_vanish_or_are_damaged_are_named(registry, faces, small_celeba, memory, monkeypatch) -> None:
    upload(faces, memory, "/b/faces")
    source = choose_source(DataOptions("folder:memory://b/faces"), registry)
    memory.rm(f"/b/faces/{NAMES[0]}")
    with pytest.raises(DataError, match=r"nothing found at memory://b/faces/a b\.png"):
        source.read(0)
    (faces / NAMES[0]).unlink()
    local = choose_source(DataOptions(f"folder:{faces}"), registry)
    (faces / NAMES[1]).unlink()
    with pytest.raises(DataError, match=r"b.JPG cannot be read \(No such file"):
        local.read(0)
    archive = (small_celeba / "img_align_celeba.zip").read_bytes()
    upload(small_celeba, memory, "/b/celeba")
    middle = archive.index(b"000003.jpg") + 200
    memory.pipe_file("/b/celeba/img_align_celeba.zip", archive[:middle] + b"damaged!" + archive[middle + 8 :])
    assert_refused(registry, "memory://b/celeba", "000003.jpg is damaged .*download it again", split="all")
    memory.pipe_file("/b/celeba/img_align_celeba.zip", archive[:-30])
    assert_refused(registry, "memory://b/celeba", "not a readable zip archive", split="all")
    memory.pipe_file("/b/celeba/img_align_celeba.zip", archive)
    memory.pipe_file("/b/celeba/identity_CelebA.txt", b"000001.jpg\n")
    assert_refused(registry, "memory://b/celeba", "memory://b/celeba/identity_CelebA.txt, line 1", split="all")


# Some pictures, on a worker.


def on_a_worker(rows: Rows, cache: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """Prepare rows as another machine would: from what pickles, into a cache of its own."""
    monkeypatch.setenv("FACEBENCH_CACHE", str(cache))
    return prepare_rows(pickle.loads(pickle.dumps(rows)))


def left_half(images: np.ndarray) -> np.ndarray:
    masks = images.sum(axis=-1) > 300
    masks[:, :, images.shape[2] // 2 :] = False
    return masks


@pytest.mark.parametrize("chosen", ["annotation", "none", "left"])
@pytest.mark.parametrize("kind", ["path", "url", "celeba", "samples"])
def test_rows_are_those_of_the_whole_set(
    registry, faces, small_celeba, memory, tmp_path, monkeypatch, kind: str, chosen: str
) -> None:
    registry = replace(registry, maskers={"left": MaskerSpec("left", "test_fsspec_sets:left_half")})
    add_masks(faces, "folder")
    upload(faces, memory, "/b/faces")
    data = {"path": f"folder:{faces}", "url": "folder:memory://b/faces", "celeba": str(small_celeba)}.get(kind, kind)
    split = "official-test" if kind == "celeba" else None
    whole = prepared(registry, data, mask=chosen, split=split)
    start, stop = (1, 2) if kind == "celeba" else (2, 5)
    rows = on_a_worker(
        rows_of(recipe(registry, data, mask=chosen, split=split), whole, start, stop), tmp_path / "worker", monkeypatch
    )
    assert rows.ids == whole.ids[start:stop] and np.array_equal(rows.hashes, whole.hashes[start:stop])
    assert np.array_equal(np.load(rows.images_file), whole.images[start:stop])
    assert rows.images_file.is_relative_to(tmp_path / "worker")
    assert (rows.masks_file is None) == (whole.masks is None) == (chosen == "none")
    if whole.masks is not None and rows.masks_file is not None:
        assert np.array_equal(np.load(rows.masks_file), whole.masks[start:stop])


def test_a_relative_path_and_facebench_data_reach_the_worker(registry, faces, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(faces.parent)
    monkeypatch.setenv("FACEBENCH_DATA", "folder:faces")
    whole, made = prepared(registry, ""), recipe(registry, "")
    monkeypatch.chdir("/")
    monkeypatch.setenv("FACEBENCH_DATA", "")
    rows = on_a_worker(rows_of(made, whole, 0, 2), tmp_path / "worker", monkeypatch)
    assert np.array_equal(rows.hashes, whole.hashes[:2])


def test_kept_rows_are_used_again_and_the_set_is_not_even_opened(registry, faces, memory, calls) -> None:
    upload(faces, memory, "/b/faces")
    whole, made = prepared(registry, "folder:memory://b/faces"), recipe(registry, "folder:memory://b/faces")
    first = prepare_rows(rows_of(made, whole, 0, 4))
    calls.clear()
    again = prepare_rows(rows_of(made, whole.head(4), 0, 4))
    assert (again.images_file, calls.total()) == (first.images_file, 0)
    prepare_rows(rows_of(made, whole, 4, 6))
    assert (calls["ls"], calls["cat_file"]) == (0, 2)  # the listing is kept by the process


def test_damaged_rows_are_prepared_again(registry, faces) -> None:
    whole, made = prepared(registry, f"folder:{faces}"), recipe(registry, f"folder:{faces}")
    file = prepare_rows(rows_of(made, whole, 0, 3)).images_file
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.unlink()
    file.write_bytes(data)
    assert np.array_equal(prepare_rows(rows_of(made, whole, 0, 3)).images, whole.images[:3])


def test_a_worker_with_another_copy_is_refused_and_recovers(registry, faces, tmp_path, monkeypatch) -> None:
    whole, made = prepared(registry, f"folder:{faces}"), recipe(registry, f"folder:{faces}")
    rows, worker = rows_of(made, whole, 0, 4), tmp_path / "worker"
    right = (faces / NAMES[2]).read_bytes()
    write(faces / NAMES[2], encoded(".png", 98))
    for _ in range(2):  # and nothing wrong is kept
        with pytest.raises(DataError, match=re.escape(f"{faces} on worker")) as caught:
            on_a_worker(rows, worker, monkeypatch)
        assert "differs from the client's at picture folder:c#1.png" in str(caught.value)
        assert not list((worker / "prepared").glob("*"))
    write(faces / NAMES[2], right)
    assert np.array_equal(on_a_worker(rows, worker, monkeypatch).hashes, whole.hashes[:4])
    (faces / NAMES[2]).rename(faces / "0.png")
    with pytest.raises(DataError, match=r"on worker .* has other pictures"):
        on_a_worker(rows_of(made, whole, 1, 4), worker, monkeypatch)


def test_a_worker_that_cannot_reach_the_set_says_so(registry, faces, tmp_path, monkeypatch) -> None:
    whole, made = prepared(registry, f"folder:{faces}"), recipe(registry, f"folder:{faces}")
    elsewhere = replace(made, place=tmp_path / "not mounted")
    with pytest.raises(DataError, match=r"^on worker \S+: no folder .*not mounted$"):
        on_a_worker(rows_of(elsewhere, whole, 0, 2), tmp_path / "worker", monkeypatch)


def start_child(together: Any) -> None:
    start_child.together = together  # type: ignore[attr-defined]


def prepare_in_child(rows: Rows) -> bytes:
    start_child.together.wait()  # type: ignore[attr-defined]
    return prepare_rows(rows).hashes.tobytes()


def test_two_processes_may_prepare_the_same_rows_at_once(registry, faces, tmp_path, monkeypatch) -> None:
    whole, made = prepared(registry, f"folder:{faces}"), recipe(registry, f"folder:{faces}")
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "worker"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, start_child, (context.Barrier(2, timeout=120),)) as pool:
        told = [pool.submit(prepare_in_child, rows_of(made, whole, 0, 5)) for _ in range(2)]
        assert [future.result() for future in told] == [whole.hashes[:5].tobytes()] * 2
    assert len(list((tmp_path / "worker" / "prepared").glob("*"))) == 1


def test_head_keeps_the_recipe_and_cut_has_none(registry, faces) -> None:
    images = prepared(registry, f"folder:{faces}", limit=5)
    assert images.recipe is not None and images.recipe == images.head(3).recipe
    rows = prepare_rows(rows_of(images.recipe, images.head(3), 1, 3))
    assert np.array_equal(rows.hashes, images.hashes[1:3])
    assert [part.recipe for part in images.cut(2)] == [None, None]
    assert images.with_masks(None, None, "none", "").recipe is None


def test_real_faces_as_a_zip_opened_by_fsspec(celeba_dir) -> None:
    """Real CelebA through fsspec's random access: what a bucket would give, without the network."""
    source = celeba.open_source(f"local://{celeba_dir.resolve()}", "test")
    known = celeba.open_source(celeba_dir, "test")
    assert (source.ids, source.identities) == (known.ids, known.identities)
    for index in (0, 700, 1564):
        assert np.array_equal(source.read(index), known.read(index))
        assert source.read_mask is not None and known.read_mask is not None
        assert np.array_equal(source.read_mask(index), known.read_mask(index))
