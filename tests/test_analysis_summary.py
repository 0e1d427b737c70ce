"""Rows of a summary worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from constructed_run import Point, baseline, make_run

from facebench.analysis.ranking import ranked_rows, requested_points
from facebench.analysis.summary import summarise
from facebench.errors import ResultsError


def test_means_sizes_and_times_of_a_row():
    run = make_run([Point("jpeg:quality=5", [0.1, 0.2, 0.6], [100, 200, 600])])
    row = summarise(run).row("jpeg:quality=5")
    assert row.pictures == 3
    assert row.failures == {}
    assert row.bytes == row.cost == 300
    assert row.bpp == pytest.approx(300 * 8 / 4096)
    assert row.ratio == pytest.approx(12288 / 300)  # not the mean of 12288 / bytes
    assert row.metrics["1-SSIM"].mean == pytest.approx(0.3)
    assert row.metrics["L1"].mean == pytest.approx(0.03)
    assert row.encode_ms == pytest.approx(2)
    assert row.decode_ms == pytest.approx(4)
    assert (row.payload.worst, row.payload.worst_picture) == (600, "set:2")


def test_the_spread_and_the_worst_picture():
    values = list(np.arange(101) / 100)
    spread = summarise(make_run([Point("a", values, [10] * 101)])).row("a").metrics["1-SSIM"].spread
    assert (spread.p5, spread.p50, spread.p95) == pytest.approx((0.05, 0.5, 0.95))
    assert (spread.worst, spread.worst_picture) == (1.0, "set:100")


def test_the_worst_picture_of_a_metric_where_higher_is_better_is_the_lowest():
    spread = summarise(make_run([Point("a", [0.3, 0.1, 0.2], [10] * 3)])).row("a").metrics["PSNR"].spread
    assert (spread.worst, spread.worst_picture) == (pytest.approx(20.01), "set:1")


def test_whole_pictures_and_face_are_separate_rows():
    summary = summarise(make_run([Point("a", [0.2, 0.4], [10, 10], face=[0.1, 0.3])]))
    assert summary.has_masks
    assert [(r.mask, r.metrics["1-SSIM"].mean) for r in summary.rows] == [
        ("none", pytest.approx(0.3)),
        ("face", pytest.approx(0.2)),
    ]


def test_without_masks_there_are_no_face_rows():
    summary = summarise(make_run([Point("a", [0.2], [10])]))
    assert not summary.has_masks
    assert summary.row("a", "face") is None


def test_failed_pictures_are_counted_by_kind_and_left_out_of_means():
    run = make_run([Point("a", [0.1, 0.9, 0.3, 0.9], [10, 99, 30, 0], failed={1: "crashed", 3: "decode failed"})])
    row = summarise(run).row("a")
    assert row.failures == {"crashed": 1, "decode failed": 1}
    assert row.pictures == 2
    assert row.metrics["1-SSIM"].mean == pytest.approx(0.2)
    assert row.bytes == 20


def test_a_point_without_any_record_is_missing_everywhere():
    run = make_run([Point("a", [0.1, 0.2], [10, 10]), Point("b", [0.1, 0.2], [10, 10])])
    row = summarise(replace(run, records=run.records[run.records["point"] != "b"])).row("b")
    assert row.failures == {"missing": 2}
    assert math.isnan(row.bytes)
    assert math.isnan(row.metrics["1-SSIM"].mean)


def test_points_and_metrics_keep_the_order_of_the_records():
    run = make_run([Point(label, [0.1], [10]) for label in ("jpeg:quality=9", "jpeg:quality=10", "a")])
    for key in ("points", "metrics"):
        run.manifest[key] = dict(sorted(run.manifest[key].items(), reverse=True))
    summary = summarise(run)
    assert summary.points == ["jpeg:quality=9", "jpeg:quality=10", "a"]
    assert list(summary.metrics) == ["1-SSIM", "L1", "L2", "PSNR"]


def test_a_point_that_the_manifest_lacks_is_an_error():
    run = make_run([Point("a", [0.1], [10])])
    del run.manifest["points"]["a"]
    with pytest.raises(ResultsError, match="lacks the point 'a'"):
        summarise(run)


def test_side_information_costs_bits_but_is_no_payload():
    row = summarise(make_run([Point("a", [0.1, 0.2], [10, 20], side_bits=64)])).row("a")
    assert row.bytes == 15
    assert row.cost == 23
    assert row.bpp == pytest.approx(23 * 8 / 4096)
    assert row.ratio == pytest.approx(12288 / 15)


def test_intervals_go_by_identity_and_bracket_the_mean():
    values = np.repeat(np.random.default_rng(0).uniform(0.1, 0.5, 40), 5)
    people = [str(i // 5) for i in range(200)]
    known = summarise(make_run([Point("a", values, [10] * 200)], identities=people)).row("a").metrics["1-SSIM"]
    unknown = summarise(make_run([Point("a", values, [10] * 200)])).row("a").metrics["1-SSIM"]
    assert known.low < known.mean < known.high
    assert (known.high - known.low) / (unknown.high - unknown.low) == pytest.approx(math.sqrt(5), rel=0.15)


def test_one_picture_has_no_interval():
    metric = summarise(make_run([Point("a", [0.1], [10])])).row("a").metrics["1-SSIM"]
    assert metric.mean == pytest.approx(0.1)
    assert math.isnan(metric.low)


def test_the_baseline_is_read_at_the_bytes_of_each_row():
    run = make_run(
        [
            Point("cvae:step=1", [0.3, 0.3], [30, 34], face=[0.2, 0.2]),
            Point("cvae:step=9", [0.3, 0.3], [4, 4], face=[0.2, 0.2]),
            baseline("eigenfaces:step=1", [0.4, 0.4], [16, 16], face=[0.3, 0.3]),
            baseline("eigenfaces:step=2", [0.2, 0.2], [64, 64], face=[0.1, 0.1]),
        ]
    )
    summary = summarise(run)
    assert summary.baseline_curve == "eigenfaces"
    assert summary.row("cvae:step=1").baseline["1-SSIM"] == pytest.approx(0.3)
    assert summary.row("cvae:step=1", "face").baseline["1-SSIM"] == pytest.approx(0.2)
    assert summary.row("cvae:step=1").baseline["L1"] == pytest.approx(0.03)
    assert summary.row("cvae:step=9").baseline["1-SSIM"] is None


def test_the_baseline_with_default_settings_is_preferred():
    mine = Point("eigenfaces:weights=mine", [0.1], [5], about={"baseline": True, "curve": "eigenfaces:weights=mine"})
    assert summarise(make_run([mine, baseline("eigenfaces:step=1", [0.4], [16])])).baseline_curve == "eigenfaces"
    assert summarise(make_run([mine])).baseline_curve == "eigenfaces:weights=mine"
    assert summarise(make_run([Point("a", [0.1], [5])])).baseline_curve is None


def test_metrics_that_are_undefined_for_a_picture_are_left_out_of_their_mean():
    run = make_run([Point("a", [0.1, 0.2, 0.6], [10] * 3)])
    run.records.loc[2, "L1"] = np.nan
    row = summarise(run).row("a")
    assert row.metrics["L1"].mean == pytest.approx(0.015)
    assert row.metrics["1-SSIM"].mean == pytest.approx(0.3)
    assert row.failed == 0


def test_ranks_go_by_1_ssim_equals_share_one_and_failures_are_not_ranked():
    run = make_run(
        [
            Point("worst", [0.5, 0.5], [1, 1]),
            Point("failed", [0.0, 0.0], [9, 9], failed={0: "crashed"}),
            Point("big", [0.1, 0.1], [90, 90]),
            Point("small", [0.1, 0.1], [50, 50]),
            baseline("eigenfaces:step=1", [0.05, 0.05], [10, 10]),
        ]
    )
    asked = requested_points(run.manifest["points"])
    assert asked == ["worst", "failed", "big", "small"]
    assert [(rank, row.point) for rank, row in ranked_rows(summarise(run), asked)] == [
        (1, "big"),
        (1, "small"),
        (3, "worst"),
        (None, "failed"),
    ]


def test_a_run_without_1_ssim_is_ranked_by_its_first_metric_in_its_own_direction():
    psnr = {"PSNR": {"version": 1, "definition": "", "higher_is_better": True, "unit": "dB"}}
    run = make_run([Point("a", [0.1], [10]), Point("b", [0.9], [10])], metrics=psnr)
    summary = summarise(run)
    assert summary.ranked_by == "PSNR"
    assert [row.point for _, row in ranked_rows(summary, ["a", "b"])] == ["b", "a"]


def test_without_resamples_there_are_means_and_no_intervals():
    summary = summarise(make_run([Point("a", [0.1, 0.2], [10, 10])]), resamples=0)
    assert summary.row("a").metrics["1-SSIM"].mean == pytest.approx(0.15)
    assert math.isnan(summary.row("a").metrics["1-SSIM"].low)
