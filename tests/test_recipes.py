"""Every combination that a recipe can name trains, resumes, codes and decodes; the shipped recipes are such."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import facebench_codecs
import numpy as np
import pytest
import torch
from facebench_codecs import learned, recogniser
from facebench_codecs.adversary import discriminator_loss
from facebench_codecs.build import build_model, coding_of
from facebench_codecs.features import features_for
from facebench_codecs.learned import Cvae, train_learned
from facebench_codecs.losses import named_loss
from facebench_codecs.networks import Autoencoder, Discriminator, MixturePrior
from facebench_codecs.parallel import Processes
from facebench_codecs.recipe import Recipe, named_recipe
from numpy.typing import NDArray

from facebench import SettingError, TrainingJob, WeightsError

RECIPES = sorted(file.stem for file in (Path(facebench_codecs.__file__).parent / "recipes").glob("*.json"))
SMALL = replace(
    named_recipe("cvae-paper"), widths=(8, 12), latent_channels=4, kl_weight=1e-3, epochs=2, batch_size=40, mirror=True
)
POOLED = replace(SMALL, backbone="pooled", latent_side=1, widths=(8, 8, 12), latent_channels=24)
COMBINATIONS = {
    "face": replace(SMALL, mask="face"),
    "pasted": replace(SMALL, mask="pasted", loss="ssim9+4*l1"),
    "pooled": replace(POOLED, clip_norm=1e-3, epochs=None, steps=9),
    "mask-decoder": replace(POOLED, mask="pasted", mask_decoder_width=4, loss="100*l2"),
    "mixture": replace(SMALL, prior="mixture", components=3),
    "groups": replace(
        SMALL, backbone="hierarchical", prior="conditional", latent_channels=3, finer_channels=(2, 1), clip_norm=1.0
    ),
    "vectors": replace(SMALL, quantiser="residual-vq", prior="context", stages=4, codes=8, kl_weight=0.25),
    "hinge": replace(
        SMALL, discriminator_widths=(6, 8), adversarial_loss="hinge", spectral_norm=True, discriminator_steps=2
    ),
    "masked-adversary": replace(SMALL, discriminator_widths=(6, 8), mask="face"),
    "features": replace(SMALL, loss="l1+perceptual", features="recogniser"),
    "cosine": replace(SMALL, decay="cosine"),
    "smoothed": replace(
        SMALL, discriminator_widths=(6, 8), label_smoothing=0.1, discriminator_rate=4e-3, adversarial_weight=0.5
    ),
}


@dataclass
class Discs:
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None
    digest: str
    identities: tuple[str, ...] | None = None
    size: tuple[int, int] = (16, 16)

    def __len__(self) -> int:
        return len(self.images)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """A job on 120 bright discs on noise, 16 pixels, and their masks."""
    rng = np.random.default_rng(3)
    masks = np.zeros((120, 16, 16), np.uint8)
    pictures = rng.integers(0, 256, (120, 16, 16, 3)).astype(np.uint8)
    for mask, picture in zip(masks, pictures, strict=True):
        cv2.circle(mask, tuple(int(v) for v in rng.integers(6, 10, 2)), int(rng.integers(3, 6)), 1, -1)
        picture[mask > 0] = rng.integers(100, 256, 3)
    train, valid = (
        Discs(pictures[rows], masks[rows] > 0, name, tuple(f"person {n % 10}" for n in range(120)[rows]))
        for name, rows in (("train", slice(0, 100)), ("valid", slice(100, 120)))
    )
    told: dict[str, Any] = {"image_set": "discs", "split": "all", "data_digest": "train", "pictures": []}
    return TrainingJob("cvae", train, valid, 0, "cpu", "test", told)


def trained(job: TrainingJob, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    monkeypatch.setattr(learned, "named_recipe", lambda name: recipe)
    monkeypatch.setattr(recogniser, "_STEPS", 2)
    return train_learned(replace(job, out=out, **changes))


def made(path: Path, step: float = 1.0) -> Cvae:
    return Cvae((16, 16), step=step, latent="quantised", weights=str(path))


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_can_be_built(name: str) -> None:
    recipe = named_recipe(name)
    side = 144 if recipe.backbone == "pooled" and "published" in name else 64
    with torch.device("meta"):
        build_model(recipe, side)
        if recipe.discriminator_widths:
            Discriminator(recipe, side)
    assert coding_of(recipe) and named_loss(recipe.loss)
    assert name.startswith(recipe.codec)
    assert Recipe.from_dict(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_the_published_architecture_has_the_sizes_of_the_paper() -> None:
    model = Autoencoder(named_recipe("maskvae-h1-published"), 144).eval()
    with torch.inference_mode():
        mean, _ = model.posterior(torch.zeros(1, 3, 144, 144))
        assert mean.shape == (1, 512, 1, 1)
        assert model.decoder(mean).shape == (1, 3, 144, 144)
        assert model.mask_decoder is not None and model.mask_decoder(mean).shape == (1, 1, 144, 144)
    convolutions = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 32, 64, 64, 128, 128, 256, 256, 256, 256, 512]
    upward = [m for m in model.decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [m.out_channels for m in upward] == [256, 256, 256, 128, 64, 32, 32]
    assert model.decoder.layers.sides == [2, 4, 9, 18, 36, 72, 144]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_trains_and_its_payloads_decode(
    name: str, faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained(faces, COMBINATIONS[name], tmp_path / "w.safetensors", monkeypatch)
    codec = made(path)
    images = faces.valid.images
    payloads = codec.encode_batch(images)
    decoded = np.stack(codec.decode_batch(payloads))
    assert decoded.shape == images.shape and decoded.dtype == np.uint8
    another = made(path)
    for payload, picture, image in zip(payloads, decoded, images, strict=True):
        again = another.decode(payload)
        assert np.abs(again.astype(int) - picture).max() <= 1
        coding = codec._coding
        assert np.array_equal(coding.decode(payload), codec.symbols(image))
    ideal = codec.ideal_bits(images)
    assert (np.array([8 * len(p) for p in payloads]) <= ideal + 16).all()
    finer = made(path, step=4.0 if name == "vectors" else 0.002)
    assert np.mean([len(p) for p in finer.encode_batch(images)]) > np.mean([len(p) for p in payloads])


@pytest.mark.parametrize("name", ["mask-decoder", "mixture", "groups", "vectors", "hinge", "features", "cosine"])
def test_a_resumed_run_takes_the_same_steps(
    name: str, faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(COMBINATIONS[name], epochs=4, steps=None)
    whole = trained(faces, recipe, tmp_path / "whole.safetensors", monkeypatch)
    part = tmp_path / "part.safetensors"
    trained(faces, recipe, part, monkeypatch, minutes=1e-6)
    trained(faces, recipe, part, monkeypatch, resume=True)
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in (whole, part)]
    assert cards[0]["curve"] == cards[1]["curve"]
    assert cards[0]["sha256"] == cards[1]["sha256"]


def test_training_over_the_face_serves_the_face(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {}
    for name in ("none", "face"):
        recipe = replace(SMALL, mask=name, epochs=150, learning_rate=3e-3)
        codec = made(trained(faces, recipe, tmp_path / f"{name}.safetensors", monkeypatch), step=0.1)
        wrong = np.abs(
            np.stack(codec.decode_batch(codec.encode_batch(faces.train.images))) - faces.train.images.astype(int)
        )
        assert faces.train.masks is not None
        errors[name] = wrong[faces.train.masks].mean(), wrong[~faces.train.masks].mean()
    assert errors["face"][0] < 0.9 * errors["none"][0]
    assert errors["face"][1] > errors["none"][1]


def test_a_mask_decoder_finds_the_face_and_shows_the_mean_outside(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(COMBINATIONS["mask-decoder"], epochs=120, learning_rate=3e-3)
    codec = made(trained(faces, recipe, tmp_path / "w.safetensors", monkeypatch), step=0.1)
    decoded = np.stack(codec.decode_batch(codec.encode_batch(faces.train.images))).astype(int)
    outside = ~cv2.dilate(faces.train.masks.any(0).astype(np.uint8), np.ones((3, 3))).astype(bool)  # type: ignore[union-attr]
    assert outside.any()
    # The mean of noise of 0 to 255.
    assert np.abs(decoded[:, outside].mean((0, 2)) - 127.5).max() < 25


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("face", "trains with face masks, and these pictures have none"),
        ("features", "pictures whose identities are known"),
    ],
)
def test_what_training_needs_and_the_pictures_lack_is_one_line(
    name: str, told: str, small_job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match=told):
        trained(small_job, COMBINATIONS[name], tmp_path / "w.safetensors", monkeypatch)


def test_a_discriminator_of_faces_alone_tells_nothing_where_there_is_no_face(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(faces.train, Discs) and isinstance(faces.valid, Discs)
    faceless = [replace(part, masks=np.zeros_like(part.masks)) for part in (faces.train, faces.valid)]
    job = replace(faces, train=faceless[0], valid=faceless[1])
    path = trained(job, COMBINATIONS["masked-adversary"], tmp_path / "w.safetensors", monkeypatch)
    curve = json.loads(path.with_suffix(".json").read_text())["curve"]
    assert curve["accuracy"] == [0.5] * len(curve["accuracy"])  # it was shown the same pictures twice


def test_features_of_vgg19_are_those_after_its_first_layers_of_three_sizes(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in for torchvision: layers of VGG-19's kind, whose weights were not downloaded."""
    made_of: list[torch.nn.Module] = []
    before = 3
    for width in (4, 4, "M", 6, 6, "M", 8, 8):  # VGG-19 with fewer channels
        if width == "M":
            made_of.append(torch.nn.MaxPool2d(2))
        else:
            assert isinstance(width, int)
            made_of += [torch.nn.Conv2d(before, width, 3, padding=1), torch.nn.ReLU(inplace=True)]
            before = width
    models = ModuleType("torchvision.models")
    models.vgg19 = lambda weights: SimpleNamespace(features=torch.nn.Sequential(*made_of))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    recipe = replace(SMALL, loss="perceptual", features="vgg19")
    features = features_for(recipe, faces, tmp_path / "checkpoint", Processes.started("cpu"))
    assert features is not None
    pictures = torch.rand(2, 3, 16, 16)
    found = features(pictures)
    assert [f.shape for f in found] == [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((pictures.permute(0, 2, 3, 1) - mean) / deviation).permute(0, 3, 1, 2)
    assert torch.allclose(found[0], torch.relu(made_of[0](normal)), atol=1e-6)


def test_features_of_vgg19_without_torchvision_are_one_line(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(SettingError, match="vgg19 need torchvision"):
        trained(faces, replace(SMALL, loss="perceptual", features="vgg19"), tmp_path / "w.safetensors", monkeypatch)


def test_the_learning_rate_falls_along_half_a_cosine(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SMALL, epochs=None, steps=8, decay="cosine", learning_rate=1e-3)
    path = trained(faces, recipe, tmp_path / "w.safetensors", monkeypatch)
    curve = json.loads(path.with_suffix(".json").read_text())["curve"]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert curve["learning_rate"] == pytest.approx([rates[step - 1] for step in curve["steps"]])


def test_weights_are_kept_in_half_precision(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(trained(faces, COMBINATIONS["vectors"], tmp_path / "w.safetensors", monkeypatch))
    kinds = {tensor.dtype for name, tensor in tensors.items() if name.startswith(("encoder.", "decoder."))}
    assert kinds == {np.dtype(np.float16), np.dtype(np.int64)}
    assert tensors["quantiser.codebooks"].dtype == np.float32
    assert "quantiser.sums" not in tensors


def test_damaged_weights_of_a_mixture_are_refused(
    faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file, save_file

    path = trained(faces, COMBINATIONS["mixture"], tmp_path / "w.safetensors", monkeypatch)
    tensors = load_file(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        meta = json.loads(file.read(length))["__metadata__"]
    for name, value in (
        ("mixture.faces", np.array([1, -1, 2])),
        ("mixture.units", np.zeros(192, np.int64)),
        ("latent.scale", np.zeros(64, np.float32)),
    ):
        save_file({**tensors, name: value}, path, meta)
        with pytest.raises(WeightsError):
            made(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": "hair"},
        {"backbone": "none"},
        {"prior": "none"},
        {"prior": "mixture"},
        {"components": 3},
        {"backbone": "hierarchical"},
        {"prior": "conditional"},
        {"finer_channels": [2]},
        {"backbone": "hierarchical", "prior": "conditional", "finer_channels": [2, 0]},
        {"adversarial_loss": "none"},
        {"epochs": 1, "steps": 1},
        {"latent_side": 0},
        {"latent_side": 3},
        {"decay": "linear"},
        {"decay": "cosine", "epochs": None},
        {"loss": "perceptual"},
        {"features": "recogniser"},
        {"loss": "perceptual", "features": "eyes"},
        {"loss": "l3"},
    ],
)
def test_what_a_recipe_cannot_say_is_refused(
    changes: dict[str, Any], faces: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError):
        recipe = Recipe.from_dict({**asdict(SMALL), **changes})
        trained(faces, recipe, tmp_path / "w.safetensors", monkeypatch)


def test_the_mixtures_divergence_is_that_of_torch() -> None:
    from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

    torch.manual_seed(0)
    prior = MixturePrior(3, 5)
    with torch.no_grad():
        prior.weights.normal_()
        prior.log_variances.normal_()
    mean, log_variance = torch.randn(40, 5), torch.randn(40, 5)
    sample = mean + torch.randn(40, 5) * (0.5 * log_variance).exp()
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    parts = Independent(Normal(prior.means, (0.5 * prior.log_variances).exp()), 1)
    mixture = MixtureSameFamily(Categorical(logits=prior.weights), parts)
    wanted = (posterior.log_prob(sample) - mixture.log_prob(sample)).mean().detach()
    found = prior.nats(sample, mean, log_variance).detach()
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)


def test_a_discriminator_that_tells_nothing_has_the_loss_of_chance() -> None:
    logits = torch.zeros(8)
    assert float(discriminator_loss(SMALL, logits)) == pytest.approx(np.log(2), rel=1e-6)
    assert float(discriminator_loss(replace(SMALL, adversarial_loss="hinge"), logits)) == 1
