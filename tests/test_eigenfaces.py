"""The eigenfaces baseline: a real PCA with a real entropy coder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facebench_codecs.eigenfaces import Eigenfaces, train_eigenfaces
from facebench_codecs.entropy import Quantiles
from facebench_codecs.weights import load_weights, save_weights, shipped_weights
from numpy.typing import NDArray

from facebench import CodecError, SettingError, TrainingJob, UnsupportedSize, WeightsError
from facebench.data.imageset import ImageSet
from facebench.testing.pictures import faces


class Pictures:
    """Pictures to train on."""

    masks = identities = None
    digest = "0"

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self.size = (images.shape[1], images.shape[2])

    def __len__(self) -> int:
        return len(self.images)


def make(step: float, weights: str = "shipped", size: tuple[int, int] = (64, 64)) -> Eigenfaces:
    return Eigenfaces(size, step=step, weights=weights)


@pytest.mark.parametrize("step", [4.0, 0.6, 0.25])
def test_mean_payload_is_within_three_percent_and_two_bytes_of_the_ideal(test_faces: ImageSet, step: float) -> None:
    codec = make(step)
    images = np.array(test_faces.images)
    payloads = codec.encode_batch(images[:300])
    assert np.mean([len(p) for p in payloads]) <= 1.03 * codec.ideal_bits(images[:300]).mean() / 8 + 2
    # The tables themselves, against the empirical entropy of the same symbols on the same pictures.
    counts = [np.unique(column, return_counts=True)[1] / len(images) for column in codec.symbols(images).T]
    empirical = -sum(float((c * np.log2(c)).sum()) for c in counts)
    assert codec.ideal_bits(images).mean() <= 1.03 * empirical


def stored(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The tensors of a weights file, and its description."""
    loaded = load_weights(path, "eigenfaces")
    return loaded.tensors, loaded.meta


def whole(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The components, (C, S, S, 3), and the mean, (S, S, 3), that a weights file holds the left halves of."""
    tensors, meta = stored(path)
    side = meta["side"]
    halves = tensors["basis.int8"] * tensors["basis.scale"][:, None].astype(np.float64)
    left = np.concatenate([halves, tensors["mean"][None]]).reshape(-1, side, -(-side // 2), 3)
    signs = np.append(1 - 2.0 * tensors["basis.odd"], 1)[:, None, None, None]
    found = np.concatenate([left, signs * left[:, :, : side // 2][:, :, ::-1]], axis=2)
    return found[:-1], found[-1]


def plain_coefficients(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    vectors, mean = whole(path)
    return (images / 255.0 - mean).reshape(len(images), -1) @ vectors.reshape(len(vectors), -1).T


def test_projection_agrees_with_a_plain_pca_product(test_faces: ImageSet) -> None:
    images = np.array(test_faces.images[:20])
    plain = plain_coefficients(shipped_weights("eigenfaces-64"), images) / 0.25
    symbols = make(0.25).symbols(images)
    assert (np.abs(symbols - plain) < 0.501).mean() > 0.999  # the rest is clamped


def test_decoded_pictures_are_the_mean_and_the_sum_of_the_components() -> None:
    codec = make(1.0)
    images = faces((64, 64), 5)
    vectors, mean = whole(shipped_weights("eigenfaces-64"))
    wanted = mean + np.tensordot(codec.symbols(images).astype(float), vectors, 1)
    decoded = codec.decode_batch(codec.encode_batch(images))
    assert np.abs(decoded - 255 * wanted.clip(0, 1)).max() < 0.51


@pytest.mark.parametrize("name", ["eigenfaces-64", "eigenfaces-128"])
def test_the_basis_is_orthonormal_to_the_precision_it_ships_with(name: str) -> None:
    vectors, _ = whole(shipped_weights(name))
    flat = vectors.reshape(len(vectors), -1)
    assert len(flat) == {"eigenfaces-64": 1000, "eigenfaces-128": 528}[name]
    assert np.abs(flat @ flat.T - np.eye(len(flat))).max() < 0.01


@pytest.mark.parametrize("step", [4.0, 0.25])
def test_a_mirrored_picture_takes_as_many_bits_and_decodes_to_the_mirror_image(step: float) -> None:
    codec = make(step)
    rng = np.random.default_rng(0)
    images = np.concatenate([faces((64, 64), 10), rng.integers(0, 256, (4, 64, 64, 3), np.uint8)])
    mirrored = images[:, :, ::-1]
    assert np.array_equal(np.abs(codec.symbols(mirrored)), np.abs(codec.symbols(images)))
    assert codec.ideal_bits(mirrored) == pytest.approx(codec.ideal_bits(images), rel=1e-3)
    decoded = codec.decode_batch(codec.encode_batch(images))
    assert np.array_equal(codec.decode_batch(codec.encode_batch(mirrored)), decoded[:, :, ::-1])


def test_sums_are_exact_of_the_most_extreme_pictures(tmp_path: Path) -> None:
    """Their partial sums are as large as they can be, and end near zero: one unit lost on the way would be seen."""
    rng = np.random.default_rng(0)
    side, half = 64, 64 * 32 * 3
    signs, sizes = rng.choice([-1, 1], (2, half // 2)), rng.integers(200, 256, (2, half // 2))
    integers = 127 * np.concatenate([signs, signs], axis=1)
    values = np.concatenate([signs * sizes, -signs * sizes], axis=1)  # an even part less 255, and an odd part
    integers[:, ::500] -= np.sign(integers[:, ::500])
    even, odd = (part.reshape(side, 32, 3) for part in values)
    pictures = [((even + 256) // 2, (even + 255) // 2), (odd.clip(0), (-odd).clip(0))]
    images = np.array([np.concatenate([left, right[:, ::-1]], 1) for left, right in pictures]).astype(np.uint8)
    quantiles = Quantiles.fit(rng.normal(0, 1000, (500, 2)).astype(np.float32))
    tensors = {
        "basis.int8": integers.astype(np.int8),
        "basis.scale": np.full(2, 255, np.float32),
        "basis.odd": np.array([0, 1], np.uint8),
        "mean": np.full(half, 0.5, np.float32),
        "quantiles.positions": quantiles.positions,
        "quantiles.units": quantiles.units,
    }
    _, meta = stored(shipped_weights("eigenfaces-64"))
    save_weights(tmp_path / "extreme.safetensors", tensors, meta, {})
    symbols = make(1.0, str(tmp_path / "extreme.safetensors")).symbols(images)
    assert symbols.diagonal().tolist() == (integers * values).sum(axis=1).tolist()


def test_a_batch_gives_the_same_bytes_as_its_pictures_alone(test_faces: ImageSet) -> None:
    codec = make(0.6)
    images = np.array(test_faces.images[:30])
    assert codec.encode_batch(images) == [codec.encode(image) for image in images]


def test_smaller_steps_cost_more_and_lose_less(test_faces: ImageSet) -> None:
    images = np.array(test_faces.images[:50])
    sizes, errors = [], []
    for step in (4.0, 1.0, 0.25):
        codec = make(step)
        payloads = codec.encode_batch(images)
        sizes.append(np.mean([len(p) for p in payloads]))
        errors.append(np.abs(codec.decode_batch(payloads) / 255.0 - images / 255.0).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_other_sizes_need_training_and_say_so() -> None:
    with pytest.raises(UnsupportedSize, match="facebench train eigenfaces --size 32"):
        make(1.0, size=(32, 32))


def test_training_for_another_size_is_kept_and_found(
    small_job: TrainingJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEBENCH_WEIGHTS", str(tmp_path))
    path = train_eigenfaces(small_job)
    codec = make(0.5, size=(16, 16))
    images = small_job.valid.images
    decoded = codec.decode_batch(codec.encode_batch(images))
    assert decoded.shape == images.shape
    assert np.abs(decoded / 255.0 - images / 255.0).mean() < 0.08
    assert path.with_suffix(".json").is_file()
    assert codec.trained_on is not None and codec.trained_on.data_digest == small_job.train.digest


@pytest.mark.parametrize("side", [16, 17])
def test_components_are_those_of_the_pictures_and_their_mirror_images(
    side: int, small_job: TrainingJob, tmp_path: Path
) -> None:
    pictures = faces((side, side), 120)
    train, valid = Pictures(pictures[20:]), Pictures(pictures[:20])
    path = train_eigenfaces(replace(small_job, train=train, valid=valid, out=tmp_path / "faces.safetensors"))
    vectors, mean = whole(path)
    both = np.concatenate([train.images, train.images[:, :, ::-1]]) / 255.0
    assert np.abs(mean - both.mean(0)).max() < 1e-6
    _, singular, components = np.linalg.svd((both - both.mean(0)).reshape(len(both), -1), full_matrices=False)
    assert len(vectors) == len(train) - 1
    flat = vectors.reshape(len(vectors), -1)
    deviations = np.sqrt(np.square((both - mean).reshape(len(both), -1) @ flat.T).sum(0))
    assert deviations == pytest.approx(singular[: len(flat)], rel=0.01)
    # The first 20 span the same space (single components may swap or turn where variances are close).
    assert np.square(flat[:20] @ components[:22].T).sum(1) == pytest.approx(np.ones(20), abs=0.02)
    told = json.loads(path.with_suffix(".json").read_text())
    left = (valid.images / 255.0 - mean).reshape(20, -1)
    wanted = 1 - np.square(left @ flat.T).sum() / np.square(left).sum()
    assert told["valid_variance_left"] == pytest.approx(wanted, abs=1e-4)


def test_half_of_each_component_is_stored_in_a_byte_a_value() -> None:
    for side, count in ((64, 1000), (128, 528)):
        path = shipped_weights(f"eigenfaces-{side}")
        assert path.stat().st_size < count * (side * side // 2 * 3 + 310) + side * side * 6 + 2000
        assert make(1.0, size=(side, side)).weights_bytes <= path.stat().st_size


def test_options_without_meaning_are_refused(small_job: TrainingJob) -> None:
    with pytest.raises(SettingError):
        train_eigenfaces(replace(small_job, loss="l2"))


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json........")
    with pytest.raises(WeightsError, match="damaged"):
        make(1.0, str(tmp_path / "bad.safetensors"))
    with pytest.raises(WeightsError, match="no weights file"):
        make(1.0, str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"basis.odd": None}, "basis.odd"),  # as the files of earlier versions are, with whole components
        ({"basis.odd": np.full(1000, 2, np.uint8)}, "zeros and ones"),
        ({"basis.odd": np.zeros(999, np.uint8)}, "zeros and ones"),
        ({"basis.odd": np.zeros(1000, np.int64)}, "zeros and ones"),
        ({"basis.int8": np.zeros((1000, 12288), np.int8)}, "the basis is int8"),
        ({"basis.int8": np.zeros((1000, 6144), np.int16)}, "the basis is int16"),
        ({"mean": np.zeros(12288, np.float32)}, "the mean or the scales"),
        ({"basis.scale": np.full(1000, np.nan, np.float32)}, "the mean or the scales"),
    ],
)
def test_weights_of_other_shapes_are_to_be_trained_again(
    changed: dict[str, NDArray[Any] | None], says: str, tmp_path: Path
) -> None:
    tensors, meta = stored(shipped_weights("eigenfaces-64"))
    kept = {name: tensor for name, tensor in {**tensors, **changed}.items() if tensor is not None}
    save_weights(tmp_path / "other.safetensors", kept, meta, {})
    with pytest.raises(WeightsError, match=f"hold no eigenfaces .*{says}.*; train them again") as refused:
        make(1.0, str(tmp_path / "other.safetensors"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("side", [-2, 0, 10**9])
def test_weights_of_an_impossible_size_are_refused(side: int, tmp_path: Path) -> None:
    tensors, meta = stored(shipped_weights("eigenfaces-64"))
    tensors["basis.int8"] = tensors["basis.int8"][:, : max(0, 3 * side * -(-side // 2))]
    tensors["mean"] = tensors["mean"][: tensors["basis.int8"].shape[1]]
    save_weights(tmp_path / "other.safetensors", tensors, {**meta, "side": side}, {})
    with pytest.raises(WeightsError, match="hold no eigenfaces"):
        make(1.0, str(tmp_path / "other.safetensors"))


def test_empty_payload_is_refused() -> None:
    with pytest.raises(CodecError):
        make(1.0).decode(b"")
