"""The markdown leaderboard, its flat forms, and what they must say."""

import io
import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from constructed_run import Point, baseline, make_run

from facebench.analysis.merge import merge_runs
from facebench.errors import SettingError
from facebench.report.leaderboard import (
    leaderboard_csv,
    leaderboard_frame,
    leaderboard_json,
    leaderboard_markdown,
)
from facebench.store import read_run, write_run

LEARNED = {
    "weights_bytes": 1_774_000,
    "weights_digest": "ab" * 32,
    "trained_on": {"image_set": "celeba", "split": "train", "data_digest": "cd" * 32},
    "settings": {"step": 3.0, "headerless": True},
}


def constant(label, value, size, *, face=True, **more):
    """A point that gives every one of four pictures the same value and size."""
    over_face = [value / 2] * 4 if face else None
    return Point(label, [value] * 4, [size] * 4, face=over_face, **more)


def a_run(*more, face=True, **settings):
    points = [
        constant("jpeg:quality=5", 0.30, 16, face=face),
        constant("jpeg:quality=50", 0.10, 256, face=face),
        constant("cvae:step=1", 0.25, 64, face=face, about=LEARNED),
        constant("cvae:step=2", 0.45, 16, face=face, about=LEARNED),
        *more,
    ]
    for label, value, size in (("eigenfaces:step=1", 0.4, 16), ("eigenfaces:step=2", 0.2, 256)):
        over_face = [value / 2] * 4 if face else None
        points.append(baseline(label, [value] * 4, [size] * 4, face=over_face))
    return make_run(points, **settings)


def tables(markdown):
    """Every table of a markdown document: a list of lists of dicts from header to cell."""
    found, lines = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            lines.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif lines:
            header, _, *rows = lines
            assert all(len(row) == len(header) for row in rows)
            found.append([dict(zip(header, row, strict=True)) for row in rows])
            lines = []
    return found


def test_rows_are_ranked_over_whole_pictures_and_face_rows_follow_theirs():
    main = tables(leaderboard_markdown(a_run()))[0]
    assert [(row["rank"], row["codec"]) for row in main] == [
        ("1", "jpeg:quality=50"),
        ("", "jpeg:quality=50+Mask"),
        ("2", "cvae:step=1"),
        ("", "cvae:step=1+Mask"),
        ("3", "jpeg:quality=5"),
        ("", "jpeg:quality=5+Mask"),
        ("4", "cvae:step=2"),
        ("", "cvae:step=2+Mask"),
    ]
    assert [row["1-SSIM [95 % CI]"].split()[0] for row in main[:4]] == ["0.1000", "0.0500", "0.2500", "0.1250"]


def test_sizes_weights_and_ratio_are_in_the_row():
    row = next(r for r in tables(leaderboard_markdown(a_run()))[0] if r["codec"] == "cvae:step=1")
    assert (row["bytes"], row["bpp"], row["ratio"], row["decoder weights"]) == ("64.0", "0.125", "192.0", "1.77 MB")


def test_each_row_is_held_against_the_baseline_at_its_bytes():
    main = tables(leaderboard_markdown(a_run(constant("png", 0.0, 9000))))[0]
    against = {row["codec"]: row["eigenfaces 1-SSIM at same bytes"] for row in main}
    # 64 bytes lie halfway between 16 and 256 in log bytes: (0.4 + 0.2) / 2.
    assert against["cvae:step=1"] == "0.3000 (better)"
    assert against["cvae:step=1+Mask"] == "0.1500 (better)"
    assert against["cvae:step=2"] == "0.4000 (worse)"
    assert against["png"] == "–"


def test_the_baselines_own_points_stand_apart_unless_asked_for():
    first, second, *_ = tables(leaderboard_markdown(a_run()))
    assert not any(row["codec"].startswith("eigenfaces") for row in first)
    assert [row["codec"] for row in second if "+" not in row["codec"]] == ["eigenfaces:step=1", "eigenfaces:step=2"]
    run = a_run()
    for about in run.manifest["points"].values():
        about["requested"] = True
    first, *_ = tables(leaderboard_markdown(run))
    assert sum(row["codec"].startswith("eigenfaces") for row in first) == 4


def test_without_masks_face_rows_read_na_and_one_line_says_why():
    markdown = leaderboard_markdown(a_run(face=False, image_set={"no_mask_reason": "there is no face_masks.zip"}))
    row = next(r for r in tables(markdown)[0] if r["codec"] == "cvae:step=1+Mask")
    assert row["1-SSIM [95 % CI]"] == row["bytes"] == "n/a"
    assert markdown.count("there is no face_masks.zip") == 1
    assert "over the face" not in markdown


def test_a_failed_point_is_shown_marked_unranked_and_on_no_curve():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed={0: "crashed", 2: "decode failed", 3: "decode failed"}))
    markdown = leaderboard_markdown(run)
    main = tables(markdown)[0]
    row = next(r for r in main if r["codec"].startswith("webp:quality=1¹"))
    assert row["rank"] == "–"
    assert "¹ failed (1 picture crashed, 2 pictures decode failed, of 4): not ranked" in markdown
    equal = tables(markdown)[2]
    assert next(r for r in equal if r["curve"] == "webp")["64 B"] == "–"


def test_a_point_of_which_nothing_is_left_does_not_break_the_report():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed=dict.fromkeys(range(4), "encode failed")))
    row = next(r for r in tables(leaderboard_markdown(run))[0] if r["codec"].startswith("webp:quality=1¹"))
    assert (row["bytes"], row["1-SSIM [95 % CI]"]) == ("–", "–")


def test_training_data_that_overlap_are_flagged_with_their_counts():
    about = {**LEARNED, "overlap": {"pictures": 1, "identities": 2}}
    markdown = leaderboard_markdown(a_run(constant("dcgan:step=1", 0.2, 64, about=about)))
    assert "¹ trained on data that overlap the scored split: 1 picture and 2 identities of it" in markdown
    verdict = next(line for line in markdown.splitlines() if line.startswith("- **dcgan**"))
    assert verdict.endswith("Its training data overlap the scored split: not a fair score.")


def test_synthetic_faces_are_called_so_and_the_remedy_is_named():
    assert "synthetic" not in leaderboard_markdown(a_run())
    lines = leaderboard_markdown(a_run(image_set={"synthetic": True})).splitlines()
    warning = next(line for line in lines if "synthetic" in line)
    assert warning.startswith("**") and warning.endswith("**")
    assert "facebench run ... --data PATH_TO_CELEBA" in warning


def test_the_equal_bytes_table_interpolates_and_marks_the_best():
    equal = {row["curve"]: row for row in tables(leaderboard_markdown(a_run()))[2]}
    # In log bytes 32 is a quarter and 128 three quarters of the way from 16 to 256.
    assert equal["jpeg"]["32 B"] == "**0.2500**"
    assert equal["jpeg"]["128 B"] == "**0.1500**"
    assert equal["cvae"]["32 B"] == "0.3500"
    assert equal["eigenfaces"]["32 B"] == "0.3500"
    assert equal["cvae"]["64 B"] == "0.2500"
    assert equal["cvae"]["128 B"] == equal["jpeg"]["512 B"] == "–"
    assert equal["cvae"]["measured from, to"] == "16.0 B to 64.0 B (2 points)".replace(" B to", " to")


def test_the_verdict_names_where_a_learned_codec_beats_and_loses_to_the_baseline():
    markdown = leaderboard_markdown(a_run(constant("cvae:step=0.5", 0.28, 256, about=LEARNED)))
    verdict = next(line for line in markdown.splitlines() if line.startswith("- **cvae**"))
    beats, level, rest = verdict.split("; ")
    assert level.startswith("shows no clear difference at 32 bytes (0.3500 against 0.3500")
    assert "beats it at 64 bytes (0.2500 against 0.3000, difference in [-0.0500, -0.0500])" in beats
    assert "loses to it at 128 bytes (0.2650 against 0.2500" in rest
    assert "256 bytes (0.2800 against 0.2000" in rest
    assert "- **jpeg**" not in markdown  # no weights: not learned
    assert "- **eigenfaces**" not in markdown


def test_a_difference_within_chance_is_no_victory():
    wobble = [0.25, 0.35, 0.28, 0.31]
    points = [
        Point("cvae:step=1", wobble, [64] * 4, about=LEARNED),
        baseline("eigenfaces:step=1", [0.3] * 4, [64] * 4),
    ]
    markdown = leaderboard_markdown(make_run(points))
    assert "shows no clear difference at 64 bytes (0.2975 against 0.3000" in markdown
    assert "beats" not in markdown.split("## At equal bytes")[1]


def test_a_codec_that_needs_more_bytes_for_less_loses_without_a_common_size():
    points = [
        constant("cvae:latent=float32", 0.3, 2048, face=False, about=LEARNED),
        baseline("eigenfaces:step=1", [0.4] * 4, [16] * 4),
        baseline("eigenfaces:step=2", [0.2] * 4, [256] * 4),
    ]
    markdown = leaderboard_markdown(make_run(points))
    assert (
        "loses to it: eigenfaces:step=2 reaches 0.2000 in 256.0 bytes, cvae:latent=float32 0.3000 in 2,048." in markdown
    )
    points[0] = constant("cvae:latent=float32", 0.1, 2048, face=False, about=LEARNED)
    assert "no number of bytes in common with eigenfaces: no verdict." in leaderboard_markdown(make_run(points))


def test_one_point_between_the_budgets_is_judged_at_its_own_bytes():
    points = [
        constant("cvae:step=1", 0.25, 64 + 16, face=False, about=LEARNED),
        baseline("eigenfaces:step=1", [0.4] * 4, [16] * 4),
        baseline("eigenfaces:step=2", [0.2] * 4, [256] * 4),
    ]
    expected = 0.4 - 0.2 * math.log(80 / 16) / math.log(256 / 16)
    assert f"at its own points' bytes: beats it at 80 bytes (0.2500 against {expected:.4f}" in leaderboard_markdown(
        make_run(points)
    )


def test_the_document_tells_data_versions_definitions_machine_and_command():
    markdown = leaderboard_markdown(a_run())
    assert (
        "Data: set, split test, 4 pictures, crop centre-148, 64x64, area filter; data digest 0123456789ab." in markdown
    )
    *_, provenance, metrics = tables(markdown)
    row = next(r for r in provenance if r["codec"] == "cvae:step=1")
    assert row["weights digest"] == "abababababab"
    assert row["trained on"] == "celeba train (cdcdcdcdcdcd)"
    assert row["settings"] == "headerless=true, step=3"
    assert metrics[0] == {
        "metric": "1-SSIM",
        "version": "1",
        "better": "lower",
        "unit": "–",
        "definition": "one minus SSIM",
    }
    assert "`facebench run --out constructed`" in markdown
    assert "Z80, 1 core, CP/M, Python 3.11.2" in markdown
    assert "commit c0ffeec0ffee with uncommitted changes" in markdown


def test_the_spread_table_names_the_worst_picture():
    run = make_run([Point("jpeg:quality=5", [0.1, 0.9, 0.2, 0.3], [10, 11, 12, 99])])
    row = next(t for t in tables(leaderboard_markdown(run)) if "worst picture" in t[0])[0]
    assert (row["1-SSIM worst"], row["worst picture"], row["largest"]) == ("0.9000", "set:1", "99")


def test_the_paper_view_scales_l1_and_l2_and_says_so():
    default, paper = leaderboard_markdown(a_run()), leaderboard_markdown(a_run(), view="paper")
    row = next(r for r in tables(paper)[0] if r["codec"] == "jpeg:quality=50")
    assert (row["l1"], row["l2"]) == ("0.1000", "1.0000")  # of L1 0.01 and L2 0.01
    assert "L1" not in row and "L2" not in row
    assert "l1 = 10 x L1" in paper and "l2 = 100 x L2" in paper and "inferred" in paper
    assert "l1 = 10" not in default
    assert leaderboard_frame(a_run())["L1"].max() == pytest.approx(0.045)


def test_an_unknown_view_suggests_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'paper'"):
        leaderboard_markdown(a_run(), view="papers")


def test_the_same_run_gives_the_same_document():
    assert leaderboard_markdown(a_run()) == leaderboard_markdown(a_run())


def test_a_run_that_was_written_and_read_gives_the_same_document(tmp_path):
    run = a_run(constant("webp:quality=1", 0.01, 64, failed={0: "crashed"}))
    write_run(tmp_path / run.name, run, "")
    assert leaderboard_markdown(read_run(tmp_path / run.name)) == leaderboard_markdown(run)


def test_categorical_columns_give_the_same_document():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed={0: "crashed"}))
    texts = ["point", "codec", "curve", "picture", "identity", "mask", "status", "detail"]
    packed = replace(run, records=run.records.astype(dict.fromkeys(texts, "category")))
    assert leaderboard_markdown(packed) == leaderboard_markdown(run)


def test_bars_in_names_do_not_break_the_table():
    run = a_run(constant('cvae:weights="a|b"', 0.2, 40, about={**LEARNED, "curve": 'cvae:weights="a|b"'}))
    assert any(row["codec"] == 'cvae:weights="a\\|b"' for row in tables(leaderboard_markdown(run))[0])


def test_a_merged_leaderboard_lists_where_its_rows_come_from():
    other = make_run([constant("webp:quality=1", 0.2, 64)], name="other")
    markdown = leaderboard_markdown(merge_runs([a_run(), other]))
    assert "`facebench run --out constructed`" in markdown and "`facebench run --out other`" in markdown
    assert markdown.startswith("# facebench leaderboard: constructed + other\n")


def test_a_run_without_any_baseline_has_no_such_column():
    markdown = leaderboard_markdown(make_run([constant("jpeg:quality=5", 0.3, 16)]))
    assert "at same bytes" not in markdown


def test_side_information_is_flagged():
    run = make_run([constant("sly", 0.3, 16, side_bits=80)])
    assert "declares 10.0 bytes of side information per picture" in leaderboard_markdown(run)


def test_the_flat_table_holds_every_row_with_its_rank_and_interval():
    frame = leaderboard_frame(a_run())
    assert len(frame) == 12
    row = frame[(frame["point"] == "cvae:step=1") & (frame["mask"] == "face")].iloc[0]
    assert row["rank"] == 2
    assert row["1-SSIM"] == pytest.approx(0.125)
    assert row["1-SSIM baseline"] == pytest.approx(0.15)
    assert row["weights bytes"] == 1_774_000
    assert frame[frame["codec"] == "eigenfaces"]["rank"].isna().all()
    assert (frame["1-SSIM low"] <= frame["1-SSIM"] + 1e-12).all()


def test_csv_and_json_say_the_same_as_the_flat_table():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed={0: "crashed"}))
    frame = leaderboard_frame(run)
    read = pd.read_csv(io.StringIO(leaderboard_csv(run)), keep_default_na=False, na_values=[""])
    assert list(read["point"]) == list(frame["point"])
    assert list(read["1-SSIM"]) == pytest.approx(list(frame["1-SSIM"]))
    document = json.loads(leaderboard_json(run), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["point"] for row in document["rows"]] == list(frame["point"])
    assert document["rows"][0]["bytes"] == pytest.approx(frame["bytes"][0])
    failed = [row for row in document["rows"] if row["failures"]]
    assert [(row["rank"], row["failure kinds"]) for row in failed] == [(None, "crashed: 1")] * 2
    assert document["image_set"]["digest"] == run.manifest["image_set"]["digest"]


def a_sweep(codec, factor, *, point=constant, **more):
    """Four points of a curve on which 1-SSIM falls by 0.1 with each doubling from ``factor`` x 16 bytes on."""
    return [point(f"{codec}:step={n}", 0.5 - 0.1 * n, factor * 16 * 2**n, **more) for n in range(4)]


def the_baseline(label, value, size):
    return baseline(label, [value] * 4, [size] * 4, face=[value / 2] * 4)


def bd_rates(run):
    markdown = leaderboard_markdown(run)
    section = markdown.partition("## BD-rate against eigenfaces")[2].partition("\n## ")[0]
    return {row["curve"]: row for row in tables(section)[0]}, section


def test_bd_rates_are_told_against_the_baseline_over_whole_pictures_and_face():
    points = [*a_sweep("jpeg", 2), *a_sweep("cvae", 0.75, about=LEARNED)]
    rows, section = bd_rates(make_run([*points, *a_sweep("eigenfaces", 1, point=the_baseline)]))
    assert list(rows) == ["jpeg", "cvae"]
    assert rows["jpeg"]["1-SSIM, whole pictures"] == "+100.0 % [+100.0, +100.0]"
    assert rows["cvae"]["1-SSIM, whole pictures"] == "-25.0 % [-25.0, -25.0]"
    assert rows["cvae"]["1-SSIM, the face"] == "-25.0 % [-25.0, -25.0]"
    assert rows["cvae"]["over 1-SSIM, whole pictures"] == "0.5000 to 0.2000"
    # The constructed PSNR rises with 1-SSIM: no point beats a smaller one.
    assert rows["cvae"]["PSNR, the face"].startswith("n/a")
    assert "n/a: cvae has 1 point that beats every smaller one, BD figures take 4" in section


def test_a_bd_rate_that_is_not_defined_says_why_and_points_that_do_not_count_are_named():
    points = [*a_sweep("jpeg", 2), constant("jpeg:step=9", 0.45, 900), constant("png", 0.0, 9000)]
    rows, section = bd_rates(make_run([*points, *a_sweep("eigenfaces", 1, point=the_baseline)]))
    assert rows["jpeg"]["1-SSIM, whole pictures"].startswith("+100.0 % [+100.0, +100.0]¹")
    assert "¹ without jpeg:step=9: no better than a point of fewer bytes" in section
    assert rows["png"]["1-SSIM, whole pictures"].startswith("n/a")
    assert "n/a: png has 1 point, BD figures take 4" in section


def test_without_a_baseline_or_anything_beside_it_there_is_no_bd_rate():
    assert "BD-rate" not in leaderboard_markdown(make_run(a_sweep("jpeg", 2)))
    assert "BD-rate" not in leaderboard_markdown(make_run(a_sweep("eigenfaces", 1, point=the_baseline)))
