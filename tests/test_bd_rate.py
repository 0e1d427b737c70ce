"""BD-rate and BD-metric, against the bjontegaard package, scipy's PCHIP and by hand."""

import math

import bjontegaard
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from facebench.analysis.bd_rate import ResampledPair, Scale, bd_metric, bd_rate, scale_of
from facebench.analysis.curves import CurvePoint, make_curve
from facebench.analysis.equal_bytes import Resampled
from facebench.analysis.pchip import Pchip

PSNR = scale_of("PSNR", higher_is_better=True)
SSIM = scale_of("1-SSIM", higher_is_better=False)
L2 = scale_of("L2", higher_is_better=False)
KWARGS = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}


def curve(name, sizes, values, *, higher=True):
    points = [CurvePoint(f"{name}:{size:g}", size, value) for size, value in zip(sizes, values, strict=True)]
    return make_curve(name, name, points, higher_is_better=higher)


def random_curve(draw, low=20.0, high=35.0):
    count = draw.integers(4, 10)
    return np.sort(np.exp(draw.uniform(3, 7, count))), np.sort(draw.uniform(low, high, count))


@pytest.mark.parametrize("knots", [2, 3, 4, 9])
def test_pchip_agrees_with_scipy_on_values_integrals_and_turning_points(knots):
    draw = np.random.default_rng(knots)
    x = np.sort(draw.uniform(0, 10, (50, knots)), axis=1)
    y = draw.integers(-3, 4, (50, knots)) * draw.uniform(0, 1, (50, 1))
    y[25:].sort(axis=1)
    at = draw.uniform(x[:, 0], x[:, -1])
    fitted = Pchip(x, y)
    theirs = [PchipInterpolator(*row) for row in zip(x, y, strict=True)]
    assert fitted.value(at) == pytest.approx([float(f(t)) for f, t in zip(theirs, at, strict=True)], abs=1e-12)
    areas = [float(f.integrate(start, t)) for f, start, t in zip(theirs, x[:, 0], at, strict=True)]
    assert fitted.integral(x[:, 0], at) == pytest.approx(areas, abs=1e-12)


def test_the_inverse_of_a_pchip_gives_the_place_of_a_value_or_the_nearer_end():
    x, y = np.array([[0.0, 1.0, 4.0, 5.0]]), np.array([[1.0, 2.0, 2.5, 7.0]])
    theirs = PchipInterpolator(x[0], y[0])
    for value in (1.1, 2.2, 6.0):
        expected = brentq(lambda t, value=value: theirs(t) - value, 0, 5, xtol=1e-13)
        assert Pchip(x, y).inverse(value)[0] == pytest.approx(expected, abs=1e-9)
    assert Pchip(x, y).inverse(0.0)[0] == pytest.approx(0)
    assert Pchip(x, y).inverse(9.0)[0] == pytest.approx(5)


@pytest.mark.parametrize("seed", range(25))
def test_both_figures_agree_with_the_bjontegaard_package(seed):
    draw = np.random.default_rng(seed)
    ours, theirs = random_curve(draw), random_curve(draw, 21, 36)
    reading = bd_rate(curve("a", *ours), curve("b", *theirs), PSNR)
    assert reading.value == pytest.approx(bjontegaard.bd_rate(*theirs, *ours, **KWARGS), abs=0.01)
    assert reading.over == pytest.approx((max(ours[1][0], theirs[1][0]), min(ours[1][-1], theirs[1][-1])))
    metric = bd_metric(curve("a", *ours), curve("b", *theirs), PSNR)
    assert metric.value == pytest.approx(bjontegaard.bd_psnr(*theirs, *ours, **KWARGS), abs=0.01)
    assert metric.over == pytest.approx((max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])))


def test_they_agree_on_the_curves_that_the_package_documents():
    anchor = [9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]
    tested = [9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]
    expected = bjontegaard.bd_rate(*(list(reversed(part)) for part in (*anchor, *tested)), method="pchip")
    assert bd_rate(curve("a", *tested), curve("b", *anchor), PSNR).value == pytest.approx(expected, abs=0.01)


def test_half_the_bytes_at_every_quality_is_minus_fifty_per_cent_in_either_direction_of_the_metric():
    sizes, falling = np.array([16.0, 32, 90, 200, 400]), np.array([0.5, 0.4, 0.2, 0.15, 0.1])
    for values, scale, higher in ((falling, SSIM, False), (20 - falling, PSNR, True), (falling, L2, False)):
        half, whole = (curve(n, f * sizes, values, higher=higher) for n, f in (("half", 0.5), ("whole", 1)))
        assert bd_rate(half, whole, scale).value == pytest.approx(-50)
        assert bd_rate(whole, half, scale).value == pytest.approx(100)


def test_a_metric_of_which_less_is_better_keeps_its_sign():
    sizes, values = [16, 32, 90, 200], np.array([0.5, 0.4, 0.2, 0.15])
    better, worse = curve("a", sizes, values - 0.03, higher=False), curve("b", sizes, values, higher=False)
    assert bd_metric(better, worse, SSIM).value == pytest.approx(-0.03)
    mirrored = bjontegaard.bd_rate(sizes, -values, sizes, 0.03 - values, **KWARGS)
    assert bd_rate(better, worse, SSIM).value == pytest.approx(mirrored, abs=0.01)
    assert bd_rate(better, worse, SSIM).over == pytest.approx((0.47, 0.15))


def test_mean_squared_errors_go_by_their_decibels():
    sizes, errors = [16, 32, 90, 200], np.array([0.02, 0.01, 0.004, 0.001])
    ours, theirs = curve("a", sizes, errors / 2, higher=False), curve("b", sizes, errors, higher=False)
    expected = bjontegaard.bd_rate(sizes, -10 * np.log10(errors), sizes, -10 * np.log10(errors / 2), **KWARGS)
    assert bd_rate(ours, theirs, L2).value == pytest.approx(expected, abs=0.01)
    assert bd_metric(ours, theirs, L2).value == pytest.approx(10 * math.log10(2))
    assert bd_rate(ours, theirs, L2).over == pytest.approx((0.01, 0.001))
    assert bd_rate(ours, theirs, Scale(False)).value != pytest.approx(expected, abs=0.1)


def test_an_error_of_zero_has_no_decibels_and_does_not_count():
    sizes, errors = [16, 32, 90, 200, 400], [0.02, 0.01, 0.004, 0.001, 0.0]
    ours, theirs = curve("a", sizes, errors, higher=False), curve("b", sizes[:4], errors[:4], higher=False)
    reading = bd_rate(ours, theirs, L2)
    assert reading.value == pytest.approx(0, abs=1e-9)
    assert reading.dominated == ("a:400",)


def test_limits_follow_each_curve_to_exactly_those_bytes():
    draw = np.random.default_rng(7)
    ours = np.sort(np.exp(draw.uniform(2.5, 6.5, 7))), np.sort(draw.uniform(20, 33, 7))
    theirs = np.sort(np.exp(draw.uniform(2.5, 6.5, 9))), np.sort(draw.uniform(20, 33, 9))
    low, high = 40.0, 200.0
    fits = [PchipInterpolator(values, np.log(sizes)) for sizes, values in (ours, theirs)]
    ends = [
        [brentq(lambda q, f=f, size=size: f(q) - math.log(size), f.x[0], f.x[-1], xtol=1e-12) for size in (low, high)]
        for f in fits
    ]
    start, stop = max(e[0] for e in ends), min(e[1] for e in ends)
    means = [f.integrate(start, stop) / (stop - start) for f in fits]
    reading = bd_rate(curve("a", *ours), curve("b", *theirs), PSNR, limits=(low, high))
    assert reading.value == pytest.approx(100 * math.expm1(means[0] - means[1]), abs=1e-6)
    assert reading.over == pytest.approx((start, stop))
    assert bd_metric(curve("a", *ours), curve("b", *theirs), PSNR, limits=(low, high)).over == pytest.approx(
        (low, high)
    )


def test_limits_beyond_the_curves_change_nothing():
    draw = np.random.default_rng(8)
    ours, theirs = curve("a", *random_curve(draw)), curve("b", *random_curve(draw))
    for figure in (bd_rate, bd_metric):
        assert figure(ours, theirs, PSNR, limits=(1, 1e6)).value == pytest.approx(figure(ours, theirs, PSNR).value)


def test_dominated_points_do_not_count_and_are_named():
    sizes, values = [20, 40, 80, 160], [20, 24, 27, 30]
    plain, reference = curve("a", sizes, values), curve("b", [25, 50, 100, 200], [20, 24, 28, 31])
    turning = curve("a", [*sizes, 60, 500], [*values, 23, 30])
    reading = bd_rate(turning, reference, PSNR)
    assert reading.value == pytest.approx(bd_rate(plain, reference, PSNR).value)
    assert reading.dominated == ("a:60", "a:500")


@pytest.mark.parametrize("figure", [bd_rate, bd_metric])
def test_what_cannot_be_compared_has_a_reason_instead_of_a_figure(figure):
    good = curve("good", [20, 40, 80, 160], [20, 24, 27, 30])
    few = curve("few", [20, 40, 80], [20, 24, 27])
    turned = curve("turned", [20, 40, 80, 160], [30, 27, 24, 20])
    far = curve("far", [200, 400, 800, 1600], [31, 32, 33, 34])
    nothing = make_curve("nothing", "nothing", [CurvePoint("n", 10, 0.1, failures=1)])
    for ours, theirs, reason in (
        (few, good, "few has 3 points, BD figures take 4"),
        (good, few, "few has 3 points, BD figures take 4"),
        (turned, good, "turned has 1 point that beats every smaller one, BD figures take 4"),
        (nothing, good, "nothing has 0 points, BD figures take 4"),
    ):
        reading = figure(ours, theirs, PSNR)
        assert (reading.value, reading.reason) == (None, reason)
    assert figure(far, good, PSNR).reason.endswith("that far and good both reach")
    assert figure(good, good, PSNR, limits=(200, 300)).reason == "good was measured from 20 to 160 bytes only"


def test_curves_that_share_no_quality_within_the_limits_say_so():
    low, high = curve("low", [20, 40, 80, 160], [20, 24, 27, 30]), curve("high", [20, 40, 80, 160], [25, 28, 31, 34])
    assert bd_rate(high, low, PSNR).value < 0
    reading = bd_rate(high, low, PSNR, limits=(70, 80))
    assert reading.reason == "no quality that high and low both reach from 70 to 80 bytes"
    assert bd_metric(high, low, PSNR, limits=(70, 80)).value == pytest.approx(4, abs=0.1)


def resampled(draw, sizes, values, noise, resamples=400):
    sizes, values = np.asarray(sizes, float), np.asarray(values, float)
    return Resampled(
        sizes * np.exp(draw.normal(0, noise, (resamples, 1))),
        values + draw.normal(0, noise, (resamples, len(values))),
    )


def test_the_interval_is_that_of_the_figures_of_the_resamples_one_by_one():
    draw = np.random.default_rng(9)
    ours, theirs = ([20, 40, 80, 160], [20, 24, 24.05, 30]), ([25, 50, 100, 200], [20, 24, 28, 31])
    pair = ResampledPair(resampled(draw, *ours, 0.05), resampled(draw, *theirs, 0.05))
    reading = bd_rate(curve("a", *ours), curve("b", *theirs), PSNR, resampled=pair)
    one_by_one = []
    for row in range(400):
        fronts = []
        for part in (pair.curve, pair.reference):
            front = [k for k in range(4) if all(part.values[row, k] > part.values[row, j] for j in range(k))]
            fronts.append((part.bytes[row, front], part.values[row, front]))
        one_by_one.append(bjontegaard.bd_rate(*fronts[1], *fronts[0], **KWARGS))
    assert sum(pair.curve.values[:, 1] >= pair.curve.values[:, 2]) > 20  # dominated points did occur
    assert (reading.low, reading.high) == pytest.approx(tuple(np.percentile(one_by_one, [2.5, 97.5])), abs=0.01)
    assert reading.low < reading.value < reading.high


def test_what_both_curves_share_does_not_widen_the_interval():
    draw = np.random.default_rng(10)
    sizes, values = [20, 40, 80, 160], np.array([20.0, 24, 28, 31])
    shared = draw.normal(0, 0.5, (400, 1))
    pair = ResampledPair(*(Resampled(np.tile([f * s for s in sizes], (400, 1)), values + shared) for f in (0.8, 1.0)))
    reading = bd_rate(curve("a", [0.8 * s for s in sizes], values), curve("b", sizes, values), PSNR, resampled=pair)
    assert (reading.low, reading.value, reading.high) == pytest.approx((-20, -20, -20))


def test_where_many_resamples_have_no_figure_there_is_no_interval():
    draw = np.random.default_rng(11)
    ours, theirs = ([20, 40, 80, 160], [20, 21, 22, 23.05]), ([25, 50, 100, 200], [23, 24, 28, 31])
    pair = ResampledPair(resampled(draw, *ours, 0.2), resampled(draw, *theirs, 0.2))
    reading = bd_rate(curve("a", *ours), curve("b", *theirs), PSNR, resampled=pair)
    assert reading.value is not None
    assert math.isnan(reading.low) and math.isnan(reading.high)
