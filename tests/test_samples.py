"""The embedded synthetic samples: complete, unchanging, as hard as real faces, and nobody's picture."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from facebench.data import celeba, samples
from facebench.data.imageset import ImageSet
from facebench.data.preparation import prepare
from facebench.data.preprocess import Preprocessing
from facebench.data.samples.generator import GeneratorRecipe, GeneratorTraining
from facebench.data.samples.resemblance import Distances, TrainingFaces, mean_jpeg_bytes
from facebench.data.samples.selection import SelectionRules, choose, clean_mask, without_strands
from facebench.errors import DataError, WeightsError

FIGURES = json.loads((samples.HERE / samples.FIGURES_FILE).read_text())


@pytest.fixture(scope="module")
def sample_set(_own_cache: None) -> ImageSet:
    source = samples.open_source(None, "all")
    return prepare(source, Preprocessing(source.default_crop))


def _celeba(folder: Path, split: str, every: int) -> NDArray[np.uint8]:
    """Return every ``every``-th face of a split at 64x64."""
    source = celeba.open_source(folder, split)
    preprocessing = Preprocessing(celeba.DEFAULT_CROP)
    return np.stack([preprocessing.picture(source.read(index)) for index in range(0, len(source.ids), every)])


def _file_bytes(picture: NDArray[np.uint8], quality: int) -> int:
    """Return one JPEG's size, written as a user would who knows nothing of this project."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done
    return len(data.tobytes())


def test_there_are_256_rgb_pictures_with_masks(sample_set: ImageSet) -> None:
    assert len(sample_set) == 256
    assert sample_set.images.shape == (256, 64, 64, 3)
    assert sample_set.images.dtype == np.uint8
    assert sample_set.masks is not None
    assert sample_set.masks.shape == (256, 64, 64)
    assert sample_set.ids[0] == "samples:000"
    assert len(set(sample_set.ids)) == 256


def test_they_say_that_they_are_synthetic_and_nobody_s() -> None:
    source = samples.open_source(Path("/ignored"), "all")
    assert source.synthetic
    assert source.identities is None


def test_another_split_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match="leave --split out"):
        samples.open_source(None, "test")


def test_no_two_pictures_are_alike(sample_set: ImageSet) -> None:
    rows = sample_set.images.reshape(256, -1)[:, ::48].astype(np.float64)
    apart = np.sqrt(((rows[:, None] - rows[None, :]) ** 2).mean(2))
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 10  # grey levels


def test_every_mask_covers_a_plausible_face(sample_set: ImageSet) -> None:
    assert sample_set.masks is not None
    areas = sample_set.masks.mean((1, 2))
    assert areas.min() > 0.3
    assert areas.max() < 0.95
    assert abs(areas.mean() - FIGURES["celeba test"]["mask area"]) < 0.08
    assert sample_set.masks[:, 32, 32].all()
    for mask in sample_set.masks:
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] == 2, "one part, one background"


def test_masks_lie_on_edges_of_the_pictures(sample_set: ImageSet) -> None:
    """A face's own mask separates its colours better than another face's mask does."""
    assert sample_set.masks is not None
    images, masks = sample_set.images.astype(np.float64), sample_set.masks

    def contrast(shift: int) -> float:
        total = 0.0
        for image, mask in zip(images, np.roll(masks, shift, axis=0), strict=True):
            total += float(np.abs(image[mask].mean(0) - image[~mask].mean(0)).mean())
        return total / len(images)

    assert contrast(0) > 1.1 * np.mean([contrast(shift) for shift in (1, 50, 101)])


@pytest.mark.parametrize("quality", [85, 20])
def test_they_cost_what_real_faces_cost_as_jpeg(sample_set: ImageSet, quality: int) -> None:
    real = FIGURES["celeba test"][f"jpeg q{quality} bytes"]
    own = np.mean([_file_bytes(picture, quality) for picture in sample_set.images])
    assert abs(own / real - 1) < 0.15


def test_the_recorded_figures_belong_to_these_files(sample_set: ImageSet) -> None:
    own = FIGURES["samples"]
    for quality in (85, 20):
        measured = np.mean([_file_bytes(picture, quality) for picture in sample_set.images])
        # Other builds of libjpeg write slightly other files.
        assert measured == pytest.approx(own[f"jpeg q{quality} bytes"], rel=0.01)
    assert sample_set.masks is not None
    assert float(sample_set.masks.mean()) == pytest.approx(own["mask area"], abs=1e-4)


def test_the_recorded_codec_error_is_that_of_real_faces() -> None:
    own, real = FIGURES["samples"]["codec 1-SSIM"], FIGURES["celeba test"]["codec 1-SSIM"]
    assert own.keys() == real.keys()
    assert any(codec.startswith("cvae") for codec in own)
    for codec, value in own.items():
        assert abs(value / real[codec] - 1) < 0.20


def test_the_recorded_real_faces_are_real(celeba_dir: Path) -> None:
    real = _celeba(celeba_dir, "test", 8)
    for quality in (85, 20):
        measured = np.mean([_file_bytes(picture, quality) for picture in real])
        assert measured == pytest.approx(FIGURES["celeba test"][f"jpeg q{quality} bytes"], rel=0.05)


def test_opening_them_twice_gives_the_same(sample_set: ImageSet) -> None:
    first, second = samples.open_source(None, "all"), samples.open_source(None, "all")
    assert first.fingerprint == second.fingerprint
    files = (samples.HERE / samples.FACES_FILE).read_bytes() + (samples.HERE / samples.MASKS_FILE).read_bytes()
    assert hashlib.sha256(files).hexdigest() in first.fingerprint
    for index in (0, 100, 255):
        assert np.array_equal(first.read(index), second.read(index))
        assert np.array_equal(first.read(index), sample_set.images[index])


def test_the_files_are_small_enough_for_the_wheel() -> None:
    assert sum(path.stat().st_size for path in samples.HERE.glob("*.png")) < 3_000_000


def test_other_sizes_are_resized(_own_cache: None) -> None:
    source = samples.open_source(None, "all")
    assert Preprocessing("full", 128).picture(source.read(0)).shape == (128, 128, 3)


def _brute_force_distance(picture: NDArray[np.uint8], faces: NDArray[np.uint8]) -> float:
    difference = faces.astype(np.float64) - picture
    return float(np.sqrt((difference**2).mean((1, 2, 3))).min())


def test_none_is_nearer_to_a_training_face_than_test_faces_are(sample_set: ImageSet, celeba_dir: Path) -> None:
    """Against every sixteenth training face, so that it takes seconds."""
    train, test = _celeba(celeba_dir, "train", 16), _celeba(celeba_dir, "test", 4)
    training_faces = TrainingFaces(train)
    own, real = training_faces.distances(np.asarray(sample_set.images)), training_faces.distances(test)
    both = np.concatenate([train, train[:, :, ::-1]])
    assert own.pixels[7] == pytest.approx(_brute_force_distance(sample_set.images[7], both), rel=1e-3)
    for percentile in (5, 10, 25):
        assert np.percentile(own.pixels, percentile) > 0.97 * np.percentile(real.pixels, percentile)
        assert np.percentile(own.components, percentile) > 0.97 * np.percentile(real.components, percentile)


@pytest.mark.slow
def test_none_is_nearer_to_any_training_face_than_test_faces_are(sample_set: ImageSet, celeba_dir: Path) -> None:
    training_faces = TrainingFaces(_celeba(celeba_dir, "train", 1))
    own = training_faces.distances(np.asarray(sample_set.images))
    real = training_faces.distances(_celeba(celeba_dir, "test", 1))
    for percentile in (0, 1, 5, 10, 25):
        assert np.percentile(own.pixels, percentile) >= np.percentile(real.pixels, percentile)
        assert np.percentile(own.components, percentile) >= np.percentile(real.components, percentile)


def test_a_training_face_would_be_noticed(sample_set: ImageSet) -> None:
    """The nearness measure itself: a copy, or a mirrored one, has distance 0."""
    faces = np.asarray(sample_set.images)
    found = TrainingFaces(faces[:200]).distances(np.stack([faces[3], faces[4][:, ::-1], faces[210]]))
    assert found.pixels[0] < 0.5 and found.pixels[1] < 0.5
    assert found.components[0] < 0.05 and found.components[1] < 0.05
    assert found.pixels[2] > 10 and found.components[2] > 0.1


def test_choosing_passes_over_candidates_near_training_faces(sample_set: ImageSet) -> None:
    assert sample_set.masks is not None
    masks = np.asarray(sample_set.masks)[:100]
    far = np.linspace(20, 40, 100).astype(np.float32)
    test = Distances(far, far)
    own = far.copy()
    own[:30] = 5  # copies of training faces
    chosen = choose(
        masks,
        np.zeros(100, np.float32),
        Distances(own, far),
        training_areas=np.array([0.3, 0.95]),
        test_distances=test,
        count=50,
        rules=SelectionRules(area_percentiles=(0, 100)),
    )
    assert len(chosen) > 10
    assert min(chosen) >= 30


def test_a_mask_is_cleaned_to_one_part_without_holes() -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[10:50, 10:50] = True
    mask[20:25, 20:25] = False
    mask[60, 60] = True
    expected = np.zeros_like(mask)
    expected[10:50, 10:50] = True
    assert np.array_equal(clean_mask(mask), expected)


def test_strands_of_a_mask_are_cut_off() -> None:
    face = np.zeros((64, 64), np.bool_)
    face[10:50, 10:50] = True
    hairy = face.copy()
    hairy[20:22, 50:64] = True
    assert np.array_equal(without_strands(hairy), face)


def test_sheets_and_tiles_are_each_other_s_inverse() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3)).astype(np.uint8)
    sheet = samples.to_sheet(tiles)
    assert np.array_equal(sheet[64:128, 128:192], tiles[18])
    assert np.array_equal(samples.from_sheet(sheet), tiles)


def test_mean_jpeg_bytes_is_the_mean_of_the_files(sample_set: ImageSet) -> None:
    few = np.asarray(sample_set.images[:5])
    assert mean_jpeg_bytes(few, 60) == pytest.approx(np.mean([_file_bytes(picture, 60) for picture in few]))


def _small_training(seed: int = 0) -> GeneratorTraining:
    source = np.random.default_rng(1)
    faces = cv2.GaussianBlur(source.integers(0, 256, (64, 64, 96), np.uint8), (9, 9), 3).transpose(2, 0, 1)
    masks = np.zeros((32, 64, 64), np.bool_)
    masks[:, 8:56, 16:48] = True
    recipe = GeneratorRecipe(components=8, neighbours=6, width=8, critic_width=4, steps=5, batch_size=4)
    return GeneratorTraining(faces.reshape(32, 3, 64, 64).transpose(0, 2, 3, 1), masks, recipe, seed)


def test_training_killed_and_resumed_ends_at_the_same_weights(tmp_path: Path) -> None:
    undisturbed, killed, resumed = _small_training(), _small_training(), _small_training()
    undisturbed.run(tmp_path / "whole", lambda step, losses: None)

    def kill(step: int, losses: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.run(tmp_path / "part", kill, save_every=2)
    steps: list[int] = []
    resumed.run(tmp_path / "part", lambda step, losses: steps.append(step))
    assert steps == [3, 4, 5]
    for name, expected in undisturbed.average.state_dict().items():
        assert torch.equal(resumed.average.state_dict()[name], expected)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path: Path) -> None:
    _small_training(seed=0).save(tmp_path / "checkpoint")
    with pytest.raises(WeightsError, match="another recipe, seed or data"):
        _small_training(seed=1).load(tmp_path / "checkpoint")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"not safetensors at all")
    with pytest.raises(WeightsError, match="is damaged"):
        _small_training().load(tmp_path / "checkpoint")


def test_principal_components_are_those_of_an_exact_decomposition() -> None:
    training = _small_training()
    both = torch.cat([training.faces, training.faces.flip(3)]).numpy()
    halved = both.reshape(64, 4, 32, 2, 32, 2).mean((3, 5)) / 127.5 - 1
    halved[:, 3] *= 0.5
    rows = halved.reshape(64, -1)
    exact = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:8] / 8
    assert training.eigen.scale.numpy() == pytest.approx(exact, rel=1e-3)
    assert training.codes.flatten(0, 1).square().mean(0).numpy() == pytest.approx(np.ones(8), rel=1e-3)


def test_drawn_codes_spread_as_real_ones_do() -> None:
    training = _small_training()
    gain = training.sampler.gain(torch.Generator().manual_seed(0))
    source = torch.Generator().manual_seed(1)
    drawn = torch.cat([training.sampler.draw(64, source) for _ in range(32)]) * gain
    assert drawn.std(0).numpy() == pytest.approx(np.ones(8), rel=0.1)
