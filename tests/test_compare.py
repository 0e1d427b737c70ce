"""``facebench compare``: the verdict, the tables it rests on, and what it refuses."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from constructed_run import Point, make_run

from facebench.analysis.comparison import compare_curves, round_values
from facebench.cli.compare import compare_command
from facebench.errors import ResultsError, UnknownName
from facebench.report.compare import comparison_json, comparison_markdown
from facebench.report.leaderboard import leaderboard_markdown
from facebench.store import write_run

PICTURES = 60
#: 1-SSIM of each picture relative to the mean: what a bootstrap has to resample.
WOBBLE = np.random.default_rng(0).normal(0, 0.02, PICTURES)


def sweep(codec, factor, *, noise=0.0, levels=5, about=None, face=True, failed=None):
    """Points whose 1-SSIM falls by 0.1 with each doubling of the bytes, from 0.55 at ``factor`` x 20 bytes."""
    draw = np.random.default_rng(int(1000 * factor))
    points = []
    for n in range(levels):
        values = 0.55 - 0.1 * n + WOBBLE + draw.normal(0, noise, PICTURES) if noise else 0.55 - 0.1 * n + WOBBLE
        sizes = [round(factor * 20 * 2**n)] * PICTURES
        over_face = list(values / 2) if face else None
        points.append(
            Point(f"{codec}:step={n}", list(values), sizes, face=over_face, about=about or {}, failed=failed or {})
        )
    return points


def a_run(*more, **settings):
    return make_run([*sweep("facet", 0.5), *sweep("jpeg", 1), *more], **settings)


def said(run, *names, **options):
    return comparison_markdown(compare_curves(run, *names, **options))


def rows(markdown, heading):
    """The table below the line that starts with ``heading``: a list of lists of cells."""
    lines = markdown[markdown.index(heading) :].splitlines()[2:]
    table = [line for line in lines[: lines.index("")] if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table][2:]


def test_the_verdict_comes_first_with_who_by_how_much_and_how_many_bytes():
    first = said(a_run(), "facet", "jpeg").splitlines()[0]
    assert first == (
        "**facet** is better than jpeg at every size compared: 32, 64 and 128 bytes (1-SSIM lower by 0.1000), after "
        "Holm's correction. For the same 1-SSIM it takes 50.0 % fewer bytes: BD-rate -50.0 % [-50.0, -50.0], over "
        "1-SSIM 0.5478 to 0.1478."
    ).replace("0.5478", f"{0.55 + WOBBLE.mean():.4f}").replace("0.1478", f"{0.15 + WOBBLE.mean():.4f}")


def test_the_other_way_round_it_loses():
    first = said(a_run(), "jpeg", "facet").splitlines()[0]
    assert "**jpeg** is worse than facet at every size compared" in first
    assert "(1-SSIM higher by 0.1000)" in first
    assert "takes 100.0 % more bytes: BD-rate +100.0 %" in first


def test_at_equal_bytes_both_values_their_difference_its_interval_and_p_are_told():
    markdown = said(a_run(), "facet", "jpeg")
    table = {row[0]: row[1:] for row in rows(markdown, "1-SSIM over whole pictures at equal bytes")}
    ours = 0.55 - 0.1 * np.log2(32 / 10) + WOBBLE.mean()
    assert table["32"][:2] == [f"{ours:.4f}", f"{ours + 0.1:.4f}"]
    assert table["32"][2:] == ["-0.1000 [-0.1000, -0.1000]", "0.006", "better"]  # 3 sizes x 2 / 1,001
    assert table["256"] == ["–¹", f"{0.55 - 0.1 * np.log2(256 / 20) + WOBBLE.mean():.4f}", "–", "–", "–"]
    assert "¹ facet was measured from 10 to 160 bytes only" in markdown


def test_the_figures_are_those_of_the_leaderboard():
    about = {"weights_bytes": 9}
    run = make_run(
        [*sweep("facet", 1.1, noise=0.05, about=about), *sweep("base", 1, noise=0.05, about={"baseline": True})]
    )
    for bounds in re.findall(
        r"difference in (\[\S+, \S+\])", leaderboard_markdown(run).partition("### 1-SSIM over the")[0]
    ):
        assert bounds in said(run, "facet", "base")
    bd_rate = re.search(r"\| facet +\| +(\S+ % \[\S+, \S+\])", leaderboard_markdown(run).partition("## BD-rate")[2])[1]
    assert f"BD-rate {bd_rate}" in said(run, "facet", "base")


def test_a_difference_within_chance_is_no_victory():
    run = make_run([*sweep("facet", 0.99, noise=0.2), *sweep("jpeg", 1, noise=0.2)])
    comparison = compare_curves(run, "facet", "jpeg")
    assert {row.outcome for row in comparison.at_bytes if row.comparison} == {"level"}
    assert "**facet** shows no clear difference to jpeg at 32, 64, 128 and 256 bytes" in comparison_markdown(comparison)


def test_an_interval_that_just_leaves_out_zero_is_no_victory_among_many_sizes():
    # Level by level the same noise: every size has the same p, and Holm multiplies it by their number.
    draw = np.random.default_rng(5)
    noise = draw.normal(0, 0.01, PICTURES)
    noise += -2.3 * 0.01 / np.sqrt(PICTURES) - noise.mean()
    ours = [
        Point(p.label.replace("jpeg", "facet"), list(np.array(p.whole) + noise), p.sizes)
        for p in sweep("jpeg", 1, face=False)
    ]
    comparison = compare_curves(make_run([*ours, *sweep("jpeg", 1, face=False)]), "facet", "jpeg")
    found = [row.comparison for row in comparison.at_bytes if row.comparison]
    assert all(c.high < 0 and c.outcome == "level" for c in found)
    assert {row.outcome for row in comparison.at_bytes if row.comparison} == {"level"}


def test_bytes_for_the_same_quality_are_told_at_round_values_or_those_asked_for():
    markdown = said(a_run(), "facet", "jpeg")
    table = rows(markdown, "Bytes for the same 1-SSIM")
    assert [row[0] for row in table] == ["0.5", "0.4", "0.3", "0.2"]
    assert all(row[3] == "-50.0 % [-50.0, -50.0]" for row in table)
    assert float(table[0][2]) == pytest.approx(20 * 2 ** ((0.05 + WOBBLE.mean()) / 0.1), abs=0.06)
    asked = said(a_run(), "facet", "jpeg", values=(0.229, 0.01))
    assert [row[0] for row in rows(asked, "Bytes for the same 1-SSIM")] == ["0.229", "0.01"]
    assert re.search(r"facet reaches 0\.1\d+ at best", asked)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.148, 0.552, [0.2, 0.3, 0.4, 0.5]),
        (0.27, 0.42, [0.3, 0.35, 0.4]),
        (22.3, 31.0, [24, 26, 28, 30]),
        (0.00051, 0.0042, [0.001, 0.002, 0.003, 0.004]),
        (0.3, 0.3, []),
        (0.4, 0.3, []),
    ],
)
def test_round_values_lie_within_and_are_few(low, high, expected):
    assert round_values(low, high) == pytest.approx(expected)


def test_a_metric_of_which_more_is_better_turns_the_verdict_round():
    # PSNR of the constructed run rises with 1-SSIM, so that the smaller file is the better one.
    comparison = compare_curves(a_run(), "facet", "jpeg", metric="PSNR")
    assert {row.outcome for row in comparison.at_bytes if row.comparison} == {"loses"}
    assert "PSNR lower by 0.01 dB" in comparison_markdown(comparison)
    assert [row.value for row in comparison.at_quality] == sorted(row.value for row in comparison.at_quality)


def test_the_face_alone_can_be_compared():
    markdown = said(a_run(), "facet", "jpeg", mask="face")
    assert "1-SSIM over the face at equal bytes" in markdown
    assert "(1-SSIM lower by 0.0500)" in markdown.splitlines()[0]


def test_limits_narrow_the_bd_figures_and_are_told():
    markdown = said(a_run(), "facet", "jpeg", limits=(20, 160))
    assert "BD-rate -50.0 % [-50.0, -50.0] within 20 to 160 bytes" in markdown
    # facet has 0.45 at 20 bytes, jpeg 0.25 at 160.
    assert f"over 1-SSIM {0.45 + WOBBLE.mean():.4f} to {0.25 + WOBBLE.mean():.4f}." in markdown
    assert "BD-1-SSIM: -0.1000 [-0.1000, -0.1000] (on average, over 20.0 to 160.0 bytes)." in markdown


def test_a_mean_squared_error_is_averaged_in_decibels():
    assert re.search(
        r"BD-L2: \+\d\.\d\d \[\+.*\] dB \(-10 log10 of it, higher is better",
        said(a_run(), "facet", "jpeg", metric="L2"),
    )


def test_a_curve_of_few_points_has_a_verdict_but_no_bd_rate():
    first = said(make_run([*sweep("facet", 0.5, levels=3), *sweep("jpeg", 1)]), "facet", "jpeg").splitlines()[0]
    assert first.startswith("**facet** is better than jpeg at 32 bytes")
    assert first.endswith("No BD-rate: facet has 3 points, BD figures take 4.")


def test_curves_without_a_common_size_are_not_compared_at_equal_bytes():
    big = Point("png", list(0.3 + WOBBLE), [9000] * PICTURES, face=list(0.3 + WOBBLE))
    first = said(a_run(big), "png", "facet").splitlines()[0]
    assert first.startswith("**png** has no number of bytes in common with facet, and loses to it: facet:step=")


def test_between_the_usual_sizes_a_curve_is_compared_at_its_own_points():
    points = [Point("one:step=1", list(0.2 + WOBBLE), [80] * PICTURES), *sweep("jpeg", 1, face=False)]
    assert "at 80 bytes (1-SSIM lower by 0.1500)" in said(make_run(points), "one", "jpeg").splitlines()[0]


def test_a_curve_of_failed_points_cannot_be_judged():
    run = a_run(*sweep("webp", 1, failed={0: "crashed"}))
    first = said(run, "facet", "webp").splitlines()[0]
    assert first.startswith(
        "**facet** cannot be judged: the points of webp have failed pictures. No BD-rate: webp has 0"
    )


def test_points_that_count_for_nothing_are_named():
    worse = Point("facet:step=9", list(0.5 + WOBBLE), [300] * PICTURES, face=list(0.5 + WOBBLE))
    assert "BD figures: without facet:step=9: no better than a point of fewer bytes." in said(
        a_run(worse), "facet", "jpeg"
    )


def test_a_codec_trained_on_the_scored_faces_is_called_unfair():
    about = {"overlap": {"pictures": 1, "identities": 2}}
    run = make_run([*sweep("facet", 0.5, about=about), *sweep("jpeg", 1)])
    first = said(run, "facet", "jpeg").splitlines()[0]
    assert first.endswith("facet: Its training data overlap the scored split: not a fair score.")


def test_a_single_person_gives_values_without_a_test():
    run = a_run(identities=["7"] * PICTURES)
    markdown = said(run, "facet", "jpeg")
    assert "untested: too few people for an interval" in markdown.splitlines()[0]
    assert "nan" not in markdown


def test_what_the_run_lacks_is_refused_in_one_line():
    with pytest.raises(UnknownName, match=r"has no curve 'facets'; it has: facet, jpeg$"):
        said(a_run(), "facets", "jpeg")
    tuned = Point("facet@128B", [0.1] * PICTURES, [99] * PICTURES, about={"curve": "facet@budget", "budget": 128})
    for name in ("facets", "facet@budget"):
        with pytest.raises(UnknownName, match=rf"has no curve '{name}'; it has: facet, jpeg$"):
            said(a_run(tuned), "jpeg", name)
    with pytest.raises(ResultsError, match="byte budgets only, which lie on no curve; run it with --sweep"):
        said(make_run([tuned]), "facet@budget", "eigenfaces@budget")
    with pytest.raises(ResultsError, match="did you mean 'PSNR'"):
        said(a_run(), "facet", "jpeg", metric="PSNRs")
    with pytest.raises(ResultsError, match="has no face masks"):
        said(make_run([*sweep("facet", 0.5, face=False), *sweep("jpeg", 1, face=False)]), "facet", "jpeg", mask="face")


def test_json_says_the_same_and_is_json():
    comparison = compare_curves(a_run(), "facet", "jpeg", values=(0.3, 0.01))
    document = json.loads(comparison_json(comparison), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["verdict"] == comparison_markdown(comparison).splitlines()[0].replace("*", "")
    assert document["bd_rate"]["value"] == pytest.approx(-50)
    by_size = {row["bytes"]: row for row in document["at_bytes"]}
    assert by_size[32]["difference"] == pytest.approx(-0.1)
    assert (by_size[32]["outcome"], by_size[512]["outcome"], by_size[512]["p_holm"]) == ("beats", None, None)
    assert by_size[256]["reason"] == "facet was measured from 10 to 160 bytes only"
    reached, beyond = document["at_quality"]
    assert reached["bytes"] == pytest.approx(reached["bytes_against"] / 2)
    assert (beyond["bytes"], beyond["difference_percent"]) == (None, None)


def test_the_command_takes_runs_apart_and_its_options(tmp_path):
    write_run(tmp_path / "one", make_run(sweep("facet", 0.5), name="one"), "")
    write_run(tmp_path / "two", make_run(sweep("jpeg", 1), name="two"), "")
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    options = ["--bytes", "20,160", "--at", "0.4,0.3", "--mask", "face"]
    result = CliRunner().invoke(compare_command, ["facet", "jpeg", *folders, *options], catch_exceptions=False)
    assert result.output.startswith("**facet** is better than jpeg")
    assert "within 20 to 160 bytes" in result.output
    result = CliRunner().invoke(
        compare_command, ["facet", "jpeg", *folders, "--format", "json"], catch_exceptions=False
    )
    assert json.loads(result.output)["run"] == "one + two"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["facet", "jpeg"], "Missing argument 'RUN...'"),
        (["facet", "jpeg", "x", "--bytes", "280,20"], "two numbers, the smaller first"),
        (["facet", "jpeg", "x", "--bytes", "20"], "two numbers, the smaller first"),
        (["facet", "jpeg", "x", "--at", "0.3;0.2"], "no list of numbers"),
    ],
)
def test_wrong_arguments_are_told_apart(arguments, message):
    result = CliRunner().invoke(compare_command, arguments)
    assert result.exit_code == 2
    assert message in result.output
