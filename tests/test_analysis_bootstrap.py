"""Confidence intervals against scipy's bootstrap and against resampling written out by hand."""

import numpy as np
import pytest

from facebench.analysis.bootstrap import (
    cluster_codes,
    cluster_sums,
    mean_interval,
    percentile_interval,
    resampled_means,
)


def test_the_interval_without_clusters_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).gamma(2.0, 0.1, 400)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    low, high = mean_interval(values, resamples=20_000)
    error = values.std() / np.sqrt(values.size)
    assert abs(low - theirs.low) < 0.06 * error
    assert abs(high - theirs.high) < 0.06 * error


def test_the_clustered_interval_agrees_with_drawing_whole_clusters_one_by_one():
    draw = np.random.default_rng(3)
    clusters = draw.integers(0, 30, 200)
    values = draw.normal(0, 0.02, 200) + draw.normal(0, 0.1, 30)[clusters]
    members = [values[clusters == c] for c in np.unique(clusters)]
    means = [
        np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))]).mean() for _ in range(8000)
    ]
    expected = np.percentile(means, [2.5, 97.5])
    low, high = mean_interval(values, np.unique(clusters, return_inverse=True)[1], resamples=8000)
    assert np.allclose([low, high], expected, atol=0.05 * (expected[1] - expected[0]))


def test_pictures_of_one_person_that_agree_widen_the_interval():
    people = np.repeat(np.arange(50), 8)
    values = np.random.default_rng(4).normal(0, 1, 50)[people]
    clustered, single = mean_interval(values, people), mean_interval(values)
    # Eight copies of each value count as one: the standard error is sqrt(8) times what single pictures claim.
    assert (clustered[1] - clustered[0]) / (single[1] - single[0]) == pytest.approx(np.sqrt(8), rel=0.12)


def test_the_interval_covers_the_true_mean_about_19_times_in_20():
    draw = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        low, high = mean_interval(draw.exponential(1.0, 80), resamples=400, seed=trial)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 300 <= 0.98


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(6).normal(size=100)
    assert mean_interval(values) == mean_interval(values.copy())


def test_one_cluster_has_no_interval():
    assert np.isnan(mean_interval(np.array([1.0, 2.0, 3.0]), np.zeros(3, np.int64))).all()
    assert np.isnan(mean_interval(np.array([]))).all()


def test_missing_values_are_left_out():
    values = np.random.default_rng(7).normal(5, 1, 300)
    holed = np.concatenate([values, np.full(300, np.nan)])
    low, high = mean_interval(holed)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(300), rel=0.2)


def test_unknown_identities_stand_for_themselves_and_known_ones_together():
    people = np.array([0, -1, 0, -1, 1, -1])
    codes, count = cluster_codes(people, np.array([0, 1, 2, 3, 4, 1]))
    assert count == 4
    assert codes[0] == codes[2]
    assert codes[1] == codes[5]  # the same picture at another operating point
    assert len({codes[0], codes[1], codes[3], codes[4]}) == 4


def test_very_many_clusters_are_dealt_into_groups_of_equal_size_with_the_same_interval():
    values = np.random.default_rng(11).gamma(2.0, 0.1, 20_000)
    positions = np.arange(20_000)
    codes, count = cluster_codes(np.full(20_000, -1), positions)
    assert count == 5000
    assert set(np.bincount(codes)) == {4}
    grouped, single = mean_interval(values, codes), mean_interval(values, positions)
    assert grouped == pytest.approx(single, abs=0.15 * (single[1] - single[0]))


def test_cluster_sums_add_up_by_hand():
    sums, counts = cluster_sums(np.array([1.0, 2.0, np.nan, 4.0]), np.array([0, 2, 2, 0]), 3)
    assert sums.tolist() == [5.0, 0.0, 2.0]
    assert counts.tolist() == [2.0, 0.0, 1.0]


def test_quantities_resampled_together_are_paired():
    values = np.random.default_rng(8).normal(size=(200, 1))
    sums = np.hstack([values, values + 0.5])
    means = resampled_means(sums, np.ones_like(sums))
    assert np.allclose(means[:, 1] - means[:, 0], 0.5)


def test_blocks_of_resamples_do_not_repeat_each_other():
    sums = np.random.default_rng(9).normal(size=(30_000, 1))
    means = resampled_means(sums, np.ones_like(sums), resamples=200)  # 66 resamples to a block
    assert len(np.unique(means)) == 200


def test_an_infinite_value_leaves_its_own_column_without_interval_only():
    sums = np.random.default_rng(10).normal(size=(50, 2))
    sums[3, 0] = np.inf
    low, high = percentile_interval(resampled_means(sums, np.ones_like(sums)))
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < high[1]
