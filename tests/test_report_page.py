"""The HTML report: what is in the file, and what it does in a real browser."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import chromium
from click.testing import CliRunner
from constructed_run import Point, baseline, make_run

from facebench.analysis.equal_bytes import value_at
from facebench.analysis.summary import summarise
from facebench.cli import cli
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.engines import serial_engine
from facebench.errors import DataError
from facebench.operating_point import make_codec, parse_points
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import Registry, load_registry
from facebench.report.leaderboard import leaderboard_markdown
from facebench.report.page.report import Pictures, report_html
from facebench.runner import execute
from facebench.store import Run, write_run

EVIL = "<script>alert(1)</script>"
COUNT = 8
SIDE = 64


class _Parts(HTMLParser):
    """Collects the tags of a page and the text of its JSON document."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.document = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") == "document"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.document += data


def document_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_Parts(page).document)
    return found


def faced(label: str, values: list[float], sizes: list[int], **more: Any) -> Point:
    return Point(label, values, sizes, face=[value / 2 for value in values], **more)


def hostile_run() -> Run:
    """Curves and pictures whose names are markup."""
    learned = {"weights_bytes": 9000}
    points = [
        faced(f"{EVIL}:q=1", [0.30, 0.31, 0.32, 0.90], [40] * 4, about={**learned, "curve": EVIL}),
        faced(f"{EVIL}:q=2", [0.20, 0.21, 0.22, 0.80], [160] * 4, about={**learned, "curve": EVIL}),
        faced("jpeg:quality=5", [0.5, 0.5, 0.5, 0.6], [100] * 4),
        faced("jpeg:quality=50", [0.1, 0.1, 0.1, 0.2], [500] * 4),
        baseline("eigenfaces:step=1", [0.4] * 4, [30] * 4, face=[0.2] * 4),
        baseline("eigenfaces:step=2", [0.3] * 4, [300] * 4, face=[0.15] * 4),
    ]
    return make_run(points, name=f"</script>{EVIL}", identities=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


@pytest.fixture(scope="module")
def samples(registry: Registry) -> ImageSet:
    options = DataOptions("samples", limit=COUNT)
    return prepare_chosen(choose_source(options, registry), options, registry)


def run_of(codecs: str, images: ImageSet, registry: Registry) -> Run:
    points = plan_points(registry, parse_points(codecs, registry), baseline=False)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "facebench run")
    return execute(plan, serial_engine())


@pytest.fixture(scope="module")
def measured(registry: Registry, samples: ImageSet) -> Run:
    """Eight synthetic faces by three codecs with curves, one of them also at a budget."""
    codecs = "jpeg:quality=5/30/80,jpeg:quality=5/30/80:headerless=true,jpeg@512B,jpeg@600B,eigenfaces:step=1/4"
    return replace(run_of(codecs, samples, registry), name="samples-64")


@pytest.fixture(scope="module")
def page(measured: Run, samples: ImageSet, registry: Registry) -> str:
    text, notes = report_html(measured, Pictures(samples, registry, 4))
    assert notes == ()
    return text


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    tags = _Parts(page).tags
    assert not [tag for tag, attributes in tags if attributes.get("src") or tag in ("link", "iframe", "object")]
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert len(page.encode()) < 8_000_000


def test_names_cannot_become_markup() -> None:
    page, _ = report_html(hostile_run())
    assert EVIL not in page
    assert page.count("<script") == page.count("</script>") == 3
    document = document_of(page)
    assert document["curves"][0]["name"] == EVIL
    assert document["name"] == f"</script>{EVIL}"


def test_values_at_bytes_are_those_of_the_curves(measured: Run, page: str) -> None:
    summary, document = summarise(measured), document_of(page)
    for mask in ("none", "face"):
        for metric in summary.metrics:
            for name, curve in summary.curves(metric, mask).items():
                for size in document["budgets"]:
                    expected = value_at(curve, size).value
                    found = document["atBytes"][mask][name][str(size)]["metrics"].get(metric)
                    if expected is None:
                        assert found is None
                    else:
                        assert found[0] == pytest.approx(expected, rel=1e-5)


def test_embedded_pictures_are_what_the_codec_makes(samples: ImageSet, registry: Registry, page: str) -> None:
    pictures = document_of(page)["pictures"]
    assert len(pictures["pictures"]) == 4
    assert {"jpeg:quality=30:headerless=true", "jpeg@600B"} & set(pictures["decoded"])
    for label, of in pictures["decoded"].items():
        (point,) = parse_points(label, registry)
        codec = make_codec(registry.codecs[point.codec], point, (SIDE, SIDE))
        for place, entry in enumerate(pictures["pictures"]):
            original = samples.images[samples.ids.index(entry["name"])]
            payload = codec.encode(original)
            np.testing.assert_array_equal(pixels(entry["original"]), original)
            np.testing.assert_array_equal(pixels(of["images"][place]), codec.decode(payload))
            assert of["bytes"][place] == len(payload)


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1]


def test_damaged_pictures_are_not_embedded(
    measured: Run, samples: ImageSet, registry: Registry, tmp_path: Path
) -> None:
    data = bytearray(samples.images_file.read_bytes())
    data[500] ^= 1
    (tmp_path / "images.npy").write_bytes(data)
    with pytest.raises(DataError, match="are damaged; remove that folder and run again"):
        report_html(measured, Pictures(replace(samples, images_file=tmp_path / "images.npy"), registry, 1))


def test_pictures_that_come_out_otherwise_are_told(measured: Run, samples: ImageSet, registry: Registry) -> None:
    records = measured.records.assign(payload_bytes=measured.records["payload_bytes"] + 1)
    _, notes = report_html(replace(measured, records=records), Pictures(samples, registry, 2))
    assert any("are not of the size that the run recorded" in line for line in notes)


def test_a_page_that_gets_too_large_has_fewer_pictures_and_says_so(
    measured: Run, samples: ImageSet, registry: Registry, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = len(page.encode()) - 1
    monkeypatch.setattr("facebench.report.page.report.MOST_BYTES", most)
    text, notes = report_html(measured, Pictures(samples, registry, 4))
    assert notes == ("3 pictures are embedded, not 4: more do not fit into the page's size",)
    assert len(document_of(text)["pictures"]["pictures"]) == 3
    assert len(text.encode()) <= most


def test_a_page_that_is_too_large_without_pictures_says_so(
    measured: Run, samples: ImageSet, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facebench.report.page.report.MOST_BYTES", 10_000)
    for pictures in (None, Pictures(samples, registry, 1)):
        text, notes = report_html(measured, pictures)
        assert "more than the 0.01 MB that one should have: report fewer runs" in notes[0]
        assert "data:image" not in re.sub(r"img-src data:", "", text)
    assert notes[1] == "0 pictures are embedded, not 1: more do not fit into the page's size"


def test_a_curve_that_ends_too_early_is_named_where_it_is_better() -> None:
    points = [
        faced("jpeg:quality=5", [0.5], [100]),
        faced("jpeg:quality=50", [0.4], [600]),
        *(faced(f"eigenfaces:step={step}", [value], [size]) for step, value, size in ((1, 0.6, 30), (2, 0.3, 342))),
    ]
    best = document_of(report_html(make_run(points))[0])["best"]["none"]
    assert {entry["budget"]: entry["below"] for entry in best if entry["curves"]} == {
        32: None, 64: None, 128: None, 256: None, 512: {"curve": "eigenfaces", "bytes": 342}
    }  # fmt: skip


def test_a_curves_name_may_hold_marks_of_markdown() -> None:
    name = "a**b** c"
    learned = {"weights_bytes": 9000, "curve": name}
    points = [faced(f"a:q={size}", [0.2], [size], about=learned) for size in (30, 300)]
    points += [baseline(f"eigenfaces:step={size}", [0.3], [size], face=[0.2]) for size in (30, 300)]
    verdict = document_of(report_html(make_run(points))[0])["verdicts"]["none"][0]
    assert verdict[0] == {"text": name, "strong": True}
    assert verdict[1]["text"].startswith(" against eigenfaces, ")


def run_report(run: Run, folder: Path, *arguments: str) -> tuple[int, str, Path]:
    write_run(folder / "run", run, leaderboard_markdown(run))
    out = folder / "page.html"
    result = CliRunner().invoke(cli, ["report", str(folder / "run"), "--out", str(out), "--quiet", *arguments])
    return result.exit_code, f"{result.output}{result.exception or ''}", out


def test_the_command_embeds_pictures_only_when_asked(measured: Run, tmp_path: Path) -> None:
    code, said, out = run_report(measured, tmp_path)
    assert (code, said) == (0, "")
    assert "data:image" not in re.sub(r"img-src data:", "", out.read_text())
    result = CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "--out", str(tmp_path)])
    assert str(result.exception) == f"--out {tmp_path} is a folder: name the HTML file in it, {tmp_path}/report.html"
    code, said, out = run_report(measured, tmp_path, "--include-pictures", "2")
    assert (code, said) == (0, "")  # synthetic faces need no reminder
    assert len(document_of(out.read_text())["pictures"]["pictures"]) == 2


def test_pictures_of_other_data_are_refused(measured: Run, tmp_path: Path) -> None:
    other = replace(
        measured, manifest={**measured.manifest, "image_set": {**measured.manifest["image_set"], "digest": "f" * 64}}
    )
    code, said, out = run_report(other, tmp_path, "--include-pictures", "2")
    assert code == 1
    assert "is not what" in said
    assert not out.exists()
    code, said, _ = run_report(measured, tmp_path, "--data", "samples")
    assert code == 2
    assert "add --include-pictures" in said


def test_photographs_come_with_their_terms(samples: ImageSet, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for index in range(2):  # a folder's pictures count as real ones, whatever they are
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), samples.images[index])
    options = DataOptions(f"folder:{tmp_path / 'faces'}")
    run = run_of("jpeg:quality=10", prepare_chosen(choose_source(options, registry), options, registry), registry)
    write_run(tmp_path / "run", run, leaderboard_markdown(run))
    page = tmp_path / "page.html"
    arguments = ["report", str(tmp_path / "run"), "--out", str(page), "--quiet", "--include-pictures", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--data", str(options.data)])
    assert result.exit_code == 0
    assert "the page holds pictures of real faces; folder: the pictures are yours" in result.stderr
    assert "the pictures are yours" in document_of(page.read_text())["pictures"]["terms"]


# In the browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a page at a width; at the end of the test it must have made no request, and no error."""
    troubles: list[str] = []
    contexts = []

    def opened(text: str, width: int = 1280, **more: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **more)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(5000)
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("dialog", lambda dialog: troubles.append("a dialog"))
        tab.on("request", lambda request: check(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector("#board tbody tr")
        return tab

    def check(url: str) -> None:
        if not url.startswith(("file:", "data:")):
            troubles.append(f"a request for {url}")

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def column(tab: Any, number: int) -> list[str]:
    texts: list[str] = tab.eval_on_selector_all(
        f"#board tbody tr > :nth-child({number})", "cells => cells.map(cell => cell.textContent)"
    )
    return texts


def painted(tab: Any) -> None:
    """Wait until the viewer has drawn its pictures."""
    tab.wait_for_selector("[data-painted]")


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_at_every_width_without_scrolling_sideways(open_page: Any, page: str, width: int, scheme: str) -> None:
    tab = open_page(page, width, color_scheme=scheme)
    painted(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("#plot canvas").count() == 1
    assert tab.locator("#best button").count() == 6
    side = tab.locator(".compare .stage").bounding_box()["width"]
    assert side >= 4 * SIDE
    assert side % SIDE == 0


def test_columns_sort_by_click_and_by_key(open_page: Any, page: str) -> None:
    tab = open_page(page)
    tab.select_option("#budget", "")
    names = column(tab, 2)
    tab.click("#board th button:has-text('bytes')")
    sizes = [float(text.replace(",", "")) for text in column(tab, 3)]
    assert sizes == sorted(sizes)
    assert column(tab, 2) != names
    assert tab.get_attribute("#board th:has(button:has-text('bytes'))", "aria-sort") == "ascending"
    tab.keyboard.press("Enter")  # the button keeps the focus
    assert [float(text.replace(",", "")) for text in column(tab, 3)] == sorted(sizes, reverse=True)
    assert tab.get_attribute("#board th:has(button:has-text('bytes'))", "aria-sort") == "descending"
    assert tab.locator("#board th[aria-sort]").count() == 1


def test_mask_bytes_metric_and_filter_change_the_table(open_page: Any, page: str) -> None:
    tab = open_page(page)
    tab.select_option("#budget", "")
    whole = column(tab, 5)
    tab.check("[name=mask][value=face]")
    assert column(tab, 5) != whole
    assert "the face" in tab.text_content("#leaderboard-about")
    tab.fill("#filter", "eigenfaces")
    assert {name.split(":")[0] for name in column(tab, 2)} == {"eigenfaces"}
    assert tab.locator("#legend button").count() == 1
    tab.fill("#filter", "")
    tab.select_option("#metric", "PSNR")
    assert "PSNR" in tab.text_content("#chart-about")
    tab.click("#best button >> nth=5")
    assert tab.input_value("#budget") == "1024"
    assert tab.get_attribute("#best button >> nth=5", "aria-pressed") == "true"


def test_a_budget_has_its_own_rows(open_page: Any, page: str) -> None:
    tab = open_page(page)
    tab.select_option("#budget", "512")
    assert "jpeg@512B" in column(tab, 2)
    tab.select_option("#budget", "256")
    assert "jpeg@512B" not in column(tab, 2)


def divider(tab: Any) -> int:
    return int(tab.get_attribute("[role=slider]", "aria-valuenow"))


def test_the_divider_moves_by_mouse_and_by_keys(open_page: Any, page: str) -> None:
    tab = open_page(page)
    painted(tab)
    slider = tab.locator("[role=slider]")
    slider.scroll_into_view_if_needed()
    box = tab.locator(".compare .stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    assert divider(tab) == 50
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    tab.mouse.up()
    assert divider(tab) == 25
    clip = tab.eval_on_selector(".compare canvas:nth-child(2)", "canvas => canvas.style.clipPath")
    assert clip == "inset(0px 75% 0px 0px)"
    tab.keyboard.press("ArrowRight")
    assert divider(tab) == 27
    tab.keyboard.press("End")
    assert divider(tab) == 100


def test_the_viewer_obeys_its_keys(open_page: Any, page: str) -> None:
    tab = open_page(page)
    painted(tab)
    viewer = tab.locator(".viewer")
    viewer.focus()
    name = tab.text_content(".original figcaption")
    before = canvas_bytes(tab)
    tab.keyboard.press("ArrowRight")
    assert tab.text_content(".original figcaption") != name
    tab.keyboard.press("ArrowLeft")
    assert tab.text_content(".original figcaption") == name
    left = tab.input_value("#view-a")
    tab.keyboard.press("ArrowDown")
    assert tab.input_value("#view-a") != left
    tab.keyboard.press("ArrowUp")
    wide = tab.locator(".compare .stage").bounding_box()["width"]
    tab.keyboard.press("+")
    assert tab.locator(".compare .stage").bounding_box()["width"] == pytest.approx(1.5 * wide)
    tab.keyboard.press("-")
    tab.keyboard.press("m")
    assert tab.get_attribute("button:has-text('Face mask')", "aria-pressed") == "true"
    tab.wait_for_selector(".compare .overlay:not([hidden])")
    turn = int(tab.get_attribute(".viewer", "data-painted"))
    tab.keyboard.press("e")
    tab.wait_for_selector(f".viewer[data-painted='{turn + 1}']")
    assert canvas_bytes(tab) != before
    assert tab.is_visible(".error-scale")


def canvas_bytes(tab: Any) -> str:
    found: str = tab.eval_on_selector(".compare canvas:nth-child(2)", "canvas => canvas.toDataURL()")
    return found


def test_chart_points_and_pictures_lead_to_each_other(open_page: Any, page: str) -> None:
    tab = open_page(page)
    painted(tab)
    tab.fill("#filter", "eigenfaces")
    tab.locator("#plot").scroll_into_view_if_needed()
    box = tab.locator("#plot .u-over").bounding_box()
    for step in range(0, int(box["height"]), 16):  # down where the curve begins, until the pointer is on a point
        tab.mouse.move(box["x"] + 0.06 * box["width"], box["y"] + step)
        if tab.locator(".tooltip:not([hidden])").count():
            break
    else:
        pytest.fail("no point of the chart under the pointer")
    label = tab.text_content(".tooltip b")
    tab.mouse.down()
    tab.mouse.up()
    assert label in tab.text_content("#picked")
    assert tab.input_value("#view-a") == "eigenfaces"
    tab.select_option("#view-bytes", index=tab.locator("#view-bytes option").count() - 1)
    link = tab.locator(".caption .link >> nth=-1")
    there = link.text_content()
    link.click()
    assert there in tab.text_content("#picked")


def test_a_worst_picture_opens_in_the_viewer(open_page: Any, page: str) -> None:
    tab = open_page(page)
    painted(tab)
    link = tab.locator(".worst-list button.link >> nth=-1")
    name = link.text_content().split(" ")[0]
    link.click()
    assert name in tab.text_content(".original figcaption")


def in_focus(tab: Any) -> str:
    found: str = tab.evaluate("`${document.activeElement.tagName} ${document.activeElement.textContent}`")
    return found


@pytest.mark.parametrize("budget", ["", "512"])
def test_what_is_pressed_by_key_keeps_the_focus(open_page: Any, page: str, budget: str) -> None:
    tab = open_page(page)
    painted(tab)
    tab.select_option("#budget", budget)
    for chosen in ("#best button >> nth=2", "#board tbody .link >> nth=1", "#legend button >> nth=1"):
        tab.focus(chosen)
        before = in_focus(tab)
        tab.keyboard.press("Enter")
        assert before.startswith("BUTTON ")
        assert in_focus(tab) == before
    tab.select_option("#view-bytes", "512")
    tab.select_option("#view-b", "jpeg:headerless=true")
    for side in (".caption >> nth=0", ".caption.right"):
        tab.focus(f"{side} >> .link")
        tab.keyboard.press("Enter")
        assert in_focus(tab) == f"BUTTON {tab.text_content(f'{side} >> .link')}"


def test_a_link_that_is_gone_leaves_the_focus_in_the_viewer(open_page: Any, page: str) -> None:
    tab = open_page(page)
    painted(tab)
    tab.focus(".caption >> nth=0 >> .link")
    for _ in range(tab.locator("#view-a option").count()):
        if tab.input_value("#view-a") != "original":
            tab.keyboard.press("ArrowUp")
    assert tab.input_value("#view-a") == "original"
    assert tab.evaluate("document.activeElement.className") == "viewer"


def test_without_a_codec_that_decodes_here_the_page_works_but_for_pictures(
    open_page: Any, measured: Run, samples: ImageSet
) -> None:
    text, notes = report_html(measured, Pictures(samples, Registry(), 2))
    assert any("jpeg is not installed here" in line for line in notes)
    tab = open_page(text)
    assert "No operating point of this run could be decoded again here" in tab.text_content("#viewer")
    assert tab.locator("#worst-table tbody tr").count() > 0
    assert tab.locator("#worst-table .link").count() == 0
    assert "in the viewer" not in tab.text_content("#worst-about")
    tab.select_option("#budget", "256")
    tab.click("#board tbody .link >> nth=0")


def test_a_page_without_room_for_a_picture_says_so(
    open_page: Any, measured: Run, samples: ImageSet, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facebench.report.page.report.MOST_BYTES", 10_000)
    tab = open_page(report_html(measured, Pictures(samples, registry, 1))[0])
    assert "No picture fits into this page" in tab.text_content("#viewer")


def test_the_best_are_of_how_many_and_buttons_are_high_enough_for_a_thumb(open_page: Any, page: str) -> None:
    tab = open_page(page, 390)
    painted(tab)
    cards = tab.eval_on_selector_all("#best button", "cards => cards.map(card => card.textContent)")
    assert all(re.search(r"of \d+ curves that span it|the only curve|no curve spans", card) for card in cards)
    tab.select_option("#budget", "")
    heights = tab.eval_on_selector_all(
        "button", "all => all.map(one => one.getBoundingClientRect().height).filter(height => height > 0)"
    )
    assert len(heights) > 30
    assert min(heights) >= 24


def test_dark_and_light_by_the_button(open_page: Any, page: str) -> None:
    tab = open_page(page, color_scheme="light")
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("#theme")
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    assert tab.text_content("#theme") == "Light mode"
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_it_prints_light_and_comes_back_dark(open_page: Any, page: str) -> None:
    tab = open_page(page, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(ground)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(ground) != dark
    assert tab.locator("#plot .uplot").bounding_box()["width"] < 700  # a sheet of paper is no wider
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(ground) == dark
    assert tab.locator("#plot .uplot").bounding_box()["width"] > 700


def test_a_picture_that_failed_leaves_a_gap(
    open_page: Any, measured: Run, samples: ImageSet, registry: Registry
) -> None:
    text, _ = report_html(measured, Pictures(samples, registry, 2))
    tab = open_page(re.sub(r'("jpeg@512B":\{"images":\[)"[^"]*"', r"\1null", text))
    painted(tab)
    tab.select_option("#view-bytes", "512")
    tab.select_option("#view-a", "jpeg")
    assert "no picture" in tab.text_content(".caption")
    tab.locator(".strip button >> nth=1").click()
    assert re.search(r"\d+ bytes, 1-SSIM 0\.", tab.text_content(".caption"))


def test_hostile_names_are_shown_as_text(open_page: Any) -> None:
    tab = open_page(report_html(hostile_run())[0])
    assert EVIL in tab.text_content("#board")
    assert EVIL in tab.title()
    tab.click(f"#legend button:has-text({json.dumps(EVIL)})")
    assert tab.get_attribute(f"#legend button:has-text({json.dumps(EVIL)})", "aria-pressed") == "false"
    assert "--include-pictures" in tab.text_content("#viewer")
