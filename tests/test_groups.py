"""Groups of pictures that a codec serves worse, its worst pictures, and the section of the leaderboard on both."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from constructed_run import Point, baseline, make_run
from scipy import stats

from facebench.analysis.groupings import groupings_of
from facebench.analysis.groups import fairness_gap, grouped_curves, usual_size
from facebench.analysis.summary import summarise
from facebench.analysis.worst import shared_worst, worst_pictures
from facebench.report.groups import groups_markdown, groups_section
from facebench.store import Run

PEOPLE, EACH = 40, 6
COUNT = PEOPLE * EACH
PERSON = np.arange(COUNT) // EACH
MALE = PERSON % 2 == 0
YOUNG = PERSON % 4 < 2
RNG = np.random.default_rng(7)
YAW = RNG.permutation(np.linspace(-0.5, 0.5, COUNT))
#: Some faces are harder, the same ones for every codec.
HARDNESS = RNG.normal(0, 0.01, PEOPLE)[PERSON] + RNG.normal(0, 0.004, COUNT)


def facts(**columns: object) -> pd.DataFrame:
    told = {
        "picture": [f"set:{i}" for i in range(COUNT)],
        "position": range(COUNT),
        "identity": [f"p{person}" for person in PERSON],
        "attribute Male": MALE,
        "attribute Young": YOUNG,
        "yaw": YAW,
        "face size": np.linspace(12, 24, COUNT),
    }
    return pd.DataFrame({**told, **columns})


def curve(name: str, base: float, male: float = 0.0, sizes: np.ndarray | None = None, **more: object) -> list[Point]:
    """Points at 64, 128 and 256 bytes that halve the error each; ``male`` is added to 1-SSIM of men at every point."""
    quality = [base * 2, base, base / 2]
    kind = baseline if more.pop("reference", False) else Point
    return [
        kind(
            f"{name}:step={step}",
            list(value + male * MALE + HARDNESS),
            [step] * COUNT if sizes is None else list(np.round(step * sizes).astype(int)),
            **more,
        )
        for step, value in zip((64, 128, 256), quality, strict=True)
    ]


def run_of(*points: Point, pictures: pd.DataFrame | None = None, **more: object) -> Run:
    run = make_run(points, identities=[f"p{person}" for person in PERSON], **more)
    return replace(run, pictures=facts() if pictures is None else pictures)


def grouped(run: Run, **options: object):
    return {curve.curve: curve for curve in grouped_curves(run, summarise(run), **options)}


def means(run: Run, point: str, members: np.ndarray, column: str = "1-SSIM") -> float:
    return float(run.records[run.records["point"] == point][column].to_numpy()[members].mean())


def test_a_known_gap_is_found_with_its_direction_and_share() -> None:
    run = run_of(*curve("web", 0.2, male=0.05))
    found = grouped(run)["web"]
    male, not_male = found.values["Male"]
    assert male.reading.value == pytest.approx(means(run, "web:step=128", MALE))
    assert not_male.reading.value == pytest.approx(means(run, "web:step=128", ~MALE))
    gap = found.gaps["Male"]
    assert (gap.worst, gap.best) == ("Male", "not Male")
    difference = means(run, "web:step=128", MALE) - means(run, "web:step=128", ~MALE)
    assert gap.difference == pytest.approx(difference)
    assert gap.share == pytest.approx(difference / means(run, "web:step=128", np.ones(COUNT, bool)))
    assert gap.low < 0.05 < gap.high and gap.low > 0
    assert gap.share_low < gap.share < gap.share_high
    young = found.gaps["Young"]
    assert young.low < 0 < young.high  # nothing was built in


def test_a_group_is_read_off_its_own_curve_at_the_same_bytes_for_all() -> None:
    # Men get twice the bytes, and no gap is seen at an operating point: at equal bytes there is one.
    run = run_of(*curve("web", 0.2, sizes=1.0 + MALE))
    male, not_male = grouped(run)["web"].values["Male"]
    log = np.log2([128, 256, 512])
    at_points = [means(run, f"web:step={step}", MALE) for step in (64, 128, 256)]
    assert male.reading.value == pytest.approx(np.interp(7, log, at_points))
    assert not_male.reading.value == pytest.approx(means(run, "web:step=128", ~MALE))
    assert male.reading.value > not_male.reading.value + 0.1


def test_intervals_agree_with_scipys_bootstrap_of_the_people() -> None:
    run = run_of(*curve("web", 0.2, male=0.02))
    gap = grouped(run)["web"].gaps["Male"]
    values = run.records[run.records["point"] == "web:step=128"]["1-SSIM"].to_numpy().reshape(PEOPLE, EACH).mean(axis=1)
    own = stats.bootstrap(
        (values[::2], values[1::2]),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = own.high - own.low
    assert gap.low == pytest.approx(own.low, abs=0.1 * width)
    assert gap.high == pytest.approx(own.high, abs=0.1 * width)


def test_a_gap_that_the_baseline_has_too_is_not_the_codecs_own() -> None:
    fair = [replace(p, whole=[v / 2 for v in p.whole]) for p in curve("fair", 0.2, male=0.05)]
    run = run_of(*curve("pca", 0.2, male=0.05, reference=True), *fair, *curve("unfair", 0.2, male=0.15))
    found = grouped(run)
    assert found["fair"].gaps["Male"].beyond == pytest.approx(0, abs=1e-9)
    assert found["fair"].gaps["Male"].beyond_p > 0.5
    unfair = found["unfair"].gaps["Male"]
    assert unfair.beyond == pytest.approx(unfair.share - found["pca"].gaps["Male"].share)
    assert 0 < unfair.beyond_low < unfair.beyond < unfair.beyond_high and unfair.beyond_p < 0.05
    assert math.isnan(found["pca"].gaps["Male"].beyond) and math.isnan(found["pca"].gaps["Male"].beyond_p)


def test_a_gap_the_other_way_round_than_the_baselines_is_all_the_codecs_own() -> None:
    found = grouped(run_of(*curve("pca", 0.2, male=-0.05, reference=True), *curve("unfair", 0.2, male=0.05)))
    own, reference = found["unfair"].gaps["Male"], found["pca"].gaps["Male"]
    assert (own.worst, reference.worst) == ("Male", "not Male")
    assert own.beyond == pytest.approx(own.share + reference.share)
    assert own.beyond > 0.4 and own.beyond_low > 0.3 and own.beyond_p < 0.05


def test_the_baselines_gap_is_taken_between_the_codecs_own_two_groups() -> None:
    # Both serve two thirds of the faces unequally, but not the same two.
    third = np.argsort(np.argsort(np.abs(YAW))) // (COUNT // 3)
    unequal = {
        name: [replace(p, whole=list(np.array(p.whole) + 0.05 * (third == worst))) for p in curve(name, 0.2, **more)]
        for name, worst, more in (("pca", 0, {"reference": True}), ("web", 2, {}))
    }
    run = run_of(*unequal["pca"], *unequal["web"])
    gap = grouped(run)["web"].gaps["pose"]
    assert gap.worst == "turned"
    worst, best = third == 2, third == ["frontal", "half", "turned"].index(gap.best)
    everyone = np.ones(COUNT, bool)
    rival = means(run, "pca:step=128", worst) - means(run, "pca:step=128", best)
    assert gap.beyond == pytest.approx(gap.share - rival / means(run, "pca:step=128", everyone))


def welch_deviations(values: np.ndarray, members: np.ndarray, pairs: int) -> float:
    """The normal deviates of the p-value that the gap of ``members`` has in Student's distribution of the fewer."""
    each = values.reshape(PEOPLE, EACH).mean(axis=1)
    one, other = each[members], each[~members]
    error = math.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    p = 2 * stats.t.sf(abs(one.mean() - other.mean()) / error, min(len(one), len(other)) - 1)
    return float(stats.norm.isf(pairs * p / 2))


def test_p_values_of_few_people_are_students_and_corrected_for_the_pairs_of_groups() -> None:
    hats = np.arange(PEOPLE) % 6 == 0  # seven people
    for extra in (0.01, 0.02):
        values = 0.2 + HARDNESS + extra * hats[PERSON]
        told = facts(**{"attribute Hat": hats[PERSON]})[["picture", "position", "identity", "attribute Hat"]]
        run = run_of(Point("web:step=128", list(values), [128] * COUNT), pictures=told)
        gap = grouped(run)["web"].gaps["Hat"]
        assert stats.norm.isf(gap.share_p / 2) == pytest.approx(welch_deviations(values, hats, 1), rel=0.12)
    sizes = facts(yaw=np.nan, **{"face size": PERSON // 14})[["picture", "position", "identity", "face size"]]
    values = 0.2 + HARDNESS + 0.02 * (PERSON >= 28)
    gap = grouped(run_of(Point("web:step=128", list(values), [128] * COUNT), pictures=sizes))["web"].gaps["face size"]
    two = grouped(
        run_of(
            Point("web:step=128", list(values), [128] * COUNT),
            pictures=facts(**{"attribute Big": PERSON >= 28})[["picture", "position", "identity", "attribute Big"]],
        )
    )["web"].gaps["Big"]
    assert gap.worst == "large" and two.share_p < gap.share_p < 0.05


def test_chance_gaps_among_few_people_are_seldom_called_more() -> None:
    draw, found = np.random.default_rng(11), 0
    told = facts(**{"attribute Hat": PERSON < 5})[["picture", "position", "identity", "attribute Hat"]]
    for _ in range(120):
        people = draw.normal(0, 0.02, (2, PEOPLE))[:, PERSON]
        points = [
            kind(f"{name}:step=128", list(0.3 + noise), [128] * COUNT)
            for kind, name, noise in ((baseline, "pca", people[0]), (Point, "web", people[1]))
        ]
        found += grouped(run_of(*points, pictures=told), resamples=200)["web"].gaps["Hat"].beyond_p < 0.05
    assert found <= 10  # one in 20 expected


def test_a_metric_of_some_pictures_is_read_at_the_bytes_of_those() -> None:
    half = np.arange(COUNT) % 2 == 0
    run = run_of(*curve("web", 0.2, sizes=np.where(half, 1.0, 3.0)))
    run.records.loc[~half[run.records["position"]], "1-SSIM"] = math.nan
    found = grouped(run)["web"]
    assert found.values["Male"][0].reading.value == pytest.approx(means(run, "web:step=128", MALE & half))


def test_the_worst_group_is_the_lowest_where_higher_is_better() -> None:
    gap = grouped(run_of(*curve("web", 0.2, male=0.05)), metric="PSNR")["web"].gaps["Male"]
    assert (gap.worst, gap.best) == ("not Male", "Male")
    assert gap.difference < 0 < gap.share


def test_pose_and_face_size_part_the_pictures_into_thirds() -> None:
    pose, size = groupings_of(run_of(*curve("web", 0.2)))[-2:]
    assert [group.name for group in pose.groups] == ["frontal", "half", "turned"]
    assert [group.pictures for group in pose.groups] == [COUNT / 3] * 3
    assert np.abs(YAW[pose.groups[0].members]).max() == pytest.approx(pose.bounds[0])
    assert np.abs(YAW[pose.groups[2].members]).min() > pose.bounds[1]
    assert [group.name for group in size.groups] == ["small", "medium", "large"]
    unknown = facts(yaw=np.where(np.arange(COUNT) < 30, np.nan, YAW))
    pose = groupings_of(run_of(*curve("web", 0.2), pictures=unknown))[-2]
    assert sum(group.pictures for group in pose.groups) == COUNT - 30


def test_groups_of_few_pictures_or_few_people_are_not_judged() -> None:
    few_people = facts(**{"attribute Hat": PERSON < 4, "attribute Beard": np.arange(COUNT) % 13 == 0})
    found = grouped(run_of(*curve("web", 0.2), pictures=few_people))["web"]
    hat, _ = found.values["Hat"]
    assert hat.group.pictures == 24 and hat.reading.value is None
    assert "24 pictures of 4 identities" in hat.reading.reason
    beard, without = found.values["Beard"]
    assert beard.reading.value is None and without.reading.value is not None
    assert "Hat" not in found.gaps and "Beard" not in found.gaps and "Male" in found.gaps


def test_pictures_of_unknown_people_stand_for_themselves() -> None:
    nameless = facts(identity=[""] * COUNT, **{"attribute Hat": np.arange(COUNT) < 20})
    hat = groupings_of(run_of(*curve("web", 0.2), pictures=nameless))[2].groups[0]
    assert (hat.pictures, hat.identities, hat.unjudged) == (20, 20, "")


def test_failures_are_counted_by_group_and_their_points_bear_on_no_curve() -> None:
    points = curve("web", 0.2)
    points.append(
        replace(points[0], label="web:step=90", failed={0: "encode failed", 1: "encode failed", 6: "crashed"})
    )
    found = grouped(run_of(*points))["web"]
    assert [value.failures for value in found.values["Male"]] == [2, 1]
    assert found.values["Male"][0].reading.value == pytest.approx(
        means(run_of(*curve("web", 0.2)), "web:step=128", MALE)
    )


def test_the_fairness_gap_of_a_curve_is_the_largest_of_its_attributes() -> None:
    run = run_of(*curve("fair", 0.2), *curve("unfair", 0.2, male=0.1), Point("big:q=1", [0.1] * COUNT, [900] * COUNT))
    found, groupings = grouped(run), groupings_of(run)
    assert fairness_gap(found["unfair"], groupings) == ("Male", found["unfair"].gaps["Male"])
    _, fair = fairness_gap(found["fair"], groupings)
    assert fair.share == max(found["fair"].gaps[name].share for name in ("Male", "Young")) < 0.1
    assert fairness_gap(found["big"], groupings) is None  # has no value at 128 bytes
    assert fairness_gap(found["unfair"], groupings[-2:]) is None  # pose and face size are no attributes


def test_groups_are_compared_where_most_curves_are() -> None:
    assert usual_size(summarise(run_of(*curve("web", 0.2)))) == 128
    large = [replace(p, sizes=[8 * s for s in p.sizes]) for name in ("a", "b", "c") for p in curve(name, 0.2)]
    assert usual_size(summarise(run_of(*curve("web", 0.2), *large))) == 512
    assert usual_size(summarise(run_of(Point("big:q=1", [0.1] * COUNT, [9000] * COUNT)))) == 128
    assert usual_size(summarise(run_of(at_budget(1024), at_budget(192)))) == 192
    assert usual_size(summarise(run_of(at_budget(512), *curve("web", 0.2)))) == 128


def at_budget(size: int, **more: object) -> Point:
    about = {"curve": "web@budget", "budget": size, "downscale": False}
    return Point(f"web@{size}B", list(0.3 + HARDNESS), [size - 9] * COUNT, about=about, **more)


def test_a_run_of_budgets_only_tells_its_worst_pictures_at_the_budget_nearest_to_128() -> None:
    text = section(run_of(at_budget(1024), at_budget(256)))
    assert "The worst 20 pictures of each curve at about 256 bytes" in text and "**web@256B**" in text
    assert "The run holds byte budgets only, which lie on no curve" in text


def test_the_worst_pictures_are_those_at_the_point_nearest_to_the_size() -> None:
    low, middle, high = curve("web", 0.2)
    hard = [7, 30, 4]
    worse = [value + (hard.index(i) + 1 if i in hard else 0) for i, value in enumerate(middle.whole)]
    run = run_of(low, replace(middle, whole=worse), high)
    (worst,) = worst_pictures(run, summarise(run), size=140, count=3)
    assert (worst.curve, worst.point, worst.bytes) == ("web", "web:step=128", 128)
    assert [picture.picture for picture in worst.pictures] == ["set:4", "set:30", "set:7"]
    assert worst.pictures[0].value == pytest.approx(worse[4]) and worst.pictures[0].bytes == 128
    by_psnr = worst_pictures(run, summarise(run), size=140, metric="PSNR", count=3)[0]
    assert "set:4" not in [picture.picture for picture in by_psnr.pictures]
    assert len(worst_pictures(run, summarise(run), size=140)[0].pictures) == 20


def test_worst_pictures_prefer_the_budgets_own_point_and_leave_out_what_is_far_or_lossless() -> None:
    budget = Point(
        "web@128B",
        [0.3] * 5 + [0.9] + [0.3] * (COUNT - 6),
        [100] * COUNT,
        failed={0: "over budget"},
        about={"curve": "web@budget", "budget": 128, "downscale": False},
    )
    far = Point("big:q=1", [0.1] * COUNT, [900] * COUNT)
    lossless = Point("png", [0.0] * COUNT, [128] * COUNT, about={"lossless": True})
    run = run_of(*curve("web", 0.2), budget, far, lossless)
    (worst,) = worst_pictures(run, summarise(run), size=128)
    assert (worst.curve, worst.point) == ("web", "web@128B")
    assert worst.pictures[0].picture == "set:5" and "set:0" not in [p.picture for p in worst.pictures]
    assert worst_pictures(run, summarise(run), size=256)[0].point == "web:step=256"


def test_hard_pictures_are_counted_by_codec_not_by_curve() -> None:
    def with_hard(name: str, hard: int, **about: object) -> Point:
        return Point(name, [0.1 + 0.5 * (i == hard) for i in range(COUNT)], [128] * COUNT, about=about)

    run = run_of(
        with_hard("web:q=1", 3),
        with_hard("web:q=1:slow=true", 3, curve="web:slow=true"),
        with_hard("pca:step=1", 3),
        with_hard("jpg:q=1", 9),
    )
    assert shared_worst(worst_pictures(run, summarise(run), size=128, count=1)) == [("set:3", 2)]


def test_of_few_pictures_a_fifth_are_the_worst_and_at_least_one() -> None:
    def counts(pictures: int) -> list[int]:
        run = make_run(
            [Point(name, list(0.2 + HARDNESS[:pictures]), [128] * pictures) for name in ("web:q=1", "jpg:q=1")]
        )
        return [len(worst.pictures) for worst in worst_pictures(run, summarise(run), size=128)]

    assert [counts(n)[0] for n in (3, 9, 20, 99, 100, 240)] == [1, 1, 4, 19, 20, 20]


def test_pictures_over_the_budget_are_counted_and_not_among_the_worst() -> None:
    over = dict.fromkeys(range(190), "over budget") | {190: "crashed"}
    run = run_of(at_budget(128, failed=over))
    (worst,) = worst_pictures(run, summarise(run), size=128)
    assert worst.failures == {"crashed": 1, "over budget": 190}
    assert len(worst.pictures) == 9  # a fifth of the 49 that fit
    text = section(run)
    assert "(1 crashed, 190 over budget: not among them)" in text and "The worst 9 pictures of each curve" in text


def section(run: Run) -> str:
    return "\n\n".join(groups_section(summarise(run), run))


def test_the_section_shows_means_gaps_and_what_is_beyond_the_baseline() -> None:
    run = run_of(
        *curve("pca", 0.2, male=0.05, reference=True),
        *curve("unfair", 0.2, male=0.15),
        Point("big:q=1", [0.1] * COUNT, [900] * COUNT, failed={0: "crashed"}),
    )
    text = section(run)
    (row,) = [line for line in text.splitlines() if line.startswith("| unfair")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    gap = grouped(run)["unfair"].gaps["Male"]
    male, other = (grouped(run)["unfair"].values["Male"][i].reading.value for i in (0, 1))
    bounds = f"[{100 * gap.share_low:.1f}, {100 * gap.share_high:.1f}]"
    assert cells[2] == f"**{100 * gap.share:.1f} %** {bounds} Male"
    assert cells[3:5] == [f"{male:.4f} / {other:.4f}", f"**{100 * gap.share:.1f} %** ({100 * gap.beyond:+.1f})"]
    assert cells[6].startswith("*") and "(≈)" in cells[6]  # nothing was built in for the young
    assert [line for line in text.splitlines() if line.startswith("| curve")][0].count("fairness gap") == 1
    assert "| big" not in text and "No value at 128 bytes: big." in text
    assert "Failed on big, by group: Male 1, Young 1" in text
    assert "- Male: Male 120 pictures of 20 identities, not Male 120 pictures of 20 identities." in text
    assert "<details><summary>The worst 20 pictures" in text and "**unfair:step=128**" in text
    assert "Hard for several codecs" in text


def test_of_many_attributes_those_with_the_widest_gaps_are_shown() -> None:
    more = {f"attribute A{i}": RNG.permutation(COUNT) < 100 for i in range(8)}
    text = section(run_of(*curve("web", 0.2, male=0.1), pictures=facts(**more)))
    assert "Male / not" in text
    assert sum(f"A{i} / not" in text for i in range(8)) == 3 - ("Young / not" in text)
    assert "Not shown: 6 attributes with narrower gaps." in text


def test_a_run_without_facts_of_its_pictures_has_its_worst_pictures_alone() -> None:
    run = replace(run_of(*curve("web", 0.2)), pictures=None)
    text = groups_markdown(run)
    assert "No groups by attribute" in text and "gap" not in text
    assert "The worst 20 pictures of each curve" in text
    assert grouped_curves(run, summarise(run)) == ()


def test_facts_of_landmarks_alone_make_a_section_without_attributes() -> None:
    run = run_of(*curve("web", 0.2), pictures=facts().drop(columns=["attribute Male", "attribute Young"]))
    assert "frontal / half / turned" in section(run) and "Male" not in section(run)
    assert "airness gap" not in section(run)


def test_a_gap_whose_interval_leaves_out_zero_by_chance_is_called_chance() -> None:
    # Of 30 attributes at random the widest has an interval off zero: it was chosen for that.
    draw = np.random.default_rng(3)
    people = {f"attribute A{i}": (draw.permutation(PEOPLE) < PEOPLE // 2)[PERSON] for i in range(30)}
    told = facts(**people).drop(columns=["attribute Male", "attribute Young", "yaw", "face size"])
    run = run_of(*curve("web", 0.2), pictures=told)
    _, gap = fairness_gap(grouped(run)["web"], groupings_of(run))
    assert gap.share_low > 0 and gap.share_p > 0.05
    text = section(run)
    assert f"*{100 * gap.share:.1f} %* [" in text and "**" not in text.partition("<details>")[0]
    assert "corrected for having chosen the widest" in text
