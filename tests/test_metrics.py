"""How the built-in metrics behave: identical pictures, extremes, masks, small and odd sizes, batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facebench.metrics import METRICS, SIZE_COLUMNS, gaussian, pixel, structural
from facebench.plugins import load_object, load_registry

Pictures = NDArray[np.uint8]


def pair(count: int = 3, height: int = 64, width: int = 64, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Coarse random pictures, and the same with noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (count, -(-height // 8), -(-width // 8), 3))
    originals = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    noisy = originals + rng.integers(-19, 20, originals.shape)
    return originals.astype(np.uint8), noisy.astype(np.uint8)


def disc(count: int, height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    mask = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) * 0.35) ** 2
    return np.broadcast_to(mask, (count, height, width))


def score_all(
    originals: Pictures, decoded: Pictures, masks: NDArray[np.bool_] | None
) -> dict[str, NDArray[np.float64]]:
    results: dict[str, NDArray[np.float64]] = {}
    for spec in METRICS:
        results |= load_object(spec.target)(originals, decoded, masks)
    return results


def test_every_declared_column_is_returned_with_one_row_or_two() -> None:
    declared = [column.name for spec in METRICS for column in spec.columns]
    for masks, rows in ((None, 1), (disc(3, 64, 64), 2)):
        results = score_all(*pair(3), masks)
        assert list(results) == declared == ["1-SSIM", "1-MS-SSIM", "L1", "L2", "PSNR"]
        assert {(a.shape, a.dtype) for a in results.values()} == {((rows, 3), np.dtype(np.float64))}


def test_metrics_are_registered_through_the_entry_point() -> None:
    assert load_registry().metrics["structural"] == METRICS[0]


def test_definitions_are_one_line_without_table_signs() -> None:
    for column in [*(column for spec in METRICS for column in spec.columns), *SIZE_COLUMNS]:
        assert column.definition and not set(column.definition) & set("\n|")


def test_descriptions_import_neither_numpy_nor_torch() -> None:
    code = "import sys, facebench.metrics; print([m for m in ('numpy', 'torch', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_scoring_imports_no_torch() -> None:
    code = "import sys, facebench.metrics.structural, facebench.metrics.pixel; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("size", [11, 64, 128, 176])
def test_identical_pictures_score_best(size: int) -> None:
    originals, _ = pair(2, size, size)
    originals[1] = 0
    results = score_all(originals, originals.copy(), np.ones((2, size, size), bool))
    for name in ("1-SSIM", "1-MS-SSIM", "L1", "L2"):
        np.testing.assert_allclose(results[name], 0, atol=1e-6)
    np.testing.assert_array_equal(results["PSNR"], pixel.PSNR_CAP)


def test_black_against_white_scores_worst() -> None:
    black = np.zeros((1, 64, 64, 3), np.uint8)
    results = score_all(black, black + 255, None)
    # Both flat: the contrast-structure term is 1, the luminance term C1 / (1 + C1), at the last of three scales only.
    luminance = 1e-4 / (1 + 1e-4)
    assert results["1-SSIM"].item() == pytest.approx(1 - luminance, abs=1e-6)
    assert results["1-MS-SSIM"].item() == pytest.approx(1 - luminance ** (0.3001 / 0.6305), abs=1e-5)
    assert results["L1"].item() == 1
    assert results["L2"].item() == 1
    assert results["PSNR"].item() == 0


def test_a_negative_picture_is_worse_than_no_likeness_and_ms_ssim_stays_finite() -> None:
    originals, _ = pair(1)
    results = score_all(originals, 255 - originals, None)
    assert results["1-SSIM"].item() > 1
    assert results["1-MS-SSIM"].item() == 1


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (45, 67), (128, 128)])
def test_a_mask_of_all_pixels_equals_no_mask(size: tuple[int, int]) -> None:
    results = score_all(*pair(3, *size), np.ones((3, *size), bool))
    for values in results.values():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values[1], values[0], rtol=1e-5, atol=1e-6)


def test_an_empty_mask_is_not_available_and_spoils_no_other_picture() -> None:
    originals, decoded = pair(3)
    masks = disc(3, 64, 64).copy()
    expected = score_all(originals, decoded, masks)
    masks[1] = False
    for name, values in score_all(originals, decoded, masks).items():
        np.testing.assert_array_equal(values[0], expected[name][0])
        assert np.isnan(values[1, 1])
        np.testing.assert_array_equal(values[1, [0, 2]], expected[name][1, [0, 2]])


def test_a_mask_outside_all_window_centres_is_not_available_for_structure_only() -> None:
    masks = np.zeros((1, 64, 64), bool)
    masks[:, :5] = True
    results = score_all(*pair(1), masks)
    assert np.isnan([results["1-SSIM"][1, 0], results["1-MS-SSIM"][1, 0]]).all()
    assert np.isfinite([results[name][1, 0] for name in ("L1", "L2", "PSNR")]).all()


def test_masked_pixel_scores_ignore_the_background() -> None:
    originals, decoded = pair(2)
    masks = disc(2, 64, 64)
    elsewhere = np.where(masks[..., None], decoded, 255 - decoded)
    for name, values in pixel.score(originals, elsewhere, masks).items():
        np.testing.assert_array_equal(values[1], pixel.score(originals, decoded, masks)[name][1])


@pytest.mark.parametrize("size", [(10, 10), (10, 64), (64, 10)])
def test_pictures_too_small_for_the_window_have_no_structure_score(size: tuple[int, int]) -> None:
    results = score_all(*pair(2, *size), np.ones((2, *size), bool))
    assert np.isnan([results["1-SSIM"], results["1-MS-SSIM"]]).all()
    assert np.isfinite([results["L1"], results["L2"], results["PSNR"]]).all()


@pytest.mark.parametrize(
    "side, scales",
    [(10, 0), (11, 1), (21, 1), (22, 2), (64, 3), (87, 3), (88, 4), (128, 4), (175, 4), (176, 5), (999, 5)],
)
def test_scales_are_as_many_as_the_window_fits(side: int, scales: int) -> None:
    assert structural.scale_count(side, 2000) == structural.scale_count(2000, side) == scales
    if scales:
        assert structural.scale_weights(scales).sum() == pytest.approx(1, abs=1e-12)


def test_a_picture_of_one_scale_has_equal_ssim_and_ms_ssim() -> None:
    results = structural.score(*pair(3, 20, 21), disc(3, 20, 21))
    np.testing.assert_allclose(results["1-SSIM"], results["1-MS-SSIM"], atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_batch_scores_as_its_pictures_one_by_one(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    originals, decoded = pair(11, *size)
    masks = disc(11, *size)
    batch = score_all(originals, decoded, masks)
    for budget in (1, 300_000):  # chunks of one picture, and of a few
        monkeypatch.setattr(structural, "_BUDGET", budget)
        monkeypatch.setattr(pixel, "_BUDGET", budget)
        for name, values in score_all(originals, decoded, masks).items():
            np.testing.assert_allclose(values, batch[name], rtol=0, atol=1e-6)
    single = [score_all(originals[i : i + 1], decoded[i : i + 1], masks[i : i + 1]) for i in range(11)]
    for name, values in batch.items():
        np.testing.assert_allclose(values, np.concatenate([s[name] for s in single], axis=1), rtol=0, atol=1e-6)


def test_no_pictures_give_no_scores() -> None:
    empty = np.zeros((0, 64, 64, 3), np.uint8)
    for values in score_all(empty, empty, np.zeros((0, 64, 64), bool)).values():
        assert values.shape == (2, 0)


def test_read_only_memory_mapped_and_strided_pictures_are_read_and_left_alone(tmp_path: Path) -> None:
    originals, decoded = pair(4)
    masks = disc(4, 64, 64)
    expected = score_all(originals, decoded, masks)
    mapped = []
    for name, array in (("originals", originals), ("decoded", decoded), ("masks", masks)):
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    # Mirrored arrays are views with negative strides.
    mirrored = [array[:, :, ::-1] for array in mapped]
    for name, values in expected.items():
        np.testing.assert_array_equal(score_all(*mapped)[name], values)
        np.testing.assert_allclose(score_all(*mirrored)[name], values, atol=1e-6)
    np.testing.assert_array_equal(mapped[0], originals)


@pytest.mark.parametrize("score", [structural.score, pixel.score])
def test_arguments_of_another_shape_or_type_are_refused(score) -> None:  # type: ignore[no-untyped-def]
    originals, decoded = pair(2)
    masks = np.ones((2, 64, 64), bool)
    with pytest.raises(ValueError, match="originals must be"):
        score(originals / 255, decoded, None)
    with pytest.raises(ValueError, match="decoded must be"):
        score(originals, decoded[..., 0], None)
    with pytest.raises(ValueError, match="differ in shape"):
        score(originals, decoded[:1], None)
    with pytest.raises(ValueError, match="masks must be"):
        score(originals, decoded, masks[:1])
    with pytest.raises(ValueError, match="masks must be"):
        score(originals, decoded, masks.astype(np.uint8))


@pytest.mark.parametrize("length", [11, 42, 43, 64, 128, 1000])
def test_valid_spans_cover_every_window_position_once(length: int) -> None:
    spans = gaussian.valid_spans(length)
    assert [p for start, stop in spans for p in range(start, stop)] == list(range(length - 10))
    assert all(0 < stop - start <= 64 for start, stop in spans)
