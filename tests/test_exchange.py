"""Runs as other tools read them, and other tools' curves as we read them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from constructed_run import Point, baseline, make_run

from facebench.cli import cli
from facebench.errors import ResultsError
from facebench.exchange.beside import beside_markdown
from facebench.exchange.codec_compare import batches_export, field_name
from facebench.exchange.compressai import read_results, results_export
from facebench.exchange.documents import write_export
from facebench.store import Run, write_run

BPP = [0.125, 0.25, 0.5]
PUBLISHED = {
    "name": "bmshj2018-hyperprior-mse",
    "description": "Inference (ans)",
    "results": {"bpp": BPP, "psnr": [27.5, 29.0, 31.0], "ms-ssim": [0.91, 0.94, 0.96], "encoding_time": [0.05] * 3},
}


def a_run(**more: Any) -> Run:
    """Two codecs of 64x64 pictures with faces; one point of jpeg has a failed picture, png is lossless."""
    run = make_run(
        [
            Point("jpeg:quality=5", [0.3, 0.5], [64, 128], face=[0.2, 0.3], about=_jpeg(5)),
            Point("jpeg:quality=50", [0.1, 0.3], [256, 512], face=[0.1, 0.2], about=_jpeg(50), side_bits=8),
            Point("jpeg:quality=90", [0.1, 0.1], [900, 900], [0.1, 0.1], failed={1: "decode failed"}, about=_jpeg(90)),
            Point("png", [0.0, 0.0], [8000, 8000], face=[0.0, 0.0]),
            baseline("eigenfaces:step=1", [0.2, 0.2], [64, 64], face=[0.2, 0.2]),
        ],
        **more,
    )
    run.records.loc[run.records["point"] == "png", "PSNR"] = math.inf
    return run


def _jpeg(quality: int) -> dict[str, Any]:
    return {"rate_setting": "quality", "settings": {"quality": quality, "headerless": False}}


def plotted(file: Path, metric: str) -> tuple[list[float], list[float]]:
    """What CompressAI's plot (1.2) draws of a results file: x and y, MS-SSIM in dB."""
    results = json.loads(file.read_text())["results"]
    values = np.array(results[f"{metric}-rgb"])
    return results["bpp"], list(-10 * np.log10(1 - values) if metric == "ms-ssim" else values)


def test_compressai_results_are_means_of_the_pictures_sorted_by_bits(tmp_path: Path) -> None:
    export = results_export(a_run())
    assert list(export.documents) == ["jpeg", "png", "eigenfaces"]
    write_export(export, tmp_path)
    bpp, psnr = plotted(tmp_path / "jpeg.json", "psnr")
    assert bpp == [96 * 8 / 4096, (384 * 8 + 8) / 4096]  # side information that the codec declares counts
    np.testing.assert_allclose(psnr, [20.04, 20.02])
    jpeg = export.documents["jpeg"]
    assert set(jpeg["results"]["psnr"]) == set(jpeg["results"]["psnr-rgb"])
    np.testing.assert_allclose(jpeg["results"]["ssim"], [0.6, 0.8])
    np.testing.assert_allclose(jpeg["results"]["encoding_time"], 0.002)
    assert {len(values) for values in jpeg["results"].values()} == {2}
    assert jpeg["name"] == "jpeg" and jpeg["points"] == ["jpeg:quality=5", "jpeg:quality=50"]
    assert "set test, 2 pictures, crop centre-148, 64x64" in jpeg["description"] and jpeg["dataset"]
    assert "one minus SSIM" in jpeg["description"]


def test_ms_ssim_goes_out_with_its_definition(tmp_path: Path) -> None:
    run = a_run()
    about = {"version": 1, "definition": "3 scales at 64", "higher_is_better": False, "unit": ""}
    run.records["1-MS-SSIM"] = run.records["1-SSIM"] / 2
    run = dataclasses.replace(
        run, manifest={**run.manifest, "metrics": {**run.manifest["metrics"], "1-MS-SSIM": about}}
    )
    export = results_export(run)
    write_export(export.of_curve("jpeg"), tmp_path / "one.json")
    np.testing.assert_allclose(plotted(tmp_path / "one.json", "ms-ssim")[1], -10 * np.log10([0.2, 0.1]))
    assert "ms-ssim: 1 - mean 1-MS-SSIM; 1-MS-SSIM: 3 scales at 64" in export.documents["jpeg"]["description"]


def test_failed_points_and_infinite_means_are_left_out_and_named() -> None:
    export = results_export(a_run())
    assert "left out, with failed pictures: jpeg:quality=90" in export.notes
    assert "left out, not finite at every point: PSNR of png" in export.notes
    assert "psnr" not in export.documents["png"]["results"] and export.documents["png"]["results"]["ssim"] == [1.0]


def test_scores_of_the_face_are_a_file_of_their_own() -> None:
    face = results_export(a_run(), mask="face").documents["jpeg"]
    np.testing.assert_allclose(face["results"]["ssim"], [0.75, 0.85])
    assert face["name"] == "jpeg (face)" and "face pixels only" in face["description"]
    with pytest.raises(ResultsError, match="no face masks"):
        results_export(make_run([Point("png", [0.0], [9])]), mask="face")


def as_viewed(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a batch as codec-compare's viewer documents it, field by field; return its rows by field name."""
    assert set(batch) == {"constant_descriptions", "constant_values", "field_descriptions", "field_values"}
    for descriptions in (batch["constant_descriptions"], batch["field_descriptions"]):
        for description in descriptions:
            ((name, text),) = description.items()
            assert isinstance(name, str) and isinstance(text, str)
    assert len(batch["constant_values"]) == len(batch["constant_descriptions"])
    assert all(isinstance(value, str) for value in batch["constant_values"])
    names = [name for description in batch["field_descriptions"] for name in description]
    assert len({name.lower().replace("_", " ") for name in names}) == len(names)
    for row in batch["field_values"]:
        assert len(row) == len(names)
        for value in row:
            assert isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value))
    return [dict(zip(names, row, strict=True)) for row in batch["field_values"]]


def constants(batch: dict[str, Any]) -> dict[str, str]:
    names = [name for description in batch["constant_descriptions"] for name in description]
    return dict(zip(names, batch["constant_values"], strict=True))


def test_a_batch_has_a_row_for_each_picture_of_each_point(tmp_path: Path) -> None:
    export = batches_export(a_run())
    files = write_export(export, tmp_path)
    listed = json.loads((tmp_path / "batches.json").read_text())
    assert listed == [["jpeg.json"], ["png.json"], ["eigenfaces.json"]]
    assert sorted(files) == sorted([*(tmp_path / name for (name,) in listed), tmp_path / "batches.json"])
    rows = as_viewed(json.loads((tmp_path / "jpeg.json").read_text()))
    assert len(rows) == 5  # 3 points x 2 pictures, one failed
    second = rows[3]
    assert (second["original_name"], second["width"], second["height"], second["quality"]) == ("set:1", 64, 64, 50)
    assert second["encoded_size"] == 513 and second["bpp"] == pytest.approx(513 * 8 / 4096)
    assert second["ssim"] == pytest.approx(0.7) and second["ssim_face"] == pytest.approx(0.8)
    assert second["L1"] == pytest.approx(0.03) and second["encoding_time"] == 0.002
    told = constants(export.documents["jpeg"])
    assert (told["name"], told["codec"], told["version"], told["failures"]) == ("jpeg", "jpeg", "1", "1")
    assert told["time"] == "2026-01-02T03:04:05+00:00" and told["settings"] == "headerless=False"
    assert constants(export.documents["eigenfaces"])["weights"] == "4000"


def test_a_time_that_was_not_measured_is_null_and_a_point_that_is_not_described_an_error(tmp_path: Path) -> None:
    run = a_run()
    run.records.loc[run.records["point"] == "jpeg:quality=5", "encode_seconds"] = math.nan
    write_export(batches_export(run), tmp_path)
    batch = json.loads((tmp_path / "jpeg.json").read_text())
    place = [name for description in batch["field_descriptions"] for name in description].index("encoding_time")
    assert [row[place] for row in batch["field_values"]] == [None, None, 0.002, 0.002, 0.002]
    del run.manifest["points"]["png"]
    with pytest.raises(ResultsError, match="does not describe png; run again"):
        batches_export(run)


def test_no_curve_takes_the_place_of_the_index(tmp_path: Path) -> None:
    run = make_run([Point("Batches", [0.1], [9])])
    files = write_export(batches_export(run), tmp_path)
    assert sorted(file.name for file in files) == ["Batches-2.json", "batches.json"]
    assert json.loads((tmp_path / "batches.json").read_text()) == [["Batches-2.json"]]


def test_a_metric_without_a_finite_value_somewhere_is_in_no_batch() -> None:
    export = batches_export(a_run())
    assert "left out, without a finite value for 2 of 9 rows: psnr" in export.notes
    assert "left out, failed: 1 of 6 pictures of jpeg" in export.notes
    for batch in export.documents.values():
        assert "psnr" not in as_viewed(batch)[0]


def test_a_rate_setting_that_the_viewer_takes_for_something_else_is_renamed() -> None:
    about = {"rate_setting": "psnr", "settings": {"psnr": 28}}
    (batch,) = batches_export(make_run([Point("dct:psnr=28", [0.1], [99], about=about)])).documents.values()
    (row,) = as_viewed(batch)
    assert row["setting_psnr"] == 28 and row["psnr"] == pytest.approx(20.01)


def test_metrics_have_the_names_that_the_viewer_knows() -> None:
    ours = ["1-SSIM", "1-MS-SSIM", "PSNR", "SSIMULACRA 2", "LPIPS", "1-VIF", "L2"]
    assert [field_name(name) for name in ours] == ["ssim", "msssim", "psnr", "ssimulacra2", "lpips", "1-VIF", "L2"]


@pytest.mark.parametrize("export", [results_export, batches_export])
def test_points_tuned_to_a_budget_are_left_out_and_named(export: Any) -> None:
    tuned = Point("webp@128B", [0.1], [99], about={"budget": 128, "downscale": False, "curve": "webp@budget"})
    made = export(make_run([Point("png", [0.0], [9]), tuned]))
    assert list(made.documents) == ["png"] and "webp@128B" in made.notes[0]


def test_batches_of_a_run_of_byte_budgets_only_are_refused() -> None:
    tuned = Point("webp@128B", [0.1], [99], about={"budget": 128, "downscale": False, "curve": "webp@budget"})
    with pytest.raises(ResultsError, match="byte budgets only, which lie on no curve; run it with --sweep"):
        batches_export(make_run([tuned]))


def test_file_names_are_safe_and_differ(tmp_path: Path) -> None:
    curves = ["jpeg", "JPEG", "x:weights=../../etc/a b", "x:weights=../../etc/a/b", "::"]
    points = [Point(f"{name}:q=1", [0.1], [9], about={"curve": name}) for name in curves]
    files = write_export(results_export(make_run(points)), tmp_path / "out")
    assert {file.parent for file in files} == {tmp_path / "out"}
    assert len({file.name.lower() for file in files}) == len(curves)


def test_one_file_takes_one_curve_only(tmp_path: Path) -> None:
    export = results_export(a_run())
    with pytest.raises(ResultsError, match="3 curves do not go into one file"):
        write_export(export, tmp_path / "all.json")
    with pytest.raises(ResultsError, match="did you mean 'jpeg'"):
        export.of_curve("jpg")
    broken = results_export(make_run([Point("broken", [0.1], [9], failed={0: "crashed"})]))
    with pytest.raises(ResultsError, match="nothing to export: left out, with failed pictures: broken"):
        write_export(broken, tmp_path)


def write(file: Path, document: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def test_a_published_curve_is_read_in_our_terms(tmp_path: Path) -> None:
    (curve,) = read_results(write(tmp_path / "kodak" / "hyper.json", PUBLISHED))
    assert (curve.name, curve.dataset, curve.bpp) == ("bmshj2018-hyperprior-mse", "kodak", tuple(BPP))
    assert curve.metrics["PSNR"] == (27.5, 29.0, 31.0)
    assert curve.metrics["1-MS-SSIM"] == pytest.approx((0.09, 0.06, 0.04))
    in_bytes = curve.curve("PSNR", 64)
    assert in_bytes is not None and [point.bytes for point in in_bytes.points] == [64, 128, 256]
    assert in_bytes.name == "bmshj2018-hyperprior-mse (kodak; not ranked)"
    assert curve.curve("L1", 64) is None


def test_what_was_scored_is_told_by_the_user_the_file_or_its_folder_or_unknown(tmp_path: Path) -> None:
    file = write(tmp_path / "Kodak" / "a.json", PUBLISHED)
    assert read_results(file)[0].dataset == "Kodak"
    assert read_results(file, "my pictures")[0].dataset == "my pictures"
    assert read_results(write(tmp_path / "a.json", PUBLISHED))[0].dataset == "unknown pictures"
    assert read_results(write(tmp_path / "b.json", {**PUBLISHED, "dataset": "Tecnick"}))[0].dataset == "Tecnick"
    assert [curve.dataset for curve in read_results(tmp_path)] == ["unknown pictures", "Tecnick"]


def test_what_we_export_we_read_again(tmp_path: Path) -> None:
    write_export(results_export(a_run()), tmp_path)
    jpeg = next(curve for curve in read_results(tmp_path) if curve.name == "jpeg")
    assert jpeg.dataset.startswith("set test, 2 pictures")
    assert jpeg.metrics["PSNR"] == pytest.approx((20.04, 20.02)) and jpeg.metrics["1-SSIM"] == pytest.approx((0.4, 0.2))


def results(**changed: Any) -> dict[str, Any]:
    return {"name": "a", "results": {"bpp": BPP, "psnr": [27.5, 29.0, 31.0], **changed}}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deep"),
        ('{"results": {"bpp": [1' + "0" * 5000 + '], "psnr": [1]}}', "Exceeds the limit|not a number of 0 to 1000"),
        (" " * (5 << 20), "it has 5,242,880 bytes"),
        ([], "it holds a list, not an object"),
        ({}, 'no "results" with a list "bpp"'),
        ({"results": [1, 2]}, 'no "results" with a list "bpp"'),
        (results(bpp="many"), '"bpp" is not a list of numbers'),
        (results(bpp=[]), '"bpp" is not a list of numbers'),
        (results(bpp=[0.1, 0, 0.3]), "not above 0"),
        (results(bpp=[0.1, -1, 0.3]), "not a number of 0 to 1000"),
        (results(bpp=[0.1, 0.2, math.nan]), "'nan', not a number"),
        (results(bpp=[0.1, 0.2, math.inf]), "'inf', not a number"),
        (results(bpp=[0.1] * 2000), "2,000 values"),
        (results(psnr=[1, 2]), '"psnr" has 2 values, "bpp" has 3'),
        (results(psnr=[1, 2, None]), "'None', not a number"),
        (results(psnr=[1, 2, True]), "'True', not a number"),
        (results(psnr=[1, 2, [3]]), "not a number"),
        (results(psnr=[1, 2, 1e300]), "not a number of -1000 to 1000"),
        (results(**{"ms-ssim": [12.0, 13.0, 14.0]}), "not a number of -1 to 1"),
        ({"results": {"bpp": BPP, "vmaf": [1, 2, 3]}}, "it has none of ms-ssim"),
    ],
)
def test_a_hostile_file_is_one_clear_line(tmp_path: Path, document: Any, complaint: str) -> None:
    with pytest.raises(ResultsError, match=complaint) as caught:
        read_results(write(tmp_path / "bad.json", document))
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400 and "bad.json" in line


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ResultsError, match="is no CompressAI results file"):
        read_results(tmp_path / "binary.json")
    with pytest.raises(ResultsError, match="cannot read"):
        read_results(tmp_path / "absent.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match=r"has no \.json file"):
        read_results(tmp_path / "empty")


def test_names_from_a_file_are_short_and_printable(tmp_path: Path) -> None:
    nasty = {**PUBLISHED, "name": "a|b\n\x1b[31m\u202e" + "x" * 999}
    (curve,) = read_results(write(tmp_path / "a.json", nasty))
    assert curve.name.startswith("a|b [31mx") and len(curve.name) == 200
    assert read_results(write(tmp_path / "named.json", {**PUBLISHED, "name": 7}))[0].name == "named"


def test_published_curves_stand_beside_a_run_and_say_what_they_are_of(tmp_path: Path) -> None:
    published = read_results(write(tmp_path / "kodak" / "hyper.json", PUBLISHED))
    table = beside_markdown(published, a_run(), "PSNR")
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in table.splitlines()
        if "|" in line
    }
    assert rows["curve"] == ["measured on", *(f"{b} bpp, {n} B" for b, n in _columns())]
    assert rows["bmshj2018-hyperprior-mse"] == ["kodak; not ranked", "–", "27.50", "29.00", "31.00", "–", "–"]
    assert rows["jpeg"][0] == "set test, 64x64" and rows["jpeg"][3] not in ("", "–")
    assert "## 1-MS-SSIM" in beside_markdown(published) and "## 1-MS-SSIM" not in table
    with pytest.raises(ResultsError, match="did you mean 'PSNR'"):
        beside_markdown(published, metric="PSNRR")


def _columns() -> list[tuple[str, str]]:
    return [("0.0625", "32"), ("0.125", "64"), ("0.25", "128"), ("0.5", "256"), ("1", "512"), ("2", "1,024")]


def test_the_commands_write_what_they_say(tmp_path: Path) -> None:
    write_run(tmp_path / "run", a_run(), "")
    file = write(tmp_path / "kodak" / "hyper.json", PUBLISHED)

    def facebench(*arguments: Any) -> str:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    run = tmp_path / "run"
    told = facebench("export", run, "--format", "codec-compare", "--out", tmp_path / "view")
    assert told.split() == [str(tmp_path / "view" / f"{n}.json") for n in ("jpeg", "png", "eigenfaces", "batches")]
    facebench("export", run, "--format", "compressai", "--curve", "jpeg", "--face", "--out", tmp_path / "jpeg.json")
    assert json.loads((tmp_path / "jpeg.json").read_text())["name"] == "jpeg (face)"
    assert "kodak; not ranked" in facebench("import", file, "--beside", run)
