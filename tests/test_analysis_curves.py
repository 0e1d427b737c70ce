"""Rate-distortion curves and what is read off them, against numpy.interp and by hand."""

import math

import numpy as np
import pytest

from facebench.analysis.curves import CurvePoint, make_curve
from facebench.analysis.equal_bytes import Resampled, difference_interval, value_at


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
    low, high = difference_interval(ours, theirs, 40)
    # What the curves share cancels: 1.96 x 0.001 remains of it.
    assert low == pytest.approx(-0.1 - 0.00196, abs=0.0004)
    assert high == pytest.approx(-0.1 + 0.00196, abs=0.0004)


def test_a_resampled_curve_is_interpolated_resample_by_resample():
    resampled = Resampled(np.array([[16.0, 64.0], [64.0, 16.0]]), np.array([[0.4, 0.2], [0.1, 0.5]]))
    assert resampled.at(32) == pytest.approx([0.3, 0.3])
    assert resampled.at(16 * math.sqrt(2)) == pytest.approx([0.35, 0.4])
