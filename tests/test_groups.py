"""Groups of pictures that a codec serves worse, its worst pictures, and the section of the leaderboard on both."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from constructed_run import Point, baseline, make_run
from scipy import stats

from facebench.analysis.groups import fairness_gaps, grouped_curves, groupings_of, usual_size
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
    assert found["fair"].gaps["Male"].p > 0.5
    unfair = found["unfair"].gaps["Male"]
    assert unfair.beyond == pytest.approx(unfair.share - found["pca"].gaps["Male"].share)
    assert 0 < unfair.beyond_low < unfair.beyond < unfair.beyond_high and unfair.p < 0.05
    assert math.isnan(found["pca"].gaps["Male"].beyond) and math.isnan(found["pca"].gaps["Male"].p)


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
    gaps = fairness_gaps(run, summarise(run))
    by_hand = grouped(run)["unfair"].gaps["Male"].share
    assert gaps["unfair"] == pytest.approx(by_hand) and gaps["fair"] < 0.1 < gaps["unfair"]
    assert math.isnan(gaps["big"])  # has no value at 128 bytes
    assert fairness_gaps(replace(run, pictures=None), summarise(run)).keys() == gaps.keys()


def test_groups_are_compared_where_most_curves_are() -> None:
    assert usual_size(summarise(run_of(*curve("web", 0.2)))) == 128
    large = [replace(p, sizes=[8 * s for s in p.sizes]) for name in ("a", "b", "c") for p in curve(name, 0.2)]
    assert usual_size(summarise(run_of(*curve("web", 0.2), *large))) == 512
    assert usual_size(summarise(run_of(Point("big:q=1", [0.1] * COUNT, [9000] * COUNT)))) == 128


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
    assert cells[2:4] == [f"{male:.4f} / {other:.4f}", f"**{100 * gap.share:.1f} %** ({100 * gap.beyond:+.1f})"]
    assert cells[5].startswith("*") and "(≈)" in cells[5]  # nothing was built in for the young
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
    assert all(math.isnan(gap) for gap in fairness_gaps(run, summarise(run)).values())
