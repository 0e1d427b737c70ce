"""``facebench study``: its page against the records it is made from and against independent scores."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from facebench.cli import cli
from facebench.cli.options import prepare_with_progress
from facebench.data.choose import DataOptions
from facebench.errors import FacebenchError, ResultsError
from facebench.operating_point import parse_points
from facebench.plugins import Registry, load_registry
from facebench.study import facial_image_reconstruction as study
from facebench.study import masked_training
from facebench.study.discriminator import discriminator_section, read_cards
from facebench.study.masked_scores import masked_scores
from facebench.study.papers import TABLE_1, TABLE_2

#: The study in small: of its systems some, one of which nobody has weights for.
SMALL = {
    "systems": (
        (
            *("jpeg:headerless=true", "eigenfaces", "cvae", "gmmvae", "cvae:weights=paper"),
            "dcgan:weights=flat/discriminator-slow",
        ),
        ("--sweep",),
    ),
    "as-published": (
        (
            "cvae:weights=paper:latent=float32",
            "dcgan:weights=paper:latent=float32",
            "jpeg:quality=85",
            "cvae:latent=float32",
            "dcgan:latent=float32",
            "dcgan:weights=discriminator-slow:latent=float32",
        ),
        (),
    ),
}
PAIR = masked_training.Pair("l1", "cvae", "dcgan")
TWINS = masked_training.Pair("l1 twins", "cvae", "gmmvae")
UNTRAINED = masked_training.Pair("nothing", "dcgan:weights=discriminator-slow", "dcgan")


def small_steps() -> tuple[study.Step, ...]:
    return tuple(
        replace(step, codecs=SMALL[step.name][0], options=SMALL[step.name][1])
        for step in study.STEPS
        if step.name in SMALL
    )


def run(out: Path, *options: str) -> int:
    """Run the study's command; raises what ``facebench`` makes an exit status of."""
    arguments = ["study", "facial-image-reconstruction", "--data", "samples", "--limit", "12", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["facebench", *arguments, *options])
        return cli.main([*arguments, *options], standalone_mode=False) or 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "STEPS", small_steps())
        sheet = ["show", "sample:3", "--codecs", "cvae", "--bytes", "64", "--out"]
        patch.setattr(study, "sheet_arguments", lambda into: [*sheet, str(into / "reconstructions.png")])
        patch.setattr(masked_training, "PAIRS", (PAIR, TWINS, UNTRAINED))
        assert run(out, "--jobs", "2") == 0
        page = (out / "README.md").read_text()
        assert run(out, "--jobs", "2") == 0
        assert (out / "README.md").read_text() == page
    return out


def cells(folder: Path, first: str) -> list[str]:
    """Return the cells of the first line of the page's tables that begins with ``first``."""
    lines = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return next(row for row in rows if row[0] == first)


def records(folder: Path, point: str, mask: str) -> pd.DataFrame:
    table = pd.read_parquet(folder / "as-published" / "records.parquet")
    return table[(table["point"].astype(str) == point) & (table["mask"] == mask)]


def test_table_1_stands_beside_the_means_of_the_records(folder: Path) -> None:
    of_cvae = "cvae:step=3:latent=float32:weights=paper"
    known = set(pd.read_parquet(folder / "as-published" / "records.parquet")["point"].astype(str))
    (label,) = [name for name in known if name.startswith("cvae") and "weights=paper" in name]
    assert set(of_cvae.split(":")) >= set(label.split(":"))
    for row, mask in ((TABLE_1[0], "none"), (TABLE_1[1], "face")):
        found = records(folder, label, mask)
        wanted = [row.ssim, found["1-SSIM"].mean(), row.ms_ssim, found["1-MS-SSIM"].mean()]
        wanted += [row.l1, 10 * found["L1"].mean(), row.l2, 100 * found["L2"].mean()]
        assert cells(folder, row.name)[1] == "2,048"
        assert [float(cell) for cell in cells(folder, row.name)[2:10]] == pytest.approx(wanted, abs=6e-4)


def test_a_pair_is_compared_over_the_same_faces(folder: Path) -> None:
    page = cells(folder, "l1¹")
    known = pd.read_parquet(folder / "as-published" / "records.parquet")
    faces = known[known["mask"] == "face"].pivot_table(index="picture", columns="point", values="L1", observed=True)
    plain = {name.split(":")[0]: name for name in faces.columns if "paper" not in name and "float32" in name}
    wanted = (faces[plain["cvae"]] - faces[plain["dcgan"]]).mean()
    change, low, high = (float(text) for text in re.findall(r"[-+][\d.]+", page[3]))
    assert change == pytest.approx(wanted, rel=0.01)
    assert low < change < high
    text = (folder / "README.md").read_text()
    assert re.search(r"^¹ these two differ in .*loss_weight.*no evidence on masks alone", text, re.MULTILINE)


def test_a_pair_is_compared_at_the_ends_of_the_bytes_that_both_reach(folder: Path) -> None:
    found = re.findall(r"([\d.]+) / ([\d.]+) in (\d+), (?:beats|loses|level)", cells(folder, "l1 twins²")[5])
    table = pd.read_parquet(folder / "systems" / "records.parquet")
    faces = table[table["mask"] == "face"]
    ends = []
    for start in ("cvae:step", "gmmvae:"):
        points = faces[
            faces["point"].astype(str).str.startswith(start) & ~faces["point"].astype(str).str.contains("paper")
        ]
        means = (
            points.groupby(points["point"].astype(str))[["payload_bytes", "1-SSIM"]].mean().sort_values("payload_bytes")
        )
        ends.append(means)
    assert int(found[0][2]) == math.ceil(max(means["payload_bytes"].iloc[0] for means in ends))
    assert int(found[1][2]) == math.floor(min(means["payload_bytes"].iloc[-1] for means in ends))
    for values in found:
        for value, means in zip(values[:2], ends, strict=True):
            assert means["1-SSIM"].min() - 1e-4 <= float(value) <= means["1-SSIM"].max() + 1e-4


def test_what_has_no_weights_is_told_and_not_judged(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert cells(folder, "nothing")[1:] == ["–"] * 6
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    told = {row[0]: row[1] for row in rows if len(row) == 3}
    assert told["The CVAE is significantly better than Toledo & Antonelo's models in all shared metrics"] == (
        "**could not be tested**"
    )
    assert told["A picture's size falls to 512 data points"] == "**in part**"
    assert told["It compresses more than Toledo & Antonelo's"] == "**refuted**"


def test_the_page_names_its_pictures_commands_and_trainings(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert "12 SYNTHETIC faces" in page
    assert (
        "facebench run --codecs jpeg:headerless=true,eigenfaces,cvae,gmmvae,cvae:weights=paper,dcgan:weights=flat"
        in page
    )
    weights = Path(study.__file__).parents[2] / "codecs/facebench_codecs/weights"
    short, long = (json.loads((weights / f"cvae-{name}-64.json").read_text()) for name in ("paper", "flat"))
    assert cells(folder, "cvae:weights=paper")[3:5] == [f"{short['steps']:,}", "18,200"]
    fell = 1 - min(long["curve"]["valid"]) / min(short["curve"]["valid"])
    steps = f"with {long['steps']:,} instead of {short['steps']:,} steps"
    assert f"{steps} the best validation loss of cvae fell by {fell:.0%}" in page
    left = re.search(r"neighbouring pixels differ by: CVAE (\d+)%, DCGAN \d+%, JPEG (\d+)%", page)
    assert left is not None and int(left[1]) < 90 < int(left[2]) < 110
    assert (folder / "rate-distortion.svg").read_text() != (folder / "rate-distortion-face.svg").read_text()
    assert "![contact sheet](reconstructions.png)" in page and (folder / "reconstructions.png").is_file()
    for name in re.findall(r"\]\((\S+\.svg)\)", page):
        drawing = folder / name
        if name != "discriminator.svg":
            assert "<image" not in drawing.read_text()  # no picture, so no face
            assert drawing.with_suffix(".png").is_file()


def test_bytes_at_the_papers_quality_lie_between_the_curves_points(folder: Path) -> None:
    size = float(cells(folder, "eigenfaces")[1].split()[0])
    table = pd.read_parquet(folder / "systems" / "records.parquet")
    curve = table[(table["mask"] == "none") & table["point"].astype(str).str.startswith("eigenfaces")]
    means = curve.groupby(curve["point"].astype(str))[["payload_bytes", "1-SSIM"]].mean().sort_values("payload_bytes")
    worse, better = means[means["1-SSIM"] > 0.307].iloc[-1], means[means["1-SSIM"] <= 0.307].iloc[0]
    assert worse["payload_bytes"] < size < better["payload_bytes"]
    sizes = [float(cells(folder, name)[1].split()[0]) for name in ("gmmvae", "cvae")]
    told = re.search(
        r"cvae's at this quality: (\S+) % .* (\S+) % \[\S+ \S+\] \(BD-rate\)", (folder / "README.md").read_text()
    )
    assert told is not None and float(told[1]) == pytest.approx(100 * (sizes[0] / sizes[1] - 1), abs=0.5)


def test_a_step_that_fails_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = small_steps()
    monkeypatch.setattr(study, "STEPS", (replace(steps[0], options=("--budget", "0")), *steps[1:]))
    assert run(tmp_path) != 0
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"codecs": ("cvea",)}, "no codec 'cvea'; did you mean 'cvae'"),
        ({"options": ("--metrics", "default,vfi")}, "no metric 'vfi'.*step 'as-published' takes facebench-perceptual"),
    ],
)
def test_a_step_that_cannot_be_run_is_named_before_any_work(
    change: dict[str, tuple[str, ...]], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = small_steps()
    monkeypatch.setattr(study, "STEPS", (steps[0], replace(steps[1], **change)))
    with pytest.raises(FacebenchError, match=told):
        run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_steps_of_the_study_name_all_systems(registry: Registry) -> None:
    systems, as_published = (
        [point for text in step.codecs for point in parse_points(text, registry)] for step in study.STEPS[:2]
    )
    wanted = "jpeg jpeg2000 png webp eigenfaces cvae cvae-mask dcgan dcgan-mask maskvae dfcvae gmmvae nvae vqvae"
    assert {point.codec for point in systems} >= set(wanted.split())
    tables = [point for row in (*TABLE_1, *TABLE_2) for point in parse_points(row.point, registry)]
    assert set(tables) <= set(as_published)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def masked_pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    rng = np.random.default_rng(5)
    originals = np.repeat(np.repeat(rng.integers(0, 256, (3, 8, 8, 3)), 4, 1), 4, 2).astype(np.uint8)
    decoded = np.clip(originals + rng.normal(0, 20, originals.shape), 0, 255).astype(np.uint8)
    masks = np.zeros((3, 32, 32), bool)
    masks[:, 6:26, 8:24] = True
    return originals, decoded, masks


def test_ways_of_masking_are_scikit_images_and_numpys() -> None:
    originals, decoded, masks = masked_pictures()
    found = masked_scores(originals, decoded, masks)
    visible = masks[..., None]
    blacked = [np.where(visible, pictures, 0).astype(np.uint8) for pictures in (originals, decoded)]
    wanted = [
        1
        - structural_similarity(
            one, other, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for one, other in zip(*blacked, strict=True)
    ]
    both = found["both blacked out, all pixels count"]
    assert both["1-SSIM"] == pytest.approx(np.array(wanted), abs=1e-5)
    squares = ((blacked[0] - blacked[1].astype(float)) / 255) ** 2
    assert both["L2"] == pytest.approx(squares.mean((1, 2, 3)))
    per_face = found["both blacked out; MSE per face pixel"]["L2"]
    assert per_face == pytest.approx(found["face pixels alone (ours)"]["L2"])
    alone = np.abs(blacked[0] - decoded.astype(float)) / 255
    assert found["the original alone blacked out"]["L1"] == pytest.approx(alone.mean((1, 2, 3)))
    rest = np.abs(originals - decoded.astype(float))[np.broadcast_to(~visible, originals.shape)].reshape(3, -1) / 255
    assert found["the rest alone"]["L1"] == pytest.approx(rest.mean(1))


def card(**recipe: object) -> dict[str, object]:
    curve = {
        "steps": [1, 2, 3],
        "discriminator": [0.9, 0.6, 0.3],
        "accuracy": [0.5, 0.7, 0.9],
        "valid": [0.3, 0.2, 0.1],
    }
    fields = {"loss": "l1", "label_smoothing": 0.0, **recipe}
    return {"recipe": fields, "curve": curve, "steps": 3, "seed": 0, "command": "facebench train dcgan"}


def test_discriminators_are_told_by_what_differs(tmp_path: Path) -> None:
    (tmp_path / "discriminator.json").write_text(json.dumps(card()))
    (tmp_path / "discriminator-smoothed.json").write_text(json.dumps(card(label_smoothing=0.1)))
    lines = discriminator_section(read_cards(tmp_path)).splitlines()
    smoothed = next(line for line in lines if "label_smoothing 0.1" in line)
    assert [cell.strip() for cell in smoothed.strip("|").split("|")] == [
        *("smoothed labels", "`discriminator-smoothed`", "label_smoothing 0.1"),
        *("0.600", "70.0 %", "0.2000"),
    ]


@pytest.mark.parametrize(("name", "text"), [("discriminator.json", "{"), ("discriminator-hinge.json", "")])
def test_a_damaged_card_of_a_discriminator_is_one_line(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text or json.dumps(card()))
    with pytest.raises(ResultsError, match=r"no card of facebench train|lacks discriminator"):
        read_cards(tmp_path)


@pytest.mark.slow  # decodes 1,565 faces by each codec of Table 1
def test_the_published_page_is_what_its_runs_give(celeba_dir: Path, registry: Registry, tmp_path: Path) -> None:
    published = Path(study.__file__).parents[2] / "results" / "facial-image-reconstruction"
    page = (published / "README.md").read_text()
    commands = {name: re.search(rf"^    (facebench {name} .*)$", page, re.MULTILINE) for name in ("study", "show")}
    assert commands["study"] is not None and commands["show"] is not None
    folder = tmp_path / "study"
    shutil.copytree(published, folder)
    images = prepare_with_progress(DataOptions(str(celeba_dir), None, None, study.SIZE), registry, quiet=True)
    study.write(folder, images, registry, commands["study"][1], commands["show"][1])
    assert (folder / "README.md").read_text() == page
