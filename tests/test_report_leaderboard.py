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
from facebench.analysis.summary import summarise
from facebench.errors import SettingError
from facebench.report.details import badges
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


#: Where the table of all curves at equal bytes stands among a document's, after that of codecs.
ALL_CURVES = 3


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


def bare(name):
    """A row's name without the marks of its footnotes."""
    return name.rstrip("⁰¹²³⁴⁵⁶⁷⁸⁹ ")


def row_of(table, name):
    """The row of a table that is headed ``name``."""
    return next(row for row in table if name in [bare(cell) for cell in list(row.values())[:2]])


def test_rows_are_ranked_over_whole_pictures_and_face_rows_follow_theirs():
    main = tables(leaderboard_markdown(a_run()))[0]
    assert [(row["rank"], bare(row["codec"])) for row in main] == [
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
    row = row_of(tables(leaderboard_markdown(a_run()))[0], "cvae:step=1")
    assert (row["bytes"], row["bpp"], row["ratio"], row["decoder weights"]) == ("64.0", "0.125", "192.0", "1.77 MB")


def test_each_row_is_held_against_the_baseline_at_its_bytes():
    main = tables(leaderboard_markdown(a_run(constant("png", 0.0, 9000))))[0]
    against = {bare(row["codec"]): row["eigenfaces 1-SSIM at same bytes"] for row in main}
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
    row = row_of(tables(markdown)[0], "cvae:step=1+Mask")
    assert row["1-SSIM [95 % CI]"] == row["bytes"] == "n/a"
    assert markdown.count("there is no face_masks.zip") == 1
    assert "over the face" not in markdown


def test_a_failed_point_is_shown_marked_unranked_and_on_no_curve():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed={0: "crashed", 2: "decode failed", 3: "decode failed"}))
    markdown = leaderboard_markdown(run)
    main = tables(markdown)[0]
    row = row_of(main, "webp:quality=1")
    assert (row["rank"], row["codec"]) == ("–", "webp:quality=1²")
    assert "² failed (1 picture crashed, 2 pictures decode failed, of 4): not ranked" in markdown
    assert row_of(tables(markdown)[ALL_CURVES], "webp")["64 B"] == "–"


def test_a_point_of_which_nothing_is_left_does_not_break_the_report():
    run = a_run(constant("webp:quality=1", 0.01, 64, failed=dict.fromkeys(range(4), "encode failed")))
    row = row_of(tables(leaderboard_markdown(run))[0], "webp:quality=1")
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
    equal = {row["curve"]: row for row in tables(leaderboard_markdown(a_run()))[ALL_CURVES]}
    # In log bytes 32 is a quarter and 128 three quarters of the way from 16 to 256.
    assert equal["jpeg"]["32 B"] == "**1. 0.2500**"
    assert equal["jpeg"]["128 B"] == "**1. 0.1500**"
    assert equal["cvae"]["32 B"] == "2= 0.3500"
    assert equal["eigenfaces"]["32 B"] == "2= 0.3500"
    assert equal["cvae"]["64 B"] == "2. 0.2500"
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
    row = row_of(provenance, "cvae")
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
    assert row_of(tables(leaderboard_markdown(run))[0], 'cvae:weights="a\\|b"')


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
    assert rows["jpeg"]["1-SSIM, whole pictures"] == "+100.0 % [+100.0, +100.0]¹"
    assert "¹ without jpeg:step=9: no better than a point of fewer bytes" in section
    assert rows["png"]["1-SSIM, whole pictures"].startswith("n/a")
    assert "n/a: png has 1 point, BD figures take 4" in section


def test_without_a_baseline_or_anything_beside_it_there_is_no_bd_rate():
    assert "BD-rate" not in leaderboard_markdown(make_run(a_sweep("jpeg", 2)))
    assert "BD-rate" not in leaderboard_markdown(make_run([*a_sweep("webp", 2), *a_sweep("avif", 1)]))
    assert "BD-rate" not in leaderboard_markdown(make_run(a_sweep("eigenfaces", 1, point=the_baseline)))


def test_bd_rates_are_told_against_jpeg_too_without_its_header_where_there_is_one():
    points = [*a_sweep("jpeg", 4), *a_sweep("cvae", 1)]
    markdown = leaderboard_markdown(make_run(points))
    assert "## BD-rate against jpeg\n" in markdown and "against eigenfaces" not in markdown
    headerless = {"curve": "jpeg:headerless=true"}
    points += [
        Point(
            f"{point.label}:headerless=true", point.whole, [s // 2 for s in point.sizes], point.face, about=headerless
        )
        for point in a_sweep("jpeg", 4)
    ]
    markdown = leaderboard_markdown(make_run([*points, *a_sweep("eigenfaces", 1, point=the_baseline)]))
    assert markdown.count("## BD-rate against") == 2
    section = markdown.partition("## BD-rate against jpeg:headerless=true\n")[2].partition("\n## ")[0]
    found = {row["curve"]: row["1-SSIM, whole pictures"] for row in tables(section)[0]}
    assert found == {
        "jpeg": "+100.0 % [+100.0, +100.0]",
        "cvae": "-50.0 % [-50.0, -50.0]",
        "eigenfaces": "-50.0 % [-50.0, -50.0]",
    }


def test_each_codec_is_told_by_its_best_curve_in_the_order_in_which_they_come_in():
    other = {"curve": "jpeg:scale=0.5"}
    run = a_run(
        constant("jpeg:quality=5:scale=0.5", 0.20, 16, about=other),
        constant("jpeg:quality=50:scale=0.5", 0.20, 64, about=other),
        constant("avif:quality=1", 0.05, 200),
        constant("avif:quality=9", 0.01, 700),
        constant("png", 0.0, 9000),
    )
    markdown = leaderboard_markdown(run)
    codecs = tables(markdown)[ALL_CURVES - 1]
    assert [row["codec"] for row in codecs] == ["jpeg", "cvae", "eigenfaces", "avif"]
    assert [codecs[0][size] for size in ("32 B", "64 B", "128 B", "256 B", "512 B")] == [
        "**1. 0.2000**¹",
        "**1. 0.2000**",
        "**1. 0.1500**",
        "2. 0.1000",
        "–",
    ]
    assert codecs[1]["32 B"] == codecs[2]["32 B"] == "2= 0.3500"
    assert "¹ jpeg:scale=0.5\n" in markdown
    assert "No value at any of these sizes: png." in markdown


def noisy(label, value, size, noise, **more):
    return Point(label, [value + noise * (-1) ** n for n in range(40)], [size] * 40, **more)


def test_rows_that_differ_by_chance_only_share_a_rank_in_the_order_of_their_names():
    points = [
        noisy("d", 0.2004, 10, 0.05),
        noisy("c", 0.3, 10, 0.0),
        noisy("b", 0.2, 90, 0.0),
        noisy("a", 0.1, 10, 0.0),
        noisy("e", 0.9, 10, 0.0),
    ]
    main = tables(leaderboard_markdown(make_run(points)))[0]
    ranked = [(row["rank"], row["codec"]) for row in main if "+" not in row["codec"]]
    assert ranked == [("1", "a"), ("2=", "b"), ("2=", "d"), ("4", "c"), ("5", "e")]
    assert [row.point for row in leaderboard_frame(make_run(points)).itertuples()][1:3] == ["b", "d"]
    reversed_run = make_run(points[::-1])
    assert tables(leaderboard_markdown(reversed_run))[0] == main


def test_a_row_names_its_weights_and_in_a_merged_table_the_command_that_measured_it():
    about = {**LEARNED, "trained_on": {**LEARNED["trained_on"], "command": "facebench train cvae"}, "run": "other"}
    point = constant("cvae:step=3", 0.2, 40, face=False, about=about)
    origins = [
        {"name": "constructed", "command": "facebench run --out constructed"},
        {"name": "other", "command": "facebench run --codecs cvae"},
    ]
    markdown = leaderboard_markdown(make_run([point], manifest={"runs": origins}))
    assert "cvae:step=3¹ ² " in markdown
    assert "¹ weights abababababab, trained on celeba train (cdcdcdcdcdcd) by `facebench train cvae`" in markdown
    assert "² measured by `facebench run --codecs cvae`" in markdown


def test_weights_that_differ_from_point_to_point_share_a_footnote_and_stand_in_the_provenance():
    points = [
        constant(
            f"jpeg:quality={q}",
            0.1 + q / 100,
            40 - q,
            about={"weights_digest": str(q) * 64, "settings": {"quality": q}},
        )
        for q in (1, 2)
    ]
    markdown = leaderboard_markdown(make_run(points))
    assert markdown.count("weights of its own for each point (Provenance)") == 1
    provenance = tables(markdown)[-2]
    assert (provenance[0]["weights digest"], provenance[0]["settings"]) == (f"{'1' * 12} {'2' * 12}", "quality=1/2")
    assert provenance[0]["points"] == "2"


def test_long_tables_are_folded_and_short_ones_are_not():
    assert "ranked by mean 1-SSIM whatever the bytes</summary>" not in leaderboard_markdown(a_run())
    markdown = leaderboard_markdown(make_run([constant(f"jpeg:quality={n}", 0.5 - n / 200, 10 + n) for n in range(30)]))
    assert (
        "<details>\n<summary>30 operating points, ranked by mean 1-SSIM whatever the bytes</summary>\n\n|" in markdown
    )
    assert markdown.count("|\n\n</details>\n") == 2  # the main table and the spread over pictures


def test_the_badges_say_what_speaks_for_a_run_and_what_against_it():
    run = a_run()
    assert badges(summarise(run), run.manifest) == (
        "**real faces** · 4 pictures · 3 codecs, 3 curves, 6 operating points · face masks: annotation · no training "
        "on these faces known · no picture failed · not sealed · **uncommitted changes on c0ffeec0ffee**"
    )
    leaking = constant("dcgan:step=1", 0.2, 64, face=False, about={"overlap": {"pictures": 1, "identities": 0}})
    failed = constant("webp:quality=1", 0.01, 64, face=False, failed={0: "crashed"})
    about = {"git": {"commit": "c0ffee" * 6, "dirty": False}, "sealed": True}
    run = a_run(leaking, failed, face=False, image_set={"synthetic": True}, manifest=about)
    assert badges(summarise(run), run.manifest) == (
        "**SYNTHETIC faces** · 4 pictures · 5 codecs, 5 curves, 8 operating points · no face masks · **1 point "
        "trained on scored faces** · **1 point with failed pictures** · sealed · clean commit c0ffeec0ffee"
    )
    run = a_run(manifest={"git": None})
    assert badges(summarise(run), run.manifest).endswith(" · **commit unknown**")


def test_points_with_a_budget_stand_in_none_of_the_tables_of_operating_points():
    budget = {"curve": "jpeg@budget", "budget": 128, "downscale": False}
    markdown = leaderboard_markdown(a_run(constant("jpeg@128B", 0.2, 100, about=budget)))
    for heading in ("# facebench leaderboard", "## At equal bytes", "## BD-rate", "## Spread over pictures"):
        part = markdown.partition(heading)[2].partition("\n## ")[0]
        assert "jpeg" in part and "jpeg@" not in part, heading
    assert row_of(tables(markdown)[-2], "jpeg@budget")["version"] == "1"  # the provenance


def test_a_run_of_budgets_alone_ranks_the_baselines_points():
    budget = {"curve": "jpeg@budget", "budget": 128, "downscale": False}
    points = [constant("jpeg@128B", 0.2, 100, about=budget), *a_sweep("eigenfaces", 1, point=the_baseline)]
    main = tables(leaderboard_markdown(make_run(points)))[0]
    assert [row["codec"] for row in main if row["rank"] == "1"] == ["eigenfaces:step=3"]
