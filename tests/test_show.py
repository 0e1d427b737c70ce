"""``facebench show``: a sheet with the very pictures, a table with the very numbers, and one line where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import faulty_codecs
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from facebench.cli.show import show_command
from facebench.data.preprocess import Preprocessing
from facebench.data.samples import open_source
from facebench.errors import FacebenchError
from facebench.operating_point import OperatingPoint, make_codec, parse_points
from facebench.plugins import Registry, load_registry
from facebench.report.budget_cells import budget_cells
from facebench.report.contact_sheet import Layout, chosen_zoom


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without other people's plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")


def show(*arguments: str) -> None:
    show_command.main([*arguments], standalone_mode=False)


def sample(number: int) -> NDArray[np.uint8]:
    return open_source(None, "all").read(number)


def decoded(text: str, picture: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint8]]:
    registry = load_registry("")
    (point,) = parse_points(text, registry)
    codec = make_codec(registry.codecs[point.codec], point, picture.shape[:2])
    payload = codec.encode(picture)
    return payload, codec.decode(payload)


def holds(sheet: NDArray[np.uint8], picture: NDArray[np.uint8], zoom: int) -> int:
    """How many times ``picture`` stands on the sheet, pixel by pixel, each pixel zoom x zoom."""
    enlarged = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    found = cv2.matchTemplate(sheet, np.ascontiguousarray(enlarged), cv2.TM_SQDIFF)
    return sum(
        np.array_equal(sheet[top : top + len(enlarged), left : left + len(enlarged)], enlarged)
        for top, left in np.argwhere(found < found.min() + 1000)
    )


def read_sheet(path: str) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)


def test_the_sheet_holds_the_original_and_what_each_codec_decodes(capsys: pytest.CaptureFixture[str]) -> None:
    show("sample:3", "--codecs", "jpeg,eigenfaces", "--bytes", "600,1200", "--out", "a.png", "--quiet")
    sheet = read_sheet("a.png")
    zoom = chosen_zoom(64)
    assert zoom == 3
    assert holds(sheet, sample(3), zoom) == 2  # in each row
    for text in ("jpeg@600B", "jpeg@1200B", "eigenfaces@600B"):
        assert holds(sheet, decoded(text, sample(3))[1], zoom) >= 1
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in ("jpeg@600B", "jpeg@1200B", "eigenfaces@600B"):
        payload, picture = decoded(text, sample(3))
        ssim = structural_similarity(
            sample(3), picture, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert f"{1 - ssim:.4f}" in shown.out
        assert f"({len(payload):,} B)" in shown.out


def test_the_same_command_writes_the_same_file() -> None:
    for name in ("a.png", "b.png"):
        show("sample:0", "--codecs", "jpeg", "--bytes", "500", "--out", name, "--quiet")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_picture_file_is_cropped_and_scaled_as_encode_does(capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    image = cv2.resize(image, (80, 100), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("face.png", image[..., ::-1])
    show("face.png", "--codecs", "jpeg", "--bytes", "900", "--size", "32", "--zoom", "2", "--quiet")
    assert holds(read_sheet("sheet.png"), Preprocessing("square", 32).picture(image), 2) == 1
    assert "face.png, crop square, 32x32, area filter" in capsys.readouterr().out


def test_what_does_not_fit_is_downscaled_or_says_how_small_it_gets(capsys: pytest.CaptureFixture[str]) -> None:
    show("sample:3", "--codecs", "jpeg:headerless=true,png", "--bytes", "45,512", "--quiet")
    out = capsys.readouterr().out
    small, large = (line for line in out.splitlines() if " B " in line and line.startswith("|"))
    assert "B)¹" in small and "B)¹" not in large
    assert "¹ coded at a smaller size" in out
    assert small.count("smallest: ") == large.count("smallest: ") == 1  # png
    with pytest.raises(FacebenchError):
        show("sample:3", "--codecs", "jpeg@45B", "--bytes", "45")


def test_a_codec_that_takes_no_such_size_leaves_its_cells_empty(capsys: pytest.CaptureFixture[str]) -> None:
    show("sample:3", "--codecs", "cvae,jpeg", "--bytes", "700", "--size", "48", "--quiet")
    out = capsys.readouterr().out
    assert "¹ takes no picture of 48x48" in out
    assert "**" in out  # jpeg is there


def test_several_pictures_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    show("sample:3", "sample:4", "--codecs", "jpeg", "--bytes", "700", "--quiet")
    sheet = read_sheet("sheet.png")
    assert holds(sheet, sample(3), 3) == holds(sheet, sample(4), 3) == 1
    out = capsys.readouterr().out
    assert "| sample:3 " in out and "| sample:4 " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample:256", "--codecs", "jpeg"), "sample:0 to sample:255"),
        (("sample:x", "--codecs", "jpeg"), "sample:0 to sample:255"),
        (("text.png", "--codecs", "jpeg"), "text.png is not a readable picture"),
        (("missing.png", "--codecs", "jpeg"), "missing.png does not exist: name picture files, or sample:0"),
        ((".", "--codecs", "jpeg"), "^. is a folder: name picture files"),
        (("sample:1", "--codecs", "jpeg", "--size", "0"), "picture size 0 is out of range: use 8 to"),
        (("sample:1", "--codecs", "jpg"), "did you mean 'jpeg'"),
        (("sample:1", "--codecs", "jpeg", "--bytes", "1k"), "whole numbers of bytes"),
        (("sample:1", "--codecs", "jpeg:quality=5"), "quality is what the budget chooses"),
        (("sample:1", "--codecs", "jpeg@64B"), "leave the budget after @ out"),
        (("sample:1", "--codecs", "jpeg", "--out", "sheet.jpg"), "name it sheet.png"),
        (("text.png", "--codecs", "jpeg", "--out", "text.png"), "is one of the pictures"),
        (("sample:1", "--codecs", "jpeg", "--size", "4096", "--zoom", "9"), "smaller --size or --zoom"),
        (("sample:1", "--codecs", "jpeg", "--crop", "centre-99"), "too small for crop"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments: tuple[str, ...], message: str) -> None:
    Path("text.png").write_text("not a picture")
    with pytest.raises(FacebenchError, match=message) as caught:
        show(*arguments, "--quiet")
    assert "\n" not in str(caught.value)
    assert [path.name for path in Path.cwd().iterdir()] == ["text.png"]
    assert Path("text.png").read_text() == "not a picture"


def test_what_a_codec_raises_empties_its_cells_alone() -> None:
    registry = Registry(codecs={spec.name: spec for spec in faulty_codecs.specs()})
    pictures = np.full((2, 16, 16, 3), 200, np.uint8)
    pictures[0] = 10

    def cells(name: str) -> list[str]:
        found = budget_cells(pictures, OperatingPoint(name, (), 500), registry)
        assert all((cell.picture is None) == bool(cell.reason) for cell in found)
        return [cell.reason for cell in found]

    assert cells("zlib") == ["", ""]
    assert cells("raisesondark") == ["RuntimeError: too dark for me", ""]
    assert cells("unmade") == ["RuntimeError: no licence"] * 2
    for name in ("wrongshape", "wrongtype", "quits", "shortbatch"):
        first, second = cells(name)
        assert first and second and "\n" not in first


def test_the_bytes_are_those_that_bits_per_image_counts() -> None:
    registry = load_registry("")
    (point,) = parse_points("jpeg:headerless=true", registry)
    (cell,) = budget_cells(sample(5)[None], replace(point, budget=256), registry)
    payload, picture = decoded("jpeg:headerless=true@256B", sample(5))
    assert cell.bytes == len(payload) <= 256
    assert cell.picture is not None
    np.testing.assert_array_equal(cell.picture, picture)


@pytest.mark.parametrize("side", [64, 128])
def test_ten_codecs_of_long_names_do_not_overlap(side: int) -> None:
    names = [f"codec{index}:headerless=true:a_very_long_setting_of_it=0.123456789" for index in range(10)]
    layout = Layout.of(1, side, names, [64, 128, 16384], chosen_zoom(side))
    assert layout.left(1) - layout.left(0) > layout.cell >= 160
    for lines in layout.headers:
        for line in lines:
            assert cv2.getTextSize(line, cv2.FONT_HERSHEY_DUPLEX, 0.5, 1)[0][0] <= layout.cell
    assert layout.left(10) + layout.cell < layout.width
