"""Rate-distortion curves, what is read off them and what is significant, against numpy.interp and by hand."""

import math

import numpy as np
import pytest

from facebench.analysis.curves import CurvePoint, make_curve
from facebench.analysis.equal_bytes import Reading, Resampled, bytes_at, value_at
from facebench.analysis.significance import bootstrap_p, difference_interval, holm


def curve(*points, **more):
    return make_curve("x", "x", [CurvePoint(f"x:{size}", size, value) for size, value in points], **more)


def test_points_are_sorted_by_bytes():
    assert [p.bytes for p in curve((300, 0.1), (20, 0.5), (90, 0.2)).points] == [20, 90, 300]


def test_points_with_failures_or_without_a_finite_mean_are_left_out():
    points = [
        CurvePoint("good", 10, 0.4),
        CurvePoint("failed", 20, 0.3, failures=1),
        CurvePoint("nothing", 30, float("nan")),
        CurvePoint("perfect", 40, float("inf")),
    ]
    made = make_curve("x", "x", points)
    assert [p.label for p in made.points] == ["good"]
    assert made.left_out == ("failed", "nothing", "perfect")


@pytest.mark.parametrize(("higher", "kept"), [(False, 0.2), (True, 0.3)])
def test_of_points_at_the_same_bytes_the_best_counts(higher, kept):
    assert [p.value for p in curve((50, 0.3), (50, 0.2), higher_is_better=higher).points] == [kept]


def test_halfway_in_log_bytes_is_halfway_in_value():
    assert value_at(curve((16, 0.4), (64, 0.2)), 32).value == pytest.approx(0.3)


def test_readings_agree_with_numpy_interpolation_in_log_bytes():
    draw = np.random.default_rng(0)
    sizes = np.sort(draw.uniform(20, 2000, 7))
    values = draw.uniform(0, 1, 7)
    made = curve(*zip(sizes, values, strict=True))
    for size in np.linspace(sizes[0], sizes[-1], 50):
        expected = np.interp(np.log2(size), np.log2(sizes), values)
        assert value_at(made, float(size)).value == pytest.approx(expected, abs=1e-12)


def test_the_ends_are_on_the_curve_and_nothing_beyond_them_is():
    made = curve((32, 0.4), (128, 0.2))
    assert value_at(made, 32).value == pytest.approx(0.4)
    assert value_at(made, 128).value == pytest.approx(0.2)
    for outside in (31.999, 128.001, 1024):
        reading = value_at(made, outside)
        assert reading.value is None
        assert "from 32 to 128 bytes" in reading.reason


def test_a_single_point_has_a_value_at_its_own_bytes_only():
    made = curve((64, 0.4))
    assert value_at(made, 64).value == pytest.approx(0.4)
    assert value_at(made, 65).value is None
    assert "single point, at 64 bytes" in value_at(made, 65).reason


def test_a_curve_of_failed_points_says_so():
    made = make_curve("x", "x", [CurvePoint("a", 10, 0.1, failures=2)])
    assert value_at(made, 10).value is None
    assert "failed" in value_at(made, 10).reason
    assert made.span is None


def test_a_difference_between_resampled_curves_follows_the_pairs():
    draw = np.random.default_rng(1)
    shared = draw.normal(0, 0.05, (1000, 1))
    sizes = np.broadcast_to([20.0, 80.0], (1000, 2))
    ours = Resampled(sizes, np.array([0.4, 0.2]) + shared)
    theirs = Resampled(sizes, np.array([0.5, 0.3]) + shared + draw.normal(0, 0.001, (1000, 1)))
    low, high = difference_interval(ours.at(40), theirs.at(40))
    # What the curves share cancels: 1.96 x 0.001 remains of it.
    assert low == pytest.approx(-0.1 - 0.00196, abs=0.0004)
    assert high == pytest.approx(-0.1 + 0.00196, abs=0.0004)


def test_a_resampled_curve_is_interpolated_resample_by_resample():
    resampled = Resampled(np.array([[16.0, 64.0], [64.0, 16.0]]), np.array([[0.4, 0.2], [0.1, 0.5]]))
    assert resampled.at(32) == pytest.approx([0.3, 0.3])
    assert resampled.at(16 * math.sqrt(2)) == pytest.approx([0.35, 0.4])


def test_bytes_at_a_value_are_the_inverse_of_the_value_at_bytes():
    draw = np.random.default_rng(2)
    sizes = np.sort(draw.uniform(20, 2000, 7))
    falling = curve(*zip(sizes, np.sort(draw.uniform(0, 1, 7))[::-1], strict=True))
    rising = curve(*zip(sizes, np.sort(draw.uniform(0, 1, 7)), strict=True), higher_is_better=True)
    for size in np.linspace(sizes[0], sizes[-1], 50):
        for made, higher in ((falling, False), (rising, True)):
            value = value_at(made, float(size)).value
            assert bytes_at(made, value, higher_is_better=higher).value == pytest.approx(size)


def test_of_several_sizes_that_reach_a_value_the_fewest_bytes_count():
    turning = curve((16, 0.5), (64, 0.3), (128, 0.4), (512, 0.2))
    assert bytes_at(turning, 0.4).value == pytest.approx(32)
    assert bytes_at(turning, 0.3).value == pytest.approx(64)
    assert bytes_at(turning, 0.25).value == pytest.approx(128 * 4**0.75)


def test_no_bytes_are_told_beyond_the_ends_of_a_curve():
    made = curve((32, 0.4), (128, 0.2))
    assert (bytes_at(made, 0.4).value, bytes_at(made, 0.2).value) == (pytest.approx(32), pytest.approx(128))
    assert bytes_at(made, 0.19) == Reading(None, "x reaches 0.2 at best")
    assert bytes_at(made, 0.41) == Reading(None, "x has 0.4 at its fewest bytes, 32, already")
    assert bytes_at(curve((64, 0.4)), 0.4).value == pytest.approx(64)
    failed = make_curve("x", "x", [CurvePoint("a", 10, 0.1, failures=2)])
    assert "failed" in bytes_at(failed, 0.1).reason


def test_resampled_bytes_follow_each_resample_and_stop_at_its_ends():
    resampled = Resampled(
        np.array([[16.0, 64.0], [64.0, 16.0], [16.0, 64.0]]), np.array([[0.4, 0.2], [0.1, 0.5], [0.2, 0.1]])
    )
    assert resampled.bytes_at(0.3) == pytest.approx([32, 32, 16])
    assert resampled.bytes_at(0.05) == pytest.approx([64, 64, 64])
    rising = Resampled(resampled.bytes, -resampled.values)
    assert rising.bytes_at(-0.3, higher_is_better=True) == pytest.approx([32, 32, 16])


def test_a_p_value_is_below_a_twentieth_where_the_interval_leaves_out_zero():
    draw = np.random.default_rng(3)
    for shift in np.linspace(-4, 4, 81):
        differences = draw.normal(shift, 1, 1000)
        low, high = difference_interval(differences, np.zeros(1000))
        if abs(min(abs(low), abs(high))) > 0.05:
            assert (bootstrap_p(differences) < 0.05) == (not low <= 0 <= high)
    # The normal distribution's two-sided p at 1.96 and 1 standard errors.
    many = draw.normal(0, 1, 100_000)
    assert bootstrap_p(many + 1.96) == pytest.approx(0.05, rel=0.05)
    assert bootstrap_p(many - 1) == pytest.approx(0.3173, rel=0.02)


def test_a_p_value_is_never_nothing_and_is_undefined_without_resamples():
    assert bootstrap_p(np.ones(999)) == pytest.approx(0.002)
    assert bootstrap_p(np.zeros(999)) == 1
    assert math.isnan(bootstrap_p(np.array([np.nan])))


def test_holms_correction_multiplies_by_the_hypotheses_left_and_never_falls():
    # 4 x .01, 3 x .02, then the larger of .06 and 2 x .022 = .044, then the larger of .06 and .8.
    assert holm([0.8, 0.01, 0.022, 0.02]) == pytest.approx([0.8, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    kept = holm([0.01, float("nan"), 0.04])
    assert kept[0] == pytest.approx(0.02) and kept[2] == pytest.approx(0.04) and math.isnan(kept[1])
    assert holm([]) == []
