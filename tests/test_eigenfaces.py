"""The eigenfaces baseline: a real PCA with a real entropy coder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facebench_codecs.eigenfaces import Eigenfaces, train_eigenfaces

from facebench import CodecError, SettingError, TrainingJob, UnsupportedSize
from facebench.data.imageset import ImageSet


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


def test_projection_agrees_with_a_plain_pca_product(test_faces: ImageSet) -> None:
    codec = make(0.25)
    images = np.array(test_faces.images[:20])
    basis = codec._basis
    plain = (images.reshape(20, -1) / 255.0 - basis.mean) @ basis.vectors.astype(np.float64).T / 0.25
    symbols = codec.symbols(images)
    assert (np.abs(symbols - plain) < 0.51).mean() > 0.999  # the rest is clamped


def test_the_basis_is_orthonormal_to_the_precision_it_ships_with() -> None:
    vectors = make(1.0)._basis.vectors
    assert np.abs(vectors @ vectors.T - np.eye(len(vectors))).max() < 0.01


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


def test_options_without_meaning_are_refused(small_job: TrainingJob) -> None:
    from dataclasses import replace

    with pytest.raises(SettingError):
        train_eigenfaces(replace(small_job, loss="l2"))


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    from facebench import WeightsError

    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json........")
    with pytest.raises(WeightsError, match="damaged"):
        make(1.0, str(tmp_path / "bad.safetensors"))
    with pytest.raises(WeightsError, match="no weights file"):
        make(1.0, str(tmp_path / "none.safetensors"))


def test_empty_payload_is_refused() -> None:
    with pytest.raises(CodecError):
        make(1.0).decode(b"")
