"""Pictures that are damaged, of odd kinds, claim too much or have odd names: converted as stated, or one clear line."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from facebench.cli import main
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.data.preparation import prepare
from facebench.data.preprocess import FILTERS, Preprocessing
from facebench.data.source import MAX_PIXELS, PictureSource, decode_mask, decode_picture
from facebench.errors import DataError
from facebench.memory import peak, reset_peak
from facebench.paths import cache_dir
from facebench.plugins import load_registry

RNG = np.random.default_rng(8)
#: A smooth picture, 40 pixels high and 30 wide, that no turn or mirroring leaves as it is.
FACE = cv2.resize(RNG.uniform(0, 255, (6, 5, 3)).astype(np.float32), (30, 40)).astype(np.uint8)
RAMP = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (40, 1))


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


JPEG = saved(Image.fromarray(FACE), "JPEG", quality=95)
PNG = saved(Image.fromarray(FACE), "PNG")

# What is converted, and how.


def test_cmyk_becomes_the_rgb_that_pillow_gives_but_for_rounding() -> None:
    ink = np.stack([cv2.resize(RNG.uniform(0, 255, (6, 5)).astype(np.float32), (30, 40)) for _ in range(4)], -1)
    ink[..., 3] /= 2
    for kind in ("JPEG", "TIFF"):
        data = saved(Image.fromarray(ink.astype(np.uint8), "CMYK"), kind)
        difference = decode_picture(data, "x").astype(int) - by_pillow(data)
        assert np.abs(difference).max() <= 2, kind


@pytest.mark.parametrize("extension", [".png", ".tiff", ".ppm"])
def test_16_bits_are_scaled_with_rounding(extension: str) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    deep = np.stack([deep, deep[::-1], deep.T], -1)
    data = cv2.imencode(extension, deep[..., ::-1])[1].tobytes()
    assert np.array_equal(decode_picture(data, "x"), np.floor(deep / 257 + 0.5))


def test_a_16_bit_mask_is_the_face_where_it_is_brighter_than_half() -> None:
    deep = np.array([[0, 257, 32767, 32768, 65535]], np.uint16)
    assert decode_mask(cv2.imencode(".png", deep)[1].tobytes(), "x").tolist() == [[False, False, False, True, True]]


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("1", "PNG", {}),
        ("1", "PPM", {}),
        ("L", "PNG", {}),
        ("L", "PPM", {}),
        ("L", "JPEG", {}),
        ("L", "BMP", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("P", "BMP", {}),
        ("P", "TIFF", {}),
        ("RGB", "BMP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "JPEG", {"progressive": True}),
    ],
)
def test_grey_and_palette_pictures_are_those_that_pillow_reads(mode: str, kind: str, options: dict[str, Any]) -> None:
    data = saved(Image.fromarray(FACE).convert(mode), kind, **options)
    assert np.array_equal(decode_picture(data, "x"), by_pillow(data))


@pytest.mark.parametrize(("mode", "kind"), [("LA", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "BMP")])
def test_transparency_is_dropped_and_the_stored_colours_stay(mode: str, kind: str) -> None:
    picture = Image.fromarray(FACE).convert(mode)
    picture.putalpha(Image.fromarray(RAMP))
    data = saved(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    expected = np.asarray(Image.fromarray(FACE).convert("L").convert("RGB")) if mode == "LA" else FACE
    assert np.array_equal(decode_picture(data, "x"), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_all_eight_exif_orientations_are_applied(kind: str) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(FACE), kind, exif=exif)
        assert np.array_equal(decode_picture(data, "x"), by_pillow(data)), orientation


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (200, 1)])
def test_pictures_one_pixel_wide_or_twenty_thousand_are_prepared(filter: str, height: int, width: int) -> None:
    data = saved(Image.fromarray(np.full((height, width, 3), 77, np.uint8)), "PNG")
    picture = decode_picture(data, "x")
    for crop in ("full", "square"):
        assert (Preprocessing(crop, 16, filter).picture(picture) == 77).all()
        assert Preprocessing(crop, 16, filter).mask(picture[..., 0] > 0).all()


# What is refused, and by what line.

_SIDE = 20_000


def _jpeg_bomb() -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", _SIDE, _SIDE) + JPEG[place + 4 :]


def _png_bomb() -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0))
    return PNG[:8] + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")


def _webp_bomb(side: int = 16_383) -> bytes:
    lossless = saved(Image.fromarray(FACE), "WEBP", lossless=True)
    size = (struct.unpack_from("<I", lossless, 21)[0] & ~0xFFFFFFF) | (side - 1) << 14 | (side - 1)
    return lossless[:21] + struct.pack("<I", size) + lossless[25:]


def _lossy_webp_bomb() -> bytes:
    lossy = saved(Image.fromarray(FACE), "WEBP")
    return lossy[:26] + struct.pack("<HH", 16_383, 16_383) + lossy[30:]


def _extended_webp_bomb() -> bytes:
    picture = Image.fromarray(FACE).convert("RGBA")
    picture.putalpha(Image.fromarray(RAMP))
    extended = saved(picture, "WEBP")
    side = (_SIDE - 1).to_bytes(3, "little")
    return extended[:24] + side + side + extended[30:]


def _bmp_bomb() -> bytes:
    small = saved(Image.fromarray(FACE), "BMP")
    return small[:18] + struct.pack("<ii", _SIDE, -_SIDE) + small[26:]


def _tiff_bomb() -> bytes:
    entries = [(256, 4, 1, _SIDE), (257, 4, 1, _SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, _SIDE), (279, 4, 1, _SIDE * _SIDE)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(100)


def _tiff_bomb_with_doubled_tags() -> bytes:
    """Of two entries for a tag libtiff takes the first, whatever comes behind it."""
    bomb = _tiff_bomb()
    entries = [bomb[start : start + 12] for start in range(10, 10 + 12 * bomb[8], 12)]
    doubled = [entries[0], struct.pack("<HHII", 256, 4, 1, 8), entries[1], struct.pack("<HHII", 257, 4, 1, 8)]
    return bomb[:8] + struct.pack("<H", len(entries) + 2) + b"".join([*doubled, *entries[2:]]) + bytes(100)


BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.jpg": _jpeg_bomb,
    "bomb.png": _png_bomb,
    "lossless.webp": _webp_bomb,
    "lossy.webp": _lossy_webp_bomb,
    "extended.webp": _extended_webp_bomb,
    "bomb.bmp": _bmp_bomb,
    "bomb.tiff": _tiff_bomb,
    "doubled.tiff": _tiff_bomb_with_doubled_tags,
    "bomb.ppm": lambda: b"P6\n# small\n20000 20000\n255\n" + bytes(100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_a_huge_picture_is_refused_with_its_size(name: str) -> None:
    data = BOMBS[name]()
    side = 16_383 if name in ("lossless.webp", "lossy.webp") else _SIDE
    assert len(data) < 10_000 and side * side > MAX_PIXELS
    for decode in (decode_picture, decode_mask):
        with pytest.raises(
            DataError, match=rf"^{name} is not a readable \w+ \({side}x{side}; .*; remove or replace it$"
        ):
            decode(data, name)


def test_bombs_take_no_memory() -> None:
    if not peak():
        pytest.skip("the peak of a process's memory is not known here")
    files = {name: make() for name, make in BOMBS.items()}
    large = cv2.imencode(".png", np.zeros((4000, 4000, 3), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()

    def taken(data: bytes) -> int:
        before = reset_peak()
        with contextlib.suppress(DataError):
            decode_picture(data, "x")
        return peak() - before

    assert max(taken(data) for data in files.values()) < 10_000_000
    assert taken(large) > 40_000_000, "what is decoded does show"


def test_the_largest_picture_allowed_is_not_refused_for_its_size() -> None:
    with pytest.raises(DataError, match="its data cannot be decoded"):
        decode_picture(b"P5\n%d %d\n255\n" % (2**14, 2**13), "x")


REFUSED = {
    "text.jpg": (b"This is no picture.\n", "neither JPEG, PNG, WebP, BMP, TIFF nor PPM"),
    "animation.png": (saved(Image.fromarray(FACE), "GIF"), "neither JPEG"),
    "empty.png": (b"", "the file is empty"),
    "cut.jpg": (JPEG[:-300], "it is cut off"),
    "nearly.jpg": (JPEG[:-2], "it is cut off"),
    "progressive.jpg": (saved(Image.fromarray(FACE), "JPEG", progressive=True)[:-300], "it is cut off"),
    "cut.png": (PNG[:-300], "it is cut off"),
    "no-end.png": (PNG[:-12], "it is cut off"),
    "changed.png": (PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:], "a chunk fails its checksum"),
    "cut.webp": (saved(Image.fromarray(FACE), "WEBP")[:-100], "it is cut off"),
    "cut.bmp": (saved(Image.fromarray(FACE), "BMP")[:-300], "its data cannot be decoded"),
    "cut.tiff": (saved(Image.fromarray(FACE), "TIFF")[:-300], "its data cannot be decoded"),
    "cut.ppm": (saved(Image.fromarray(FACE), "PPM")[:-300], "its data cannot be decoded"),
    "header.jpg": (JPEG[:30], "it is cut off"),
    "header.png": (PNG[:20], "it is cut off"),
    "header.webp": (saved(Image.fromarray(FACE), "WEBP")[:20], "it is cut off"),
    "header.bmp": (b"BM\0\0", "it is cut off"),
    "header.tiff": (b"II*\0\x08\0", "it is cut off"),
    "header.ppm": (b"P6\n30", "it is cut off"),
    "nothing.ppm": (b"P6\n0 5\n255\n", "0x5"),
    "1023.ppm": (b"P6\n2 2\n1023\n" + bytes(24), "its largest value is neither 255 nor 65535"),
    "float.tiff": (cv2.imencode(".tiff", RNG.random((4, 4, 3), np.float32))[1].tobytes(), "its values are float32"),
    "alpha.tiff": (saved(Image.fromarray(FACE).convert("RGBA"), "TIFF"), "a TIFF with transparency"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_name_and_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(DataError) as caught:
        decode_picture(data, name)
    assert str(caught.value).startswith(f"{name} is not a readable picture ({reason}")
    assert str(caught.value).endswith("; remove or replace it")
    assert capfd.readouterr() == ("", ""), "a decoder's own messages, which name no file"


def test_every_cut_of_a_jpeg_and_every_changed_bit_of_a_png_is_noticed() -> None:
    for length in range(len(JPEG)):
        with pytest.raises(DataError):
            decode_picture(JPEG[:length], "x")
    small = saved(Image.fromarray(FACE[:4, :4]), "PNG")
    for place in range(8 * len(small)):
        changed = bytearray(small)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(DataError):
            decode_picture(bytes(changed), "x")


def test_what_follows_a_jpegs_end_and_a_thumbnail_within_it_do_not_matter() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a thumbnail: " + JPEG[:2].decode("latin-1") + "\xff\xd9"
    data = saved(Image.fromarray(FACE), "JPEG", exif=exif)
    assert np.array_equal(decode_picture(data + b"trailing \xff bytes", "x"), by_pillow(data))


# As a user meets it.


def run(data: str, *options: str) -> list[str]:
    arguments = ["run", "--codecs", "png", "--no-baseline", "--quiet", "--size", "16", "--data", data]
    arguments += ["--mask", "annotation"]  # what is made of pictures that are no faces is not asked here
    return ["facebench", *arguments, *options]


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run facebench on a data set that it has to refuse, and return the line that says why."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    monkeypatch.setenv("FACEBENCH_CACHE", str(home / "cache"))

    def refused(data: str, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", run(data, *options))
        with pytest.raises(SystemExit) as ended:
            main()
        out, error = capfd.readouterr()
        assert (ended.value.code, out, error.count("\n")) == (1, "", 1), error
        left = [path for path in home.rglob("*") if path.is_file()]
        left += list((home / "cache" / "prepared").glob("*")) if (home / "cache").exists() else []
        assert not left, "something was written"
        return error.removesuffix("\n")

    return refused


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with three good pictures."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(PNG)
    return folder


def test_one_unreadable_picture_is_named(refuse: Callable[..., str], faces: Path) -> None:
    (faces / "b.png").write_bytes(PNG[:100])
    line = refuse(f"folder:{faces}")
    assert line == f"facebench: {faces / 'b.png'} is not a readable picture (it is cut off); remove or replace it"


def test_all_unreadable_pictures_are_counted_and_the_first_named(refuse: Callable[..., str], faces: Path) -> None:
    for index in range(7):
        (faces / f"bad{index}.jpg").write_bytes(JPEG[:-50])
    line = refuse(f"folder:{faces}", "--jobs", "2")
    assert line.startswith("facebench: 7 of 10 pictures cannot be used: ")
    assert [f"bad{index}.jpg" in line for index in range(7)] == [True] * 5 + [False] * 2
    assert line.endswith(" and 2 more; remove or replace it")


def test_pictures_that_cannot_be_used_for_different_reasons_say_so_each(
    refuse: Callable[..., str], faces: Path
) -> None:
    (faces / "a.png").write_bytes(b"")
    line = refuse(f"folder:{faces}", "--crop", "centre-31")
    assert "3 of 3" in line and "the file is empty" in line and "30x40, too small for crop centre-31" in line


def test_a_set_of_bad_pictures_is_given_up_soon(tmp_path: Path) -> None:
    asked: list[int] = []

    def read(index: int) -> NDArray[np.uint8]:
        asked.append(index)
        raise DataError(f"picture {index} is bad; replace it")

    source = PictureSource("made", "all", tuple(f"made:{index}" for index in range(10_000)), "bad", read)
    with pytest.raises(DataError, match=r"^at least 1,000 of 10,000 pictures cannot be used: picture 0 is bad, "):
        prepare(source, Preprocessing("full", 16))
    assert len(asked) < 2000


def test_bombs_and_odd_files_in_a_folder_are_refused(refuse: Callable[..., str], faces: Path) -> None:
    for name in ("bomb.jpg", "bomb.png", "bomb.tiff"):
        (faces / name).write_bytes(BOMBS[name]())
    line = refuse(f"folder:{faces}")
    assert "3 of 6" in line and line.count("20000x20000") == 3


def test_a_picture_that_vanishes_after_it_was_listed_is_named(tmp_path: Path, faces: Path) -> None:
    registry = load_registry("")
    options = DataOptions(f"folder:{faces}", size=16)
    source = choose_source(options, registry)
    (faces / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png cannot be read \(No such file or directory\); remove or replace it$"):
        prepare_chosen(source, options, registry)


@pytest.mark.parametrize("crop", ["centre-²", "centre-" + "9" * 5000, "centre--1", "centre-0", "centre-"])
def test_odd_crops_are_refused(refuse: Callable[..., str], faces: Path, crop: str) -> None:
    assert "unknown crop" in refuse(f"folder:{faces}", "--crop", crop)


def test_a_mask_of_another_shape_is_refused(refuse: Callable[..., str], faces: Path) -> None:
    (faces / "face_masks").mkdir()
    for name, shape in (("a", (40, 30)), ("b", (20, 15)), ("c", (30, 40))):  # the last is turned
        cv2.imwrite(str(faces / "face_masks" / f"{name}.png"), np.full(shape, 255, np.uint8))
    line = refuse(f"folder:{faces}")
    assert line.endswith("folder:c.png is 30x40 and its mask 40x30; get the mask that belongs to it")


def test_a_folder_without_pictures_or_with_folders_named_like_them_is_refused(
    refuse: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    assert "no pictures in" in refuse(f"folder:{tmp_path / 'none'}")
    (tmp_path / "none" / "x.jpg").mkdir()
    assert "no pictures in" in refuse(f"folder:{tmp_path / 'none'}")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop" in refuse(f"folder:{tmp_path / 'loop'}")


# Names.

NAMES = [
    "وجه.png",
    "脸 第一.png",
    "cafe\u0301.png",  # with a combining accent
    "caf\u00e9.png",
    "😀👩‍👩‍👧.png",
    "<script>alert(1)<⁄script>.png",
    "\"quoted\" 'twice' `and` $HOME.png",
    "--help.png",
    "-.png",
    "a,b;c|d\\e.png",
    "%41%00.png",
    "same.png",
    "same.jpg",
    "SAME.PNG",
    ".hidden.png",
    "n" * 250 + ".png",
]


def test_names_in_any_script_come_back_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index, name in enumerate(NAMES):
        (folder / name).write_bytes(PNG if not name.endswith(".jpg") else JPEG)
        os.utime(folder / name, (index, index))
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    monkeypatch.setattr(sys, "argv", run(f"folder:{folder}", "--jobs", "1", "--out", str(tmp_path / "out")))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, capfd.readouterr().err
    records = pd.read_parquet(tmp_path / "out" / "records.parquet")
    assert sorted(records["picture"]) == sorted(f"folder:{name}" for name in NAMES)
    assert set(records["status"]) == {"ok"}


@pytest.mark.parametrize("name", [b"line\nbreak.png", b"escape\x1b[31m.png", b"latin-\xe9.png", "\u0085.png".encode()])
def test_names_that_would_spoil_tables_or_terminals_are_refused(
    refuse: Callable[..., str], faces: Path, name: bytes
) -> None:
    try:
        Path(os.fsdecode(os.fsencode(faces) + b"/" + name)).write_bytes(PNG)
    except OSError:
        pytest.skip("this file system takes no such name")
    line = refuse(f"folder:{faces}")
    assert "has a control character or is not valid UTF-8; rename the file" in line
    assert line.isprintable()


def test_digits_that_are_no_number_are_a_name_like_any_other(refuse: Callable[..., str], tmp_path: Path) -> None:
    masks = tmp_path / "faces" / "CelebAMask-HQ-mask-anno" / "0"
    masks.mkdir(parents=True)
    (tmp_path / "faces" / "7.png").write_bytes(PNG)
    for name in ("00007_skin.png", "\N{SUPERSCRIPT TWO}_skin.png"):
        (masks / name).write_bytes(PNG)
    options, registry = DataOptions(f"folder:{tmp_path / 'faces'}", size=16), load_registry("")
    source = choose_source(options, registry)
    assert source.read_mask is not None and source.read_mask(0).shape == FACE.shape[:2]
    (tmp_path / "faces" / "\N{SUPERSCRIPT TWO}.png").write_bytes(PNG)
    assert "has no part masks for picture \N{SUPERSCRIPT TWO}" in refuse(options.data or "")


def test_of_links_to_nothing_only_pictures_matter(refuse: Callable[..., str], faces: Path) -> None:
    for name in (".#notes.txt", "loop"):  # such as Emacs makes
        (faces / name).symlink_to(faces / name if name == "loop" else "user@host.1234")
    options = DataOptions(f"folder:{faces}", size=16)
    assert len(choose_source(options, load_registry("")).ids) == 3
    for name, target in (("d.png", "nothing.png"), ("e.png", "e.png")):
        (faces / name).symlink_to(target)
        assert refuse(f"folder:{faces}").endswith(f"{faces / name} is a link to nothing; remove or replace it")
        (faces / name).unlink()
    (faces / "d.png").symlink_to("a.png")
    (faces / "folder").symlink_to(faces.parent)
    assert len(choose_source(options, load_registry("")).ids) == 4


def test_a_picture_that_is_in_a_set_twice_is_refused() -> None:
    with pytest.raises(DataError, match="made:1 is in the image set twice"):
        PictureSource("made", "all", ("made:1", "made:2", "made:1"), "", lambda index: FACE)


# CelebA's files, damaged.


@pytest.fixture
def small_celeba(tmp_path: Path) -> Path:
    """CelebA's layout with four pictures of the official test part."""
    root = tmp_path / "celeba"
    root.mkdir()
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        for number in range(1, 5):
            archive.writestr(f"img_align_celeba/{number:06}.jpg", JPEG)
    (root / "list_eval_partition.txt").write_text("".join(f"{number:06}.jpg 2\n" for number in range(1, 5)))
    (root / "identity_CelebA.txt").write_text("".join(f"{number:06}.jpg {number}\n" for number in range(1, 5)))
    return root


def _change(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


def _spoil_member(data: bytes) -> bytes:
    place = data.index(b"000003.jpg") + 200
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def _empty_zip(data: bytes) -> bytes:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("img_align_celeba.zip", lambda data: data[: len(data) // 2], "img_align_celeba.zip is not a readable zip"),
        ("img_align_celeba.zip", lambda data: data[:-100], "img_align_celeba.zip is not a readable zip"),
        ("img_align_celeba.zip", lambda data: data[: data.index(b"PK\1\2") + 50], "is not a readable zip"),
        ("img_align_celeba.zip", lambda data: b"", "img_align_celeba.zip is not a readable zip"),
        ("img_align_celeba.zip", _spoil_member, "img_align_celeba.zip:img_align_celeba/000003.jpg is damaged"),
        ("img_align_celeba.zip", _empty_zip, "lacks 4 of the 4 pictures"),
        ("list_eval_partition.txt", lambda data: data[:-3], "list_eval_partition.txt, line 4"),
        ("list_eval_partition.txt", lambda data: b"\xff\xfe" + data, "list_eval_partition.txt cannot be read"),
        ("list_eval_partition.txt", lambda data: b"", "list_eval_partition.txt lacks 4 of the 4 pictures there"),
        (
            "list_eval_partition.txt",
            lambda data: data[: 2 * len("000001.jpg 2\n")],
            "list_eval_partition.txt lacks 2 of the 4 pictures there (first: 000003.jpg); get it again",
        ),
        ("identity_CelebA.txt", lambda data: data[:-3], "identity_CelebA.txt, line 4"),
    ],
)
def test_damaged_celeba_is_named(
    refuse: Callable[..., str], small_celeba: Path, file: str, change: Callable[[bytes], bytes], said: str
) -> None:
    _change(small_celeba / file, change)
    line = refuse(f"celeba:{small_celeba}", "--split", "official-test", "--crop", "square")
    assert said in line


def _packed(method: int) -> Callable[[bytes], bytes]:
    """Return a function that packs the members of a zip archive by another method, with megabytes of zeros behind."""

    def change(data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) + bytes(2**25))
        return file.getvalue()

    return change


def _claim(place: int, size: int) -> Callable[[bytes], bytes]:
    """Return a function that lets the last member's entry in the archive's directory claim another size."""

    def change(data: bytes) -> bytes:
        start = data.rindex(b"PK\1\2") + place
        return data[:start] + struct.pack("<I", size) + data[start + 4 :]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_packed(zipfile.ZIP_BZIP2), "000004.jpg is neither stored nor deflated; pack the archive again"),
        (_packed(zipfile.ZIP_LZMA), "000004.jpg is neither stored nor deflated; pack the archive again"),
        (_claim(24, 2**28 + 1), "000004.jpg claims 268,435,457 bytes, more than 268,435,456; remove or replace it"),
        (_claim(20, 2**28), "000004.jpg is damaged (it claims more bytes than the archive has); download it again"),
    ],
)
def test_archives_that_would_fill_the_memory_are_refused(
    refuse: Callable[..., str], small_celeba: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    _change(small_celeba / "img_align_celeba.zip", change)
    assert said in refuse(f"celeba:{small_celeba}", "--split", "official-test", "--crop", "square")


def test_a_member_larger_than_it_claims_takes_no_memory(small_celeba: Path) -> None:
    if not peak():
        pytest.skip("the peak of a process's memory is not known here")
    _change(small_celeba / "img_align_celeba.zip", lambda data: _claim(24, 1000)(_packed(zipfile.ZIP_DEFLATED)(data)))
    source = choose_source(DataOptions(f"celeba:{small_celeba}", split="official-test"), load_registry(""))
    assert source.read(0).shape == FACE.shape
    before = reset_peak()
    with pytest.raises(DataError, match=r"000004\.jpg is damaged \(Bad CRC-32"):
        source.read(3)
    assert peak() - before < 10_000_000


def test_small_celeba_itself_is_fine(small_celeba: Path) -> None:
    options = DataOptions(f"celeba:{small_celeba}", split="official-test", crop="square", size=16)
    registry = load_registry("")
    images: ImageSet = prepare_chosen(choose_source(options, registry), options, registry)
    assert len(images) == 4 and images.images_file.is_relative_to(cache_dir())
