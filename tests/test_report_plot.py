"""Rate-distortion plots."""

import sys

import pytest
from constructed_run import Point, baseline, make_run

from facebench.errors import FacebenchError, ResultsError
from facebench.report.plot import rate_distortion_svg


def a_run():
    return make_run(
        [
            Point("jpeg:quality=5", [0.3, 0.3], [16, 16]),
            Point("jpeg:quality=50", [0.1, 0.1], [256, 256]),
            Point("broken", [0.1, 0.1], [256, 256], failed={0: "crashed"}),
            baseline("eigenfaces:step=1", [0.2, 0.2], [64, 64]),
        ]
    )


def test_the_svg_is_drawn_with_a_png_beside_it_and_is_the_same_every_time(tmp_path):
    pytest.importorskip("matplotlib")
    svg, png = rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "new" / "curve.svg")
    again, _ = rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "again.svg")
    assert svg.read_bytes() == again.read_bytes()
    assert b"<svg" in svg.read_bytes()
    assert b"<dc:date>" not in svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_curves_hold_what_was_measured_and_no_failed_point(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    drawn = {}
    plot = Axes.plot

    def watched(self, x, y, **style):
        drawn[style["label"]] = (list(x), [round(v, 9) for v in y])
        return plot(self, x, y, **style)

    monkeypatch.setattr(Axes, "plot", watched)
    rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg")
    assert drawn == {"jpeg": ([16, 256], [0.3, 0.1]), "eigenfaces (baseline)": ([64], [0.2])}


def test_a_missing_metric_mask_or_curve_is_one_clear_line(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ResultsError, match="did you mean 'PSNR'"):
        rate_distortion_svg(a_run(), "PSNRR", tmp_path / "a.svg")
    with pytest.raises(ResultsError, match="no face masks"):
        rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg", mask="face")
    broken = make_run([Point("broken", [0.1], [9], failed={0: "crashed"})])
    with pytest.raises(ResultsError, match="no curve to draw"):
        rate_distortion_svg(broken, "1-SSIM", tmp_path / "a.svg")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(FacebenchError, match=r"pip install 'facebench\[plot\]'"):
        rate_distortion_svg(a_run(), "1-SSIM", tmp_path / "a.svg")
