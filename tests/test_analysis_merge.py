"""Runs merged for one leaderboard, and what may not be merged."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
from constructed_run import Point, make_run

from facebench.analysis.merge import merge_runs
from facebench.analysis.summary import summarise
from facebench.errors import NotComparable, ResultsError


def a_run(label="jpeg:quality=5", value=0.1, name="one", **more):
    return make_run([Point(label, [value, value], [10, 10], **more)], name=name)


def changed(run, *path, value):
    manifest = copy.deepcopy(run.manifest)
    place = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return type(run)(run.name, manifest, run.records)


def test_points_of_all_runs_stand_in_one_table():
    merged = merge_runs([a_run(), a_run("webp:quality=1", 0.2, "two")])
    assert merged.name == "one + two"
    assert [row.point for row in summarise(merged).rows] == ["jpeg:quality=5", "webp:quality=1"]
    assert [origin["name"] for origin in merged.manifest["runs"]] == ["one", "two"]
    assert merged.manifest["command"] == "facebench run --out one; facebench run --out two"


def test_a_single_run_is_itself():
    run = a_run()
    assert merge_runs([run]) is run


def test_no_run_is_an_error():
    with pytest.raises(ResultsError, match="no run"):
        merge_runs([])


def test_the_rows_of_the_later_run_win():
    merged = merge_runs([a_run(value=0.1), a_run(value=0.3, name="two")])
    row = summarise(merged).row("jpeg:quality=5")
    assert row.metrics["1-SSIM"].mean == pytest.approx(0.3)
    assert row.pictures == 2
    assert len(merged.records) == 2


def test_the_inputs_are_left_as_they_were():
    one, two = a_run(), a_run("webp:quality=1", 0.2, "two")
    before = copy.deepcopy(one.manifest), one.records.copy()
    merge_runs([one, two])
    assert one.manifest == before[0]
    assert one.records.equals(before[1])


def test_a_point_asked_for_once_counts_as_asked_for():
    own = a_run(about={"requested": False}, name="two")
    assert merge_runs([a_run(), own]).manifest["points"]["jpeg:quality=5"]["requested"]
    assert not merge_runs([own, own]).manifest["points"]["jpeg:quality=5"]["requested"]


def test_metrics_of_one_run_only_are_blank_for_the_other():
    one, two = a_run(), a_run("webp:quality=1", 0.2, "two")
    two.manifest["metrics"]["LPIPS"] = {"version": 1, "definition": "", "higher_is_better": False, "unit": ""}
    two.records["LPIPS"] = 0.5
    summary = summarise(merge_runs([one, two]))
    assert summary.row("webp:quality=1").metrics["LPIPS"].mean == pytest.approx(0.5)
    assert summary.row("jpeg:quality=5").metrics["LPIPS"].mean != summary.row("jpeg:quality=5").metrics["LPIPS"].mean


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("image_set", "digest"), "f" * 64, "different data.*ffffffffffff"),
        (("image_set", "masker"), "landmarks", "face masks from 'annotation' and 'landmarks'"),
        (("metrics", "1-SSIM", "version"), 2, "version of metric 1-SSIM: 1 and 2"),
        (("metrics", "L1", "definition"), "another", "definition of metric L1"),
        (("points", "jpeg:quality=5", "version"), "7", "different codec version: 1 and 7"),
        (("points", "jpeg:quality=5", "weights_digest"), "ab" * 32, "different weights: none and abababababab"),
        (("points", "jpeg:quality=5", "settings"), {"quality": 6}, "different settings"),
        (("points", "jpeg:quality=5", "origin"), "my-jpeg 0.1.0", "different plugin: facebench and my-jpeg"),
    ],
)
def test_what_differs_is_refused_in_one_line_that_names_both_runs(path, value, said):
    with pytest.raises(NotComparable, match=said) as caught:
        merge_runs([a_run(), changed(a_run(name="two"), *path, value=value)])
    assert "'one'" in str(caught.value) and "'two'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_newer_release_with_the_same_codec_version_is_the_same_codec():
    newer = changed(a_run(name="two"), "points", "jpeg:quality=5", "origin", value="facebench 0.2.0")
    assert len(merge_runs([a_run(), newer]).records) == 2


def test_a_difference_to_any_earlier_run_is_found_not_only_to_the_first():
    third = changed(a_run("webp:quality=1", 0.2, "three"), "points", "webp:quality=1", "version", value="9")
    with pytest.raises(NotComparable, match="'two' and 'three'"):
        merge_runs([a_run(), a_run("webp:quality=1", 0.2, "two"), third])


def test_what_any_run_knows_of_the_pictures_is_kept():
    places = {"picture": ["set:0", "set:1"], "position": [0, 1]}
    posed = replace(a_run(), pictures=pd.DataFrame({**places, "yaw": [0.1, 0.2], "attribute Male": [True, True]}))
    told = pd.DataFrame({**places, "attribute Male": [True, False]})
    labelled = replace(a_run("webp:quality=1", 0.2, "two"), pictures=told)
    plain = a_run("png", 0.0, "three")
    merged = merge_runs([posed, labelled, plain]).pictures
    assert merged["yaw"].tolist() == [0.1, 0.2]
    assert merged["attribute Male"].tolist() == [True, False]  # the later run's
    assert list(posed.pictures.columns) == ["picture", "position", "yaw", "attribute Male"]  # as it was
    assert merge_runs([plain, labelled]).pictures.equals(told)
    assert merge_runs([plain, a_run()]).pictures is None


def costs(*labels, cpu="Z80", definition="median", encode=1.0, packages=None, pictures="ab"):
    machine = {"cpu": cpu, "cores": 1, "packages": {"numpy": "2.0.0", **(packages or {})}}
    entry = {"encode_ms": {"median": encode}}
    return {
        "command": f"facebench cost --run {labels[0]}",
        "definition": definition,
        "device": "cpu",
        "threads": 1,
        "machine": machine,
        "image_set": {"digest": pictures},
        "points": dict.fromkeys(labels, entry),
    }


def test_costs_of_all_runs_that_were_measured_alike_stand_in_one_table():
    one = replace(a_run(), cost=costs("jpeg:quality=5", "both", packages={"plugin-a": "1"}))
    two = replace(a_run("webp:quality=1", 0.2, "two"), cost=costs("webp:quality=1", "both", encode=2.0))
    merged = merge_runs([one, two, a_run("png", 0.0, "three")])
    assert {label: about["encode_ms"]["median"] for label, about in merged.cost["points"].items()} == {
        "jpeg:quality=5": 1.0,
        "both": 2.0,  # the later run's
        "webp:quality=1": 2.0,
    }
    assert merged.cost["machine"]["packages"] == {"numpy": "2.0.0", "plugin-a": "1"}
    assert merged.cost["command"] == "facebench cost --run jpeg:quality=5; facebench cost --run webp:quality=1"
    assert merged.manifest["problems"] == []
    assert set(one.cost["points"]) == {"jpeg:quality=5", "both"}  # as it was
    assert merge_runs([a_run(), a_run("png", 0.0, "three")]).cost is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "6502"}, "on another machine"),
        ({"definition": "mean"}, "by another definition"),
        ({"packages": {"numpy": "1.0.0"}}, "with another numpy"),
        ({"pictures": "cd"}, "on other pictures"),
    ],
)
def test_costs_measured_otherwise_than_the_last_runs_are_left_out_and_named(changed, said):
    one = replace(a_run(), cost=costs("jpeg:quality=5", **changed))
    two = replace(a_run("webp:quality=1", 0.2, "two"), cost=costs("webp:quality=1"))
    merged = merge_runs([one, two])
    assert list(merged.cost["points"]) == ["webp:quality=1"]
    (problem,) = merged.manifest["problems"]
    assert "costs of run 'one' are left out" in problem and said in problem and "run 'two'" in problem
