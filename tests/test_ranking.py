"""Ranks with ties: constructed cases of known order, p-values against scipy, Holm's correction over all pairs."""

from statistics import NormalDist

import numpy as np
import pytest
from constructed_run import Point, make_run

from facebench.analysis.bootstrap import resampled_means
from facebench.analysis.ranking import codec_order, ranked_rows, ranking_at, ranks_of
from facebench.analysis.significance import Comparison, corrected, holm, pairwise_p, significantly_better
from facebench.analysis.summary import summarise


def measured(columns, resamples=1000):
    """Means of ``columns``, (pictures, K), and the same in each resample, each picture a cluster of its own."""
    values = np.asarray(columns, float)
    return values.mean(axis=0), resampled_means(values, np.ones_like(values), resamples=resamples)


def deviations(p):
    """How many standard errors the first two of some quantities are apart, from their p-values."""
    return -NormalDist().inv_cdf(p[0, 1] / 2)


def test_p_values_of_all_pairs_agree_with_the_paired_t_test_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(1)
    shared = draw.gamma(2.0, 0.1, (1500, 1))
    columns = shared + draw.normal([0.0, 0.001, 0.002, 0.004], 0.03, (1500, 4))
    p = pairwise_p(*measured(columns, resamples=20_000))
    assert np.allclose(p, p.T)
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 3), (2, 3)):
        expected = stats.ttest_rel(columns[:, one], columns[:, other]).pvalue
        # The standard error of 20,000 resamples is good to half a per cent.
        assert stats.norm.isf(p[one, other] / 2) == pytest.approx(stats.norm.isf(expected / 2), rel=0.03)


def test_pictures_of_one_person_count_as_one():
    draw = np.random.default_rng(2)
    people = draw.normal([0.0, 0.02], 0.1, (100, 2))
    once = deviations(pairwise_p(*measured(people)))
    sums, counts = 8 * people, np.full_like(people, 8)
    assert deviations(pairwise_p(people.mean(axis=0), resampled_means(sums, counts))) == pytest.approx(once)
    # What eight pictures of each would claim if each stood for itself.
    single = deviations(pairwise_p(*measured(np.repeat(people, 8, axis=0))))
    assert single / once == pytest.approx(np.sqrt(8), rel=0.1)


def test_equal_means_have_p_1_and_without_resamples_there_is_none():
    values, resampled = measured(np.tile([[0.2, 0.2, 0.5]], (9, 1)))
    p = pairwise_p(values, resampled)
    assert (p[0, 1], p[0, 2]) == (1, 0)  # constants: no doubt either way
    assert np.isnan(pairwise_p(values, np.empty((0, 3)))).all()
    assert ranks_of([0.2, 0.2, 0.5], [], higher_is_better=False) == [1, 1, 3]


def test_a_column_without_resampled_values_is_ranked_by_its_value_and_spoils_no_other():
    values, resampled = measured(np.random.default_rng(3).normal([0.1, 0.5, 0.5], 0.2, (200, 3)))
    resampled[:, 0] = np.nan
    better = significantly_better(values, resampled, higher_is_better=False)
    assert better[0].tolist() == [False, True, True]
    assert not better[1, 2] and not better[2, 1]


def test_constructed_ties_and_order_come_out_in_either_direction():
    draw = np.random.default_rng(4)
    shared = draw.normal(0, 0.1, (300, 1))
    centre = [0.40, 0.20, 0.30, 0.20, 0.30, 0.50]
    values, resampled = measured(centre + shared + draw.normal(0, 0.01, (300, 6)))
    columns = list(resampled.T)
    assert ranks_of(list(values), columns, higher_is_better=False) == [5, 1, 3, 1, 3, 6]
    assert ranks_of(list(values), columns, higher_is_better=True) == [2, 5, 3, 5, 3, 1]
    assert ranks_of(list(-values), [-c for c in columns], higher_is_better=True) == [5, 1, 3, 1, 3, 6]


def test_a_rank_counts_those_that_are_significantly_better_even_where_ties_do_not_carry_over():
    # b is like a and like c, but a and c differ.
    draw = np.random.default_rng(5)
    noise = draw.normal(0, 1, (400, 3))
    noise -= noise.mean(axis=0)
    values, resampled = measured(noise * [0.05, 0.4, 0.05] + [0.10, 0.12, 0.14])
    better = significantly_better(values, resampled, higher_is_better=False)
    assert better.tolist() == [[False, False, True], [False, False, False], [False, False, False]]
    assert ranks_of(list(values), list(resampled.T), higher_is_better=False) == [1, 1, 2]


def test_many_pairs_can_still_be_told_apart_and_chance_alone_tells_none():
    # 40 columns are 780 pairs: p-values counted in 1,000 resamples would never pass Holm's correction.
    draw = np.random.default_rng(6)
    spread = np.repeat(np.arange(20) / 20, 2)
    values, resampled = measured(spread + draw.normal(0, 0.05, (500, 40)))
    ranks = ranks_of(list(values), list(resampled.T), higher_is_better=False)
    assert ranks == [1 + 2 * (n // 2) for n in range(40)]
    found = 0
    for _ in range(40):
        values, resampled = measured(draw.normal(0, 1, (150, 12)), resamples=400)
        found += bool(significantly_better(values, resampled, higher_is_better=False).any())
    assert found <= 6  # one in 20 expected at most


@pytest.mark.parametrize("clusters", [5, 20, 60])
def test_among_few_people_p_values_are_those_of_students_distribution(clusters):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(clusters)
    for shift in (0.2, 0.8, 2.0):
        columns = draw.normal([0.0, shift], 1, (clusters, 2))
        p = pairwise_p(*measured(columns, resamples=20_000), clusters=clusters)
        expected = stats.ttest_rel(columns[:, 0], columns[:, 1]).pvalue
        assert deviations(p) == pytest.approx(stats.norm.isf(expected / 2), rel=0.03)


def test_chance_tells_nothing_among_twenty_people():
    draw = np.random.default_rng(8)
    found = 0
    for _ in range(60):
        values, resampled = measured(draw.normal(0, 1, (20, 12)), resamples=400)
        found += bool(significantly_better(values, resampled, higher_is_better=False, clusters=20).any())
    assert found <= 8  # one in 20 expected at most


def test_holms_correction_gives_what_r_gives():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_corrected_comparisons_are_level_unless_their_corrected_p_is_small():
    made = [Comparison(32, 0.1, 0.2, -0.2, -0.01, p, "beats") for p in (0.03, 0.002, float("nan"))]
    assert [(c.p, c.outcome) for c in corrected(made[:2])] == [(0.03, "beats"), (0.004, "beats")]
    made += [Comparison(64, 0.1, 0.2, -0.2, -0.01, 0.03, "beats")]
    found = corrected(made)
    assert [c.outcome for c in found] == ["level", "beats", "beats", "level"]
    assert found[0].p == pytest.approx(0.06)


def sweep(curve, values, sizes, noise=0.0, pictures=60):
    """Points of a curve of its codec, each picture ``noise`` above or below the value by turns."""
    wobble = noise * (-1.0) ** np.arange(pictures)
    return [
        Point(f"{curve}:q={n}", list(value + wobble), [size] * pictures, about={"curve": curve})
        for n, (value, size) in enumerate(zip(values, sizes, strict=True))
    ]


def test_curves_are_ranked_at_a_size_and_codecs_by_the_best_of_theirs():
    points = [
        *sweep("a", [0.5, 0.3], [16, 64]),
        *sweep("a:fast=true", [0.45, 0.25], [16, 64]),
        *sweep("b", [0.451, 0.251], [16, 64], noise=0.1),
        *sweep("c", [0.4, 0.2], [48, 200]),
    ]
    summary = summarise(make_run(points))
    at_32 = ranking_at(summary, "1-SSIM", "none", 32)
    places = {name: (place.rank, place.shared) for name, place in at_32.curves.items()}
    assert places == {"a": (3, False), "a:fast=true": (1, True), "b": (1, True)}
    assert {codec: place.curve.name for codec, place in at_32.codecs.items()} == {"a": "a:fast=true", "b": "b"}
    assert at_32.codecs["a"].value == pytest.approx(0.35)
    at_64 = ranking_at(summary, "1-SSIM", "none", 64)
    assert set(at_64.codecs) == {"a", "b", "c"}
    assert at_64.codecs["c"].rank == 3
    assert set(ranking_at(summary, "1-SSIM", "none", 64, only=["c"]).curves) == {"c"}
    assert ranking_at(summary, "1-SSIM", "none", 1024).curves == {}
    rankings = [ranking_at(summary, "1-SSIM", "none", size) for size in (32, 64, 1024)]
    assert codec_order(rankings) == ["a", "b", "c"]


def test_rows_that_share_a_rank_stand_by_label_whatever_the_order_of_the_run():
    draw = np.random.default_rng(7)
    points = [Point(f"codec{n}", list(0.3 + draw.normal(0, 0.1, 50)), [100] * 50) for n in range(8)]
    labels = [point.label for point in points]
    forwards = ranked_rows(summarise(make_run(points)), labels)
    assert [row.point for _, row in forwards] == labels
    assert {rank for rank, _ in forwards} == {1}
    backwards = ranked_rows(summarise(make_run(points[::-1])), labels[::-1])
    assert [(rank, row.point) for rank, row in backwards] == [(rank, row.point) for rank, row in forwards]


def test_one_row_more_can_tie_two_that_were_apart():
    # Holm's correction is for all pairs: p of 0.03 is small among one pair, not among three.
    draw = np.random.default_rng(9)
    noise = draw.normal(0, 1, (400, 2))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    base, shift = 0.3 + 0.05 * noise[:, 0], 0.01 * (noise[:, 1] + NormalDist().inv_cdf(1 - 0.03 / 2) / 20)
    points = [Point("a", list(base), [100] * 400), Point("b", list(base + shift), [100] * 400)]
    more = [*points, Point("c", list(base + 0.0001 * noise[:, 1]), [100] * 400)]
    two, three = (
        {row.point: rank for rank, row in ranked_rows(summarise(make_run(rows)), [p.label for p in rows])}
        for rows in (points, more)
    )
    assert (two["a"], two["b"]) == (1, 2)
    assert (three["a"], three["b"]) == (1, 1)
