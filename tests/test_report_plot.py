"""Rate-distortion plots."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from constructed_run import Point, baseline, make_run

from facebench.analysis.curves import CurvePoint, make_curve
from facebench.analysis.summary import summarise
from facebench.cli import cli
from facebench.errors import FacebenchError, ResultsError
from facebench.report.plot import rate_distortion_svg
from facebench.store import write_run


def a_run():
    return make_run(
        [
            Point("jpeg:quality=5", [0.3, 0.3], [16, 16]),
            Point("jpeg:quality=50", [0.1, 0.1], [256, 256]),
            Point("broken", [0.1, 0.1], [256, 256], failed={0: "crashed"}),
            baseline("eigenfaces:step=1", [0.2, 0.2], [64, 64]),
        ]
    )


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: ``lines`` by label, (sizes, values, style); ``bands``, (sizes, low, high) in order."""
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    seen = SimpleNamespace(lines={}, bands=[])
    plot, fill = Axes.plot, Axes.fill_between

    def plotted(self, x, y, **style):
        seen.lines[style["label"]] = (list(x), [round(float(v), 9) for v in y], style)
        return plot(self, x, y, **style)

    def filled(self, x, low, high, **style):
        seen.bands.append((list(x), low, high))
        return fill(self, x, low, high, **style)

    monkeypatch.setattr(Axes, "plot", plotted)
    monkeypatch.setattr(Axes, "fill_between", filled)
    return seen


def test_the_svg_is_drawn_with_a_png_beside_it_and_is_the_same_every_time(tmp_path):
    pytest.importorskip("matplotlib")
    svg, png = rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "new" / "curve.svg")
    again, _ = rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "again.svg")
    assert svg.read_bytes() == again.read_bytes()
    assert b"<svg" in svg.read_bytes()
    assert b"<dc:date>" not in svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_curves_hold_what_was_measured_and_no_failed_point(tmp_path, drawn):
    rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg")
    assert {label: line[:2] for label, line in drawn.lines.items()} == {
        "jpeg": ([16, 256], [0.3, 0.1]),
        "eigenfaces (baseline)": ([64], [0.2]),
    }


def test_bands_are_the_percentiles_of_the_curve_at_its_points_bytes(tmp_path, drawn):
    draw = np.random.default_rng(1)
    points = [
        Point(f"jpeg:quality={n}", list(draw.normal(0.5 - n / 10, 0.1, 80)), list(draw.integers(20, 30, 80) * 2**n))
        for n in range(3)
    ]
    run = make_run(points)
    rate_distortion_svg(run, "1-SSIM", tmp_path / "a.svg")
    summary = summarise(run)
    curve = summary.curves("1-SSIM")["jpeg"]
    resampled = summary.resampled_curve(curve, "1-SSIM")
    [(sizes, low, high)] = drawn.bands
    assert sizes == [point.bytes for point in curve.points]
    for n, size in enumerate(sizes):
        read = [np.interp(np.log(size), np.log(b), v) for b, v in zip(resampled.bytes, resampled.values, strict=True)]
        assert (low[n], high[n]) == pytest.approx(tuple(np.percentile(read, [2.5, 97.5])))
        assert low[n] < curve.points[n].value < high[n]


def variants():
    """Two codecs with a setting more each; that of ``jpeg`` is better at all sizes, that of ``webp`` worse."""
    points = []
    for curve, shift in (("jpeg", 0.0), ("jpeg:fast=true", -0.05), ("webp", -0.1), ("webp:fast=true", 0.05)):
        weights = 4_000_000 if curve.startswith("webp") else 400
        about = {"curve": curve, "weights_bytes": weights}
        points += [Point(f"{curve}:q={n}", [0.5 - n / 10 + shift] * 3, [20 * 4**n] * 3, about=about) for n in range(3)]
    return [*points, Point("png", [0.0] * 3, [9000] * 3, about={"lossless": True})]


def test_the_best_curve_of_a_codec_is_drawn_strongly_and_its_others_thin_in_its_colour(tmp_path, drawn):
    rate_distortion_svg(make_run(variants()), "1-SSIM", tmp_path / "a.svg")
    lines = {label.strip(): line[2] for label, line in drawn.lines.items()}
    # Drawn from the last of the legend to the first; the lossless codec is a line across.
    assert list(lines) == ["jpeg", "jpeg:fast=true", "fast=true", "webp"]
    assert lines["jpeg"]["color"] == lines["jpeg:fast=true"]["color"] != lines["webp"]["color"]
    assert lines["fast=true"]["color"] == lines["webp"]["color"]
    assert lines["jpeg:fast=true"]["linewidth"] == lines["webp"]["linewidth"] > lines["jpeg"]["linewidth"]
    assert lines["webp"]["linestyle"] == "-" != lines["fast=true"]["linestyle"]
    assert lines["webp"]["markerfacecolor"] == lines["webp"]["color"]  # learned: decoder weights
    assert lines["jpeg:fast=true"]["markerfacecolor"] == "white"


def test_only_the_curves_asked_for_are_drawn_in_the_colours_that_they_always_have(tmp_path, drawn):
    run = make_run(variants())
    rate_distortion_svg(run, "1-SSIM", tmp_path / "a.svg")
    before = drawn.lines["webp"][2]["color"]
    drawn.lines.clear()
    rate_distortion_svg(run, "1-SSIM", tmp_path / "a.svg", only=["webp"])
    assert list(drawn.lines) == ["webp"]
    assert drawn.lines["webp"][2]["color"] == before
    with pytest.raises(ResultsError, match="no curve 'webb'; did you mean 'webp'"):
        rate_distortion_svg(run, "1-SSIM", tmp_path / "a.svg", only=["webb"])


def test_twenty_codecs_have_twenty_looks(tmp_path, drawn):
    run = make_run([Point(f"codec{n}", [0.1, 0.2], [10 + n, 10 + n]) for n in range(20)])
    rate_distortion_svg(run, "1-SSIM", tmp_path / "a.svg")
    assert len({(style["color"], style["marker"]) for _, _, style in drawn.lines.values()}) == 20
    assert len({style["color"] for _, _, style in drawn.lines.values()}) == 18


def test_published_curves_are_drawn_in_grey_beside_the_measured_ones(tmp_path, drawn):
    curve = make_curve("theirs (kodak; not ranked)", "theirs", [CurvePoint("a", 20, 0.2), CurvePoint("b", 40, 0.1)])
    rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg", beside=[curve])
    sizes, values, style = drawn.lines["theirs (kodak; not ranked)"]
    assert (sizes, values) == ([20, 40], [0.2, 0.1])
    assert style["color"] == "#808080" and style["linestyle"] != "-"


def test_the_command_takes_curves_and_published_results(tmp_path, drawn):
    write_run(tmp_path / "run", a_run(), "")
    file = tmp_path / "theirs.json"
    file.write_text('{"name": "theirs", "dataset": "kodak", "results": {"bpp": [0.1, 0.2], "psnr": [27.0, 29.0]}}')
    command = ["plot", str(tmp_path / "run"), "--metric", "PSNR", "--curves", "jpeg", "--beside", str(file)]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.split() == [str(tmp_path / "run" / f"rate-distortion.{kind}") for kind in ("svg", "png")]
    assert set(drawn.lines) == {"jpeg", "theirs (kodak; not ranked)"}
    assert drawn.lines["theirs (kodak; not ranked)"][0] == pytest.approx([0.1 * 512, 0.2 * 512])
    with pytest.raises(ResultsError, match=r"theirs.json has no L1; it has: PSNR"):
        CliRunner().invoke(
            cli, ["plot", str(tmp_path / "run"), "--metric", "L1", "--beside", str(file)], catch_exceptions=False
        )


def test_a_missing_metric_mask_or_curve_is_one_clear_line(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ResultsError, match="did you mean 'PSNR'"):
        rate_distortion_svg(a_run(), "PSNRR", tmp_path / "a.svg")
    with pytest.raises(ResultsError, match="no face masks"):
        rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg", mask="face")
    broken = make_run([Point("broken", [0.1], [9], failed={0: "crashed"})])
    with pytest.raises(ResultsError, match="no curve to draw"):
        rate_distortion_svg(broken, "1-SSIM", tmp_path / "a.svg")
    tuned = make_run([Point("webp@128B", [0.1], [99], about={"budget": 128, "curve": "webp@budget"})])
    for only in ([], ["webp"]):
        with pytest.raises(ResultsError, match="byte budgets only, which lie on no curve; run it with --sweep"):
            rate_distortion_svg(tuned, "1-SSIM", tmp_path / "a.svg", only=only)


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(FacebenchError, match=r"pip install 'facebench\[plot\]'"):
        rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg")
