"""A run that is complete and honest verifies; each way of being otherwise is named."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import faulty_codecs
import numpy as np
import pandas as pd
import pytest
from constructed_run import Point, make_run

from facebench import CodecSpec
from facebench.cli import main
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.engines import serial_engine
from facebench.operating_point import parse_points
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import load_registry
from facebench.report.leaderboard import leaderboard_markdown
from facebench.runner import execute
from facebench.store import Run, read_run, write_run
from facebench.verification.lint import lint
from facebench.verification.recheck import recheck

COUNT = 6
DIGEST = "0123456789abcdef" * 4
Verify = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def measured() -> Run:
    """Six samples at five operating points, as measured from committed code."""
    return run_of("jpeg:quality=20/60,eigenfaces:step=1/4,jpeg@600B", "samples", COUNT)


def run_of(codecs: str, data: str, count: int) -> Run:
    registry = load_registry("")
    points = plan_points(registry, parse_points(codecs, registry), baseline=False)
    options = DataOptions(data, mask="annotation", limit=count)
    images = prepare_chosen(choose_source(options, registry), options, registry)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "facebench run")
    run = execute(plan, serial_engine())
    return replace(run, manifest={**run.manifest, "git": {"commit": "c0ffee" * 6, "dirty": False}})


class Batchy(faulty_codecs.Zlib):
    """Decodes to the next grey level in a batch, as the contract allows."""

    def decode_batch(self, payloads: Sequence[bytes]) -> list[np.ndarray]:
        pictures = super().decode_batch(payloads)
        return [np.where(p < 255, p + 1, p).astype(np.uint8) for p in pictures] if len(payloads) > 1 else pictures


def test_a_row_that_differs_alone_is_measured_again_in_its_shard() -> None:
    registry = load_registry("")
    registry.add("codec", registry.codecs, CodecSpec("batchy", f"{__name__}:Batchy", version="1"), "tests 1")
    points = plan_points(registry, parse_points("batchy", registry), baseline=False)
    options = DataOptions("samples", limit=COUNT)
    images = prepare_chosen(choose_source(options, registry), options, registry)
    plan = Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "facebench run")
    run = execute(plan, serial_engine())
    assert run.records["L1"].min() > 0.003
    assert recheck(run, images, registry, count=COUNT).ok


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verify:
    """Runs ``facebench verify`` on a run, or on the folder of one; returns the exit status and all that was said."""
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    monkeypatch.delenv("FACEBENCH_DATA", raising=False)

    def run_it(subject: Run | Path, *arguments: str) -> tuple[int, str]:
        folder = subject if isinstance(subject, Path) else written(subject, tmp_path / "run")
        monkeypatch.setattr(sys, "argv", ["facebench", "verify", str(folder), "--quiet", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run_it


def written(run: Run, folder: Path) -> Path:
    write_run(folder, run, leaderboard_markdown(replace(run, name=folder.name)))
    return folder


def with_manifest(run: Run, **entries: Any) -> Run:
    return replace(run, manifest={**json.loads(json.dumps(run.manifest)), **entries})


def with_point(run: Run, name: str, **entries: Any) -> Run:
    changed = with_manifest(run)
    changed.manifest["points"][name].update(entries)
    return changed


def with_value(run: Run, point: str, position: int, column: str, value: Any) -> Run:
    records = run.records.copy()
    row = (records.point == point) & (records.position == position) & (records["mask"] == "none")
    assert row.sum() == 1
    records.loc[row, column] = value
    return replace(run, records=records)


def test_an_honest_run_verifies_every_row_on_the_readers_own_copy(measured: Run, verify: Verify) -> None:
    code, said = verify(measured)
    assert code == 0, said
    assert "complete        yes" in said
    assert "conformance     not asked for (--conformance)" in said
    assert f"{5 * COUNT} rows, 0 differ" in said
    assert said.rstrip().endswith("verified: nothing differs")


def test_a_sample_is_spread_over_the_operating_points(measured: Run, verify: Verify) -> None:
    code, said = verify(measured, "--sample", "5", "--seed", "3")
    assert code == 0, said
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in said.splitlines() if "|" in line}
    assert (rows["jpeg"], rows["eigenfaces"]) == ("3", "2")


def test_a_tampered_score_is_named_with_its_row_and_does_not_fit_the_table(
    measured: Run, verify: Verify, tmp_path: Path
) -> None:
    folder = written(measured, tmp_path / "run")
    tampered = with_value(measured, "jpeg:quality=20", 2, "1-SSIM", 0.0005)
    write_run(folder, tampered, leaderboard_markdown(replace(measured, name=folder.name)))
    code, said = verify(folder)
    assert code == 1
    assert "leaderboard.md is not what the records give: line " in said
    assert "jpeg:quality=20, samples:002: 1-SSIM " in said
    assert "recorded 0.0005" in said
    assert "1 differ\n" in said
    assert "NOT verified" in said


def test_a_tampered_payload_size_is_named(measured: Run, verify: Verify) -> None:
    was = measured.records.query("point == 'jpeg:quality=20' and position == 1 and mask == 'none'").payload_bytes.iloc[
        0
    ]
    code, said = verify(with_value(measured, "jpeg:quality=20", 1, "payload_bytes", was - 1))
    assert code == 1
    assert f"jpeg:quality=20, samples:001: payload of {was} bytes" in said
    assert "floating-point" not in said


def test_another_payload_of_a_learned_codec_with_the_same_quality_is_explained(measured: Run, verify: Verify) -> None:
    row = measured.records.query("point == 'eigenfaces:step=1' and position == 1 and mask == 'none'").iloc[0]
    tampered = with_value(measured, "eigenfaces:step=1", 1, "payload_bytes", row.payload_bytes + 1)
    tampered = with_value(tampered, "eigenfaces:step=1", 1, "bits", row.bits + 8)
    code, said = verify(tampered)
    assert code == 1
    assert "another machine's floating-point arithmetic" in said


@pytest.mark.parametrize(
    ("point", "entries", "line"),
    [
        ("jpeg:quality=20", {"version": "0.0.7"}, "jpeg is version"),
        ("eigenfaces:step=4", {"weights_digest": DIGEST}, "the weights of eigenfaces have the digest"),
        (
            "jpeg:quality=60",
            {"settings": {"quality": 61}},
            "jpeg:quality=60: the manifest's settings are those of jpeg:quality=61",
        ),
        (
            "jpeg:quality=60",
            {"settings": {"quality": "x"}},
            "jpeg:quality=60: the manifest's quality is 'x', which is no jpeg setting",
        ),
        (
            "eigenfaces:step=4",
            {"settings": {"step": [4]}},
            "the manifest's step is [4], which is no eigenfaces setting",
        ),
        ("jpeg:quality=60", {"settings": {"quality": 60, "fog": 1}}, "the installed jpeg has no setting 'fog'"),
        ("jpeg@600B", {"budget": 700}, "jpeg@600B: the manifest's settings are those of jpeg@700B"),
    ],
)
def test_a_tampered_manifest_is_named(
    measured: Run, verify: Verify, point: str, entries: dict[str, Any], line: str
) -> None:
    code, said = verify(with_point(measured, point, **entries), "--sample", "5")
    assert code == 1
    assert line in said


def test_a_metric_of_another_version_is_named_and_not_compared(measured: Run, verify: Verify) -> None:
    changed = with_manifest(with_value(measured, "jpeg:quality=20", 0, "L1", 0.5))
    changed.manifest["metrics"]["L1"]["version"] = 7
    changed.manifest["metrics"]["Beauty"] = {"version": 1, "definition": "in the eye of the beholder; n/a"}
    changed = replace(changed, records=changed.records.assign(Beauty=np.float32(1)))
    code, said = verify(changed)
    assert code == 1
    assert "L1 is version 1 here, the run's was 7" in said
    assert "metric Beauty is not installed here: not compared" in said
    assert "30 rows, 0 differ" in said


def test_rows_without_a_value_are_not_compared(measured: Run, verify: Verify) -> None:
    changed = with_manifest(measured)
    changed.manifest["metrics"]["PSNR"]["definition"] += " (the first 2 pictures only)"
    records = changed.records.copy()
    records.loc[records.position >= 2, "PSNR"] = np.nan
    code, said = verify(replace(changed, records=records))
    assert code == 0, said


@pytest.mark.parametrize(
    ("metric", "face"), [("1-SSIM", False), ("1-SSIM", True), ("1-MS-SSIM", False), ("PSNR", False)]
)
def test_blanked_scores_are_found_whatever_the_definition_says(
    measured: Run, verify: Verify, metric: str, face: bool
) -> None:
    worst = measured.records[(measured.records.point == "jpeg:quality=20") & (measured.records.position < 3)]
    rows = worst.index[worst["mask"] == "face"] if face else worst.index
    records = measured.records.copy()
    records.loc[rows, metric] = np.nan
    code, said = verify(replace(measured, records=records))
    assert code == 1
    assert "3 differ\n" in said
    assert f"jpeg:quality=20, samples:000: {metric}{', face' if face else ''} " in said
    assert "recorded nan" in said
    if not face and metric in ("1-SSIM", "PSNR"):  # the metric that ranks, and one that is never n/a
        assert f"have no {metric}, which its definition does not explain" in said


def test_a_score_blanked_among_the_first_pictures_is_found(measured: Run, verify: Verify) -> None:
    changed = with_manifest(with_value(measured, "jpeg:quality=20", 1, "PSNR", np.nan))
    changed.manifest["metrics"]["PSNR"]["definition"] += " (the first 2 pictures only)"
    code, said = verify(changed)
    assert code == 1
    assert "have no PSNR, which its definition does not explain, first jpeg:quality=20, samples:001" in said
    assert "jpeg:quality=20, samples:001: PSNR " in said


def test_scores_over_faces_of_a_set_without_masks_are_told(measured: Run, verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), np.full((64, 64, 3), 90 * index, np.uint8))
    run = run_of("jpeg:quality=20", f"folder:{tmp_path / 'faces'}", 2)
    assert set(run.records["mask"]) == {"none"}
    forged = replace(run, records=pd.concat([run.records, run.records.assign(mask="face")], ignore_index=True))
    code, said = verify(forged, "--data", f"folder:{tmp_path / 'faces'}")
    assert code == 1
    assert "recorded over the face, but the image set has no face masks" in said


def test_another_data_set_is_refused_with_what_differs(measured: Run, verify: Verify, tmp_path: Path) -> None:
    code, said = verify(measured, "--data", f"folder:{tmp_path / 'faces'}")
    assert code == 1
    assert "the run was scored on samples, not on folder: give --data samples:PATH" in said
    image_set = measured.manifest["image_set"]
    code, said = verify(with_manifest(measured, image_set={**image_set, "digest": DIGEST}))
    assert code == 1
    assert "pixels or face masks differ" in said
    assert f"the run's {DIGEST[:12]}" in said


def test_a_folder_with_other_pictures_is_refused_with_the_first_name_that_differs(
    measured: Run, verify: Verify, tmp_path: Path
) -> None:
    image_set = {**measured.manifest["image_set"], "name": "folder", "split": "all"}
    (tmp_path / "faces").mkdir()
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), np.zeros((64, 64, 3), np.uint8))
    code, said = verify(with_manifest(measured, image_set=image_set), "--data", str(tmp_path / "faces"))
    assert code == 1
    assert "picture 0 is folder:0" in said
    assert "in the run samples:000" in said
    (tmp_path / "faces" / "0.png").unlink()
    code, said = verify(with_manifest(measured, image_set=image_set), "--data", str(tmp_path / "faces"))
    assert "it has 5 pictures, the run 6" in said


def renamed_codec(run: Run) -> Run:
    """The run, as if jpeg came from a plugin that is not here."""
    changed = with_manifest(run)
    for entry in changed.manifest["points"].values():
        if entry["codec"] == "jpeg":
            entry.update(codec="fancy", origin="facebench-fancy 1.2")
    return replace(changed, records=changed.records.assign(codec=changed.records.codec.replace("jpeg", "fancy")))


def test_a_codec_that_is_not_installed_is_skipped_with_its_plugin(measured: Run, verify: Verify) -> None:
    code, said = verify(renamed_codec(measured))
    assert code == 0, said
    assert said.rstrip().endswith(
        "verified: nothing differs in what could be measured; the line above says what was skipped"
    )
    assert "fancy is not installed here, the run had it from facebench-fancy 1.2: skipped" in said
    assert f"{2 * COUNT} rows, 0 differ" in said


def test_a_run_of_which_nothing_is_installed_is_not_verified(measured: Run, verify: Verify) -> None:
    changed = renamed_codec(measured)
    points = {name: entry for name, entry in changed.manifest["points"].items() if entry["codec"] == "fancy"}
    changed = with_manifest(replace(changed, records=changed.records.query("codec == 'fancy'")), points=points)
    code, said = verify(changed)
    assert code == 1
    assert "no row could be measured again: nothing is verified" in said


def test_a_dirty_checkout_is_named(measured: Run, verify: Verify) -> None:
    code, said = verify(with_manifest(measured, git={"commit": "c0ffee" * 6, "dirty": True}), "--lint")
    assert code == 1
    assert "uncommitted changes to commit c0ffeec0ffee" in said
    assert "measured again  not asked for (--lint)" in said


def test_a_damaged_file_is_one_line(measured: Run, verify: Verify, tmp_path: Path) -> None:
    folder = written(measured, tmp_path / "run")
    file = folder / "records.parquet"
    file.write_bytes(file.read_bytes()[:500])
    code, said = verify(folder)
    assert code == 1
    assert said.count("\n") == 1
    assert "records.parquet is damaged" in said


def without(place: str) -> Callable[[dict[str, Any]], None]:
    *inner, last = place.split("/")
    return lambda manifest: functools.reduce(dict.__getitem__, inner, manifest).pop(last)


def being(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *inner, last = place.split("/")
    return lambda manifest: functools.reduce(dict.__getitem__, inner, manifest).update({last: value})


@pytest.mark.parametrize(
    ("damage", "said_of_it"),
    [
        (without("points"), "it has no points"),
        (without("image_set/digest"), "image_set has no digest"),
        (without("image_set/split"), "image_set has no split"),
        (without("image_set/description"), "image_set has no description"),
        (without("image_set/preprocessing/size"), "preprocessing of image_set has no size"),
        (without("points/jpeg:quality=20/codec"), "jpeg:quality=20 of points has no codec"),
        (without("points/jpeg:quality=20/curve"), "jpeg:quality=20 of points has no curve"),
        (without("points/jpeg:quality=20/version"), "jpeg:quality=20 of points has no version"),
        (without("metrics/L1/version"), "L1 of metrics has no version"),
        (being("image_set", []), "image_set is a list, not an object"),
        (being("image_set/pictures", "x"), "pictures of image_set is 'x', not a whole number"),
        (being("image_set/preprocessing/size", True), "size of preprocessing of image_set is True, not a whole number"),
        (being("points", []), "points is a list, not an object"),
        (being("points/jpeg:quality=20", None), "jpeg:quality=20 of points is null, not an object"),
        (being("points/jpeg:quality=20/settings", [1]), "settings of jpeg:quality=20 of points is a list"),
        (being("points/jpeg:quality=20/weights_bytes", "x"), "weights_bytes of jpeg:quality=20 of points is 'x'"),
        (being("points/jpeg:quality=20/overlap", {"pictures": "x"}), "pictures of overlap of jpeg:quality=20"),
        (being("machine", "x"), "machine is 'x', not an object"),
        (being("git", "x"), "git is 'x', not an object"),
    ],
)
@pytest.mark.parametrize(
    "command", [("verify", "--lint"), ("verify", "--sample", "1"), ("report", "--out", "page.html")]
)
def test_a_damaged_manifest_is_one_line_that_names_the_entry(
    verify: Verify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    damage: Callable[[dict[str, Any]], None],
    said_of_it: str,
) -> None:
    folder = tmp_path / "run"
    write_run(folder, make_run([Point("jpeg:quality=20", [0.1], [500])]), "")
    manifest = json.loads((folder / "manifest.json").read_text())
    damage(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["facebench", command[0], str(folder), *command[1:], "--quiet"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.count("\n") == 1
    assert f"manifest.json is damaged ({said_of_it}" in said
    assert said.endswith("; run again\n")


def complete() -> Run:
    """A run built by hand that lacks nothing."""
    points = [
        Point("a:q=1", [0.1, 0.2, 0.3], [10, 20, 30], face=[0.1, 0.2, 0.3]),
        Point(
            "a:q=2",
            [0.1, 0.2, 0.3],
            [10, 20, 30],
            face=[0.1, 0.2, 0.3],
            about={"weights_bytes": 5, "weights_digest": DIGEST},
        ),
    ]
    return make_run(points, manifest={"git": {"commit": "c0ffee" * 6, "dirty": False}})


def found(run: Run) -> list[str]:
    return lint(run, leaderboard_markdown(run))


def test_a_complete_run_has_nothing_to_find_whatever_its_folder_is_called() -> None:
    run = complete()
    assert found(run) == []
    assert lint(replace(run, name="elsewhere"), leaderboard_markdown(run)) == []
    assert lint(run, None) == ["no leaderboard.md"]
    assert lint(run, leaderboard_markdown(run, view="paper")) == []


def changed_records(change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> list[str]:
    run = complete()
    records = run.records.copy()
    made = change(records)
    return found(replace(run, records=records if made is None else made))


def test_records_must_be_complete_and_sound() -> None:
    def put(row: int, column: str, value: object) -> Callable[[pd.DataFrame], None]:
        return lambda records: records.__setitem__(column, records[column].where(records.index != row, value))

    assert changed_records(lambda r: r.drop(index=[4])) == [
        "records: 1 rows are missing, at 1 operating points, first 1 of a:q=1 (mask face)"
    ]
    assert changed_records(lambda r: pd.concat([r, r.iloc[[1]]], ignore_index=True)) == [
        "records: 1 row, which are there already, first a:q=1, set:1"
    ]
    assert any("first a:q=1, set:0" in line for line in changed_records(put(0, "1-SSIM", np.nan)))
    assert any("infinite L1, first a:q=1, set:2 (face)" in line for line in changed_records(put(5, "L1", np.inf)))
    assert any("claim fewer bits" in line for line in changed_records(put(0, "bits", 79)))
    assert any("an empty payload" in line for line in changed_records(put(0, "payload_bytes", 0)))
    assert any("several names" in line for line in changed_records(put(0, "picture", "set:9")))
    assert any("beyond the set's 3" in line for line in changed_records(put(0, "position", 3)))
    assert any("not defined in the manifest" in line for line in changed_records(lambda r: r.assign(Beauty=1.0)))


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ({"weights_bytes": 7}, "a:q=1: the manifest has no weights digest"),
        ({"version": "", "settings": None}, "a:q=1: the manifest has no version, settings"),
        (
            {"overlap": {"pictures": 2, "identities": 1}},
            "a: trained on 2 of the scored pictures and 1 of their people",
        ),
    ],
)
def test_operating_points_must_be_described(entries: dict[str, Any], line: str) -> None:
    assert line in lint(with_point(complete(), "a:q=1", **entries), None)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ({"problems": ["a: encode failed"]}, "problem met in the run: a: encode failed"),
        ({"machine": {"cpu": "Z80"}}, "manifest: the machine lacks cores, os, python, packages"),
        ({"metrics": {"1-SSIM": {"version": 1}}}, "metric 1-SSIM: the manifest has no version or no definition"),
        ({"facebench": ""}, "manifest: no version of facebench"),
    ],
)
def test_the_manifest_must_be_complete(entries: dict[str, Any], line: str) -> None:
    assert line in lint(with_manifest(complete(), **entries), None)


def test_costs_must_be_those_of_the_run() -> None:
    cost = {"points": {"a:q=1": {"version": "1"}, "a:q=2": {"version": "0"}, "b": {"version": "1"}}}
    assert lint(replace(complete(), cost=cost), None) == [
        "cost.json: a:q=2 is version 0 there, 1 in the run",
        "cost.json: the run has no b; run 'facebench cost' again",
        "no leaderboard.md",
    ]


def test_published_results_are_complete() -> None:
    """Whatever lies in results/ could be published again today."""
    results = Path(__file__).parents[1] / "results"
    for folder in sorted(path.parent for path in results.glob("*/manifest.json")):
        assert lint(read_run(folder), (folder / "leaderboard.md").read_text()) == [], folder.name


def test_conformance_is_checked_on_request(measured: Run, verify: Verify) -> None:
    kept = [name for name in measured.manifest["points"] if name.startswith("jpeg:quality=60")]
    points = {name: measured.manifest["points"][name] for name in kept}
    run = with_manifest(replace(measured, records=measured.records[measured.records.point.isin(kept)]), points=points)
    code, said = verify(run, "--lint", "--conformance")
    assert code == 0, said
    assert "jpeg:quality=60 conforms: 0 failed" in said
    assert "conformance     yes" in said


def test_a_forged_definition_excuses_nothing(measured: Run, verify: Verify) -> None:
    changed = with_manifest(with_value(measured, "jpeg:quality=20", 0, "L1", 0.5))
    changed.manifest["metrics"]["L1"]["definition"] += " (the first 0 pictures only)"
    code, said = verify(changed)
    assert code == 1
    assert "have L1 beyond the first 0 pictures" in said
    changed = with_manifest(measured)
    changed.manifest["metrics"]["L1"]["definition"] = "whatever, n/a"
    code, said = verify(changed)
    assert code == 1
    assert "L1 has another definition in the run than here" in said
