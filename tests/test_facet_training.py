"""Training facet: its loss is the metric's, it resumes to the same file, and tunes are added one by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facebench_codecs import recogniser
from facebench_codecs.facet import training
from facebench_codecs.facet.codec import Facet
from facebench_codecs.facet.network import Shape
from facebench_codecs.facet.recipe import FacetRecipe, named_recipe
from facebench_codecs.facet.train import train_facet
from facebench_codecs.losses import one_minus_ssim
from facebench_codecs.weights import load_weights

from facebench import SettingError, TrainingJob, WeightsError
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.plugins import load_registry
from facebench.testing.pictures import faces

SIDE = 32
SHAPE = Shape(
    side=SIDE,
    components=40,
    mixed=16,
    hidden=8,
    analysis_channels=8,
    analysis_blocks=1,
    synthesis_channels=8,
    synthesis_blocks=2,
    deep_channels=8,
    context=8,
    context_channels=4,
)
FIRST = FacetRecipe(
    tune="ssim",
    start="",
    frozen_analysis=False,
    shape=SHAPE,
    ssim=1.0,
    l1=0.2,
    l2=0.0,
    identity=0.0,
    lambda_high=0.02,
    lambda_low=0.0002,
    rate_weight=0.35,
    steps=9,
    batch_size=8,
    learning_rate=1e-3,
)
RECIPES = {
    "ssim": FIRST,
    "mse": replace(FIRST, tune="mse", start="ssim", ssim=0.0, l1=0.0, l2=25.0),
    "identity": replace(FIRST, tune="identity", start="ssim", frozen_analysis=True, identity=0.5),
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> TrainingJob:
    """A job on 100 face-like pictures of 32 pixels, of ten made-up people."""
    folder = tmp_path_factory.mktemp("faces")
    for index, picture in enumerate(faces((SIDE, SIDE), 100)):
        cv2.imwrite(str(folder / f"{index:03}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    registry = load_registry("")
    options = DataOptions(f"folder:{folder}", size=SIDE, mask="none")
    images = prepare_chosen(choose_source(options, registry), options, registry)
    train, valid = replace(images, identities=tuple(str(index % 10) for index in range(len(images)))).cut(10)
    told = {"image_set": "folder", "split": "all", "data_digest": train.digest}
    return TrainingJob("facet", train, valid, 0, "cpu", "facebench train facet", told)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Small recipes, an evaluation every third step, a recogniser that hardly learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facebench_codecs.facet.train.named_recipe", lambda tune, side: RECIPES[tune])
        patch.setattr(training, "EVALUATE_EVERY", 3)
        patch.setattr(recogniser, "_STEPS", 2)
        yield


@pytest.fixture(scope="module")
def first_tune(job: TrainingJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of an undisturbed run of the first tune."""
    return train_facet(replace(job, out=tmp_path_factory.mktemp("first") / "w.safetensors"))


@dataclass(frozen=True)
class Stopped:
    """A run that its time limit ended at the first evaluation, and what it told: step, steps, was it evaluated."""

    job: TrainingJob
    path: Path
    told: list[tuple[int, int | None, bool]]


@pytest.fixture(scope="module")
def stopped(job: TrainingJob, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    told: list[tuple[int, int | None, bool]] = []

    def progress(step: int, total: int | None, figures: dict[str, float]) -> None:
        told.append((step, total, "valid 1-SSIM" in figures))

    limited = replace(job, out=tmp_path_factory.mktemp("stopped") / "w.safetensors", minutes=1e-6, progress=progress)
    return Stopped(limited, train_facet(limited), told)


def card(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())


def copied(path: Path, folder: Path) -> Path:
    """Copy a weights file, its card and its checkpoint into ``folder``; returns the copy."""
    for name in ("w.safetensors", "w.json", "w-ssim.checkpoint"):
        shutil.copy(path.with_name(name), folder)
    return folder / "w.safetensors"


def test_the_loss_agrees_with_pytorch_msssim() -> None:
    from pytorch_msssim import ssim

    generator = torch.Generator().manual_seed(0)
    for side in (11, 32, 64):
        picture = torch.rand(6, 3, side, side, generator=generator)
        other = (picture + 0.2 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)
        other[0] = picture[0]
        other[1] = 0.5
        wanted = 1 - ssim(other, picture, data_range=1.0, size_average=False)
        assert one_minus_ssim(other, picture).numpy() == pytest.approx(wanted.numpy(), abs=1e-5)


def test_the_loss_has_a_finite_gradient_on_flat_pictures() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    one_minus_ssim(flat, torch.zeros(1, 3, 16, 16)).sum().backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_a_trained_file_is_usable_at_once_and_tells_how_it_was_made(first_tune: Path, job: TrainingJob) -> None:
    images = np.array(job.valid.images)
    sizes, errors = [], []
    for rate in (0, 30, 63):
        codec = Facet((SIDE, SIDE), rate=rate, bytes=0, tune="ssim", weights=str(first_tune))
        payloads = [codec.encode(image) for image in images]
        sizes.append(np.mean([len(payload) for payload in payloads]))
        errors.append(np.square(codec.decode_batch(payloads) / 255.0 - images / 255.0).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
    assert codec.trained_on is not None and codec.trained_on.data_digest == job.train.digest
    told = card(first_tune)["tunes"]["ssim"]
    assert told["recipe"] == asdict(FIRST)
    assert told["steps"] == FIRST.steps
    assert told["curve"]["steps"] == [3, 6, 9]
    assert all(len(row) == len(told["curve_rates"]) for row in told["curve"]["bytes"])


def test_progress_is_told_at_every_step(stopped: Stopped) -> None:
    assert stopped.told == [(1, 9, False), (2, 9, False), (3, 9, True)]


def test_a_stopped_and_resumed_run_gives_the_file_of_an_undisturbed_one(
    first_tune: Path, stopped: Stopped, tmp_path: Path
) -> None:
    path = copied(stopped.path, tmp_path)
    assert card(path)["tunes"]["ssim"]["steps"] == 3
    train_facet(replace(stopped.job, out=path, minutes=None, resume=True))
    resumed = card(path)
    assert resumed["tunes"]["ssim"]["curve"] == card(first_tune)["tunes"]["ssim"]["curve"]
    assert resumed["sha256"] == card(first_tune)["sha256"]


def test_an_added_tune_leaves_the_others_bit_for_bit(first_tune: Path, job: TrainingJob, tmp_path: Path) -> None:
    path = copied(first_tune, tmp_path)
    train_facet(replace(job, out=path, recipe="mse"))
    before, after = (load_weights(p, "facet").tensors for p in (first_tune, path))
    for name, tensor in before.items():
        assert np.array_equal(after[name], tensor), name
    assert {name.partition(".")[0] for name in after} == {"linear", "ssim", "mse"}
    assert not np.array_equal(after["mse.synthesis.gain"], before["ssim.synthesis.gain"])
    assert set(card(path)["tunes"]) == {"ssim", "mse"}
    image = job.valid.images[0]
    for tune in ("ssim", "mse"):
        codec = Facet((SIDE, SIDE), rate=40, bytes=0, tune=tune, weights=str(path))
        assert codec.decode(codec.encode(image)).shape == (SIDE, SIDE, 3)
    untouched = Facet((SIDE, SIDE), rate=40, bytes=0, tune="ssim", weights=str(first_tune))
    again = Facet((SIDE, SIDE), rate=40, bytes=0, tune="ssim", weights=str(path))
    assert untouched.encode(image) == again.encode(image)


def test_a_tune_of_a_frozen_analysis_codes_the_same_symbols(first_tune: Path, job: TrainingJob, tmp_path: Path) -> None:
    path = copied(first_tune, tmp_path)
    train_facet(replace(job, out=path, recipe="identity"))
    tensors = load_weights(path, "facet").tensors
    frozen = [name.removeprefix("ssim.") for name in tensors if name.startswith(("ssim.analysis.", "ssim.log_step"))]
    for name in frozen:
        assert tensors[f"identity.{name}"] == pytest.approx(tensors[f"ssim.{name}"], rel=1e-6, abs=1e-7), name
    assert not np.array_equal(tensors["identity.synthesis.gain"], tensors["ssim.synthesis.gain"])


def test_what_training_cannot_do_is_one_clear_error(first_tune: Path, job: TrainingJob, tmp_path: Path) -> None:
    for change in ({"loss": "l1"}, {"epochs": 3}):
        with pytest.raises(SettingError, match="recipe"):
            train_facet(replace(job, **change))
    with pytest.raises(SettingError, match="train that first"):
        train_facet(replace(job, out=tmp_path / "none.safetensors", recipe="mse"))
    strangers = replace(job, train=replace(job.train, identities=None))  # type: ignore[type-var]
    with pytest.raises(SettingError, match="identities"):
        train_facet(replace(strangers, out=copied(first_tune, tmp_path), recipe="identity"))


def test_a_checkpoint_is_not_overwritten_or_mixed_up(stopped: Stopped, tmp_path: Path) -> None:
    part = replace(stopped.job, out=copied(stopped.path, tmp_path))
    with pytest.raises(SettingError, match="--resume"):
        train_facet(part)
    with pytest.raises(WeightsError, match="another recipe"):
        train_facet(replace(part, seed=5, resume=True))
    (tmp_path / "w-ssim.checkpoint").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="damaged"):
        train_facet(replace(part, resume=True))


def test_another_shape_than_the_kept_tunes_is_refused(
    first_tune: Path, job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = replace(RECIPES["mse"], shape=replace(SHAPE, hidden=16))
    monkeypatch.setattr("facebench_codecs.facet.train.named_recipe", lambda tune, side: wider)
    with pytest.raises(WeightsError, match="another shape"):
        train_facet(replace(job, out=copied(first_tune, tmp_path), recipe="mse"))


def test_shipped_recipes_are_read_and_others_are_refused() -> None:
    for tune in ("ssim", "mse", "identity"):
        recipe = named_recipe(tune, 64)
        assert (recipe.tune, recipe.shape.side) == (tune, 64)
    with pytest.raises(SettingError, match="ssim-64"):
        named_recipe("none", 64)
    values = asdict(named_recipe("ssim", 64))
    assert FacetRecipe.from_dict(values) == named_recipe("ssim", 64)
    for wrong in ({**values, "stepps": 1}, {name: v for name, v in values.items() if name != "steps"}):
        with pytest.raises(SettingError, match="unknown or missing keys"):
            FacetRecipe.from_dict(wrong)
