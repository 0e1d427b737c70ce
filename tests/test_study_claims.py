"""The verdicts of ``facebench study`` on what the paper claims, over constructed runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from constructed_run import Point, make_run

from facebench.operating_point import label, parse_points
from facebench.plugins import Registry, load_registry
from facebench.study import masked_training
from facebench.study.claims import judged_claims
from facebench.study.evidence import Evidence, Identity, Measured
from facebench.study.identity import identity_section
from facebench.study.masked_scores import MaskedScores


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


FACES = [f"person {number // 2}" for number in range(24)]
ORDINARY = [0.30 + 0.002 * (number % 5) for number in range(24)]


def constructed(registry: Registry, **scores: list[float] | tuple[list[float], list[float]]) -> Evidence:
    """Return evidence of runs with these 1-SSIM, over pictures and perhaps over faces, of points of the tables."""
    names = {
        "cvae": "cvae:weights=paper:latent=float32",
        "dcgan": "dcgan:weights=paper:latent=float32",
        "flat_cvae": "cvae:latent=float32",
        "flat_dcgan": "dcgan:latent=float32",
        "jpeg": "jpeg:quality=85",
    }
    points = []
    for name, values in scores.items():
        whole, face = values if isinstance(values, tuple) else (values, values)
        (point,) = parse_points(names.get(name) or f"maskvae:weights={name}:latent=float32", registry)
        text = label(registry.codecs[point.codec], point)
        points.append(Point(text, whole, [100] * len(whole), face=face or None, about={"curve": text}))
    run = make_run(points, identities=FACES)
    run.records["1-MS-SSIM"] = run.records["1-SSIM"] / 2
    run.manifest["metrics"]["1-MS-SSIM"] = run.manifest["metrics"]["1-SSIM"]
    return Evidence(Measured(run, registry), Measured(run, registry), None, None, registry)  # type: ignore[arg-type]


def verdict(evidence: Evidence, words: str, trainings: dict[str, dict[str, float]] | None = None) -> str:
    (found,) = [claim for claim in judged_claims(evidence, [], trainings or {}) if words in claim.text]
    return found.verdict


def shifted(by: float) -> list[float]:
    return [value + by for value in ORDINARY]


def mixed() -> list[float]:
    return [value + 0.001 * (-1) ** (number // 2) for number, value in enumerate(ORDINARY)]


@pytest.mark.parametrize(
    ("short", "long", "told"),
    [
        (shifted(-0.1), shifted(-0.1), "confirmed"),
        (shifted(-0.1), shifted(0.1), "in part"),
        (shifted(0.1), mixed(), "refuted"),
    ],
)
def test_superior_is_what_is_better_by_more_than_chance(
    registry: Registry, short: list[float], long: list[float], told: str
) -> None:
    evidence = constructed(registry, cvae=ORDINARY, dcgan=short, flat_cvae=ORDINARY, flat_dcgan=long)
    assert verdict(evidence, "vastly superior") == told
    assert verdict(constructed(registry, cvae=ORDINARY, dcgan=short), "vastly superior") == "could not be tested"


@pytest.mark.parametrize(
    ("jpeg", "told"),
    [
        ((ORDINARY, ORDINARY), "refuted"),
        ((ORDINARY, shifted(0.01)), "in part"),
        ((ORDINARY, [100 * value for value in ORDINARY]), "confirmed"),
        ((ORDINARY, []), "could not be tested"),
    ],
)
def test_masks_skew_what_they_double(registry: Registry, jpeg: tuple[list[float], list[float]], told: str) -> None:
    assert verdict(constructed(registry, jpeg=jpeg), "inherently skews") == told


def ten(masked: list[float], plain: list[float]) -> dict[str, list[float]]:
    return {f"h{number}": masked if number % 2 else plain for number in range(1, 11)}


@pytest.mark.parametrize(
    ("masked", "told", "toledo"),
    [(shifted(-0.1), "confirmed", "refuted"), (shifted(0.1), "refuted", "refuted"), (mixed(), "refuted", "refuted")],
)
def test_masks_help_where_each_pair_is_better(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, masked: list[float], told: str, toledo: str
) -> None:
    monkeypatch.setattr(masked_training, "PAIRS", masked_training.PAIRS[:5])
    evidence = constructed(registry, cvae=shifted(0.2), **ten(masked, ORDINARY))
    assert verdict(evidence, "Masks in training improve") == told
    assert verdict(evidence, "significantly better than Toledo") == toledo
    better = constructed(registry, cvae=shifted(-0.2), **ten(masked, ORDINARY))
    assert verdict(better, "significantly better than Toledo") == "confirmed"
    here_alone = constructed(registry, cvae=shifted(0.05), **ten(shifted(0.2), shifted(0.2)))
    assert verdict(here_alone, "significantly better than Toledo") == "in part"
    missing = constructed(registry, cvae=ORDINARY, h1=masked, h2=ORDINARY)
    assert verdict(missing, "Masks in training improve") == "could not be tested"
    assert verdict(missing, "significantly better than Toledo") == "could not be tested"


@pytest.mark.parametrize(
    ("hats", "bangs", "told"),
    [(0.02, 0.02, "confirmed"), (0.02, 0.0, "in part"), (-0.02, 0.0, "refuted"), (None, 0.02, "could not be tested")],
)
def test_what_covers_a_face_is_told_by_the_sets_labels(
    registry: Registry, hats: float | None, bangs: float, told: str
) -> None:
    people = np.arange(24) // 2
    labels = {"Wearing_Hat": people % 3 == 0, "Bangs": people % 4 < 2}
    errors = np.array(mixed()) + (hats or 0) * labels["Wearing_Hat"] + bangs * labels["Bangs"]
    labels = {name: values for name, values in labels.items() if hats is not None or name == "Bangs"}
    images = SimpleNamespace(attributes=labels, identities=tuple(FACES))
    evidence = replace(constructed(registry, cvae=ORDINARY), images=images)  # type: ignore[arg-type]
    scores = MaskedScores("CVAE", "cvae", {"face pixels alone (ours)": {"L2": errors}}, 0.5)
    (found,) = [claim for claim in judged_claims(evidence, [scores], {}) if claim.text.startswith("Hands")]
    assert found.verdict == told
    if hats is not None:
        covered = labels["Wearing_Hat"]
        means = [f"{errors[rows].mean():.4f}" for rows in (covered, ~covered)]
        assert f"{means[0]} with a hat (8 faces), {means[1]} without" in found.figure


def test_the_short_trainings_decide_on_the_adversary(registry: Registry) -> None:
    evidence = constructed(registry, cvae=ORDINARY)
    flat = {"accuracy": 0.52, "valid": 0.06}
    collapsed = {"discriminator": flat, "discriminator-unweighted": {"accuracy": 0.9, "valid": 0.2}}
    assert verdict(evidence, "only tricks the discriminator", collapsed) == "confirmed"
    level = {"discriminator": flat, "discriminator-unweighted": {"accuracy": 0.9, "valid": 0.061}}
    assert verdict(evidence, "only tricks the discriminator", level) == "refuted"
    assert verdict(evidence, "does probably no harm", level) == "confirmed"
    assert verdict(evidence, "does probably no harm", {"discriminator": flat}) == "could not be tested"
    better = {"discriminator": flat, "discriminator-hinge": {"accuracy": 0.9, "valid": 0.05}}
    assert verdict(evidence, "does probably no harm", better) == "refuted"
    assert verdict(evidence, "does probably no harm", better | collapsed) == "in part"
    helped = {"discriminator": flat, "discriminator-loss255": {"accuracy": 0.9, "valid": 0.04}}
    assert verdict(evidence, "[0, 255] would help", helped) == "in part"
    assert verdict(evidence, "only tricks the discriminator") == "could not be tested"


def test_identity_is_told_by_budget(registry: Registry) -> None:
    errors = [1.0] * 6 + [0.0] * 18
    run = make_run(
        [Point("cvae@64B", errors, [60] * 24, about={"curve": "cvae@budget", "budget": 64})], identities=FACES
    )
    run.records["ID-error"] = run.records["ID-miss"] = run.records["1-SSIM"]
    for name in ("ID-error", "ID-miss"):
        run.manifest["metrics"][name] = run.manifest["metrics"]["1-SSIM"]
    floats = [
        label(registry.codecs[point.codec], point)
        for name in ("cvae", "dcgan")
        for point in parse_points(f"{name}:weights=paper:latent=float32", registry)
    ]
    measured = [
        Point("jpeg:quality=85", [0.0] * 24, [900] * 24),
        *(Point(name, errors, [2048] * 24) for name in floats),
    ]
    points = make_run(measured, identities=FACES)
    points.records["ID-error"] = points.records["ID-miss"] = points.records["1-SSIM"]
    points.manifest["metrics"] = run.manifest["metrics"]
    identity = Identity(Measured(run, registry), Measured(points, registry))
    lines = [line for line in identity_section(identity).splitlines() if line.startswith(("| cvae", "| jpeg"))]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    cvae, jpeg = (next(cells for cells in found if cells[0] == name) for name in ("cvae", "jpeg:quality=85"))
    assert cvae[1] == "60.0" and cvae[2].startswith("0.7500 [") and cvae[3] == "0.7500"
    assert jpeg[:2] == ["jpeg:quality=85", "900.0"] and jpeg[2].startswith("1.0000 [")
    evidence = replace(constructed(registry, cvae=ORDINARY), identity=identity)
    assert verdict(evidence, "leaves face recognition alone") == "confirmed"
    assert verdict(evidence, "keep who it is") == "refuted"
    (claim,) = [claim for claim in judged_claims(evidence, [], {}) if "leaves face recognition" in claim.text]
    assert "100% in 900.0 bytes" in claim.figure
