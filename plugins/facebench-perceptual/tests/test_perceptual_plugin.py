"""The perceptual metrics: they agree with independent computations, and say what they lack."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import convolve2d  # type: ignore[import-untyped]

torch = pytest.importorskip("torch", reason="VIF, LPIPS and DISTS need torch")
pytest.importorskip("facebench_perceptual", reason="not installed: pip install plugins/facebench-perceptual")

from facebench_perceptual import butteraugli, dists, lpips, ssimulacra2, vif
from facebench_perceptual.weights import Tensors, torchmetrics_tensors

from facebench import FacebenchError, WeightsError
from facebench.plan import plan_metrics
from facebench.plugins import load_registry

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float64]

FAMILIES = {
    "vif": ["1-VIF"],
    "ssimulacra2": ["SSIMULACRA2", "SSIMULACRA2-aligned"],
    "butteraugli": ["Butteraugli", "Butteraugli-3norm"],
    "lpips": ["LPIPS"],
    "dists": ["DISTS"],
}
#: What libjxl 0.11.2's program ``ssimulacra2`` prints for drawn_pair(height, width, error).
LIBJXL_SSIMULACRA2 = {
    (64, 64, "grey levels"): 43.9343,
    (64, 64, "blocks"): 27.4378,
    (64, 64, "noise"): 80.5836,
    (128, 128, "grey levels"): 53.4112,
    (128, 128, "blocks"): -54.0012,
    (128, 128, "noise"): 45.4875,
    (57, 90, "blocks"): 28.5666,
    (113, 200, "noise"): 44.9291,
}


def drawn_pair(height: int, width: int, error: str) -> tuple[Pictures, Pictures]:
    """Return two (1, height, width, 3) pictures made by whole-number arithmetic alone, so alike everywhere."""
    row, column = np.mgrid[:height, :width]
    disc = (2 * row - height) ** 2 + (2 * column - width) ** 2 < (min(height, width) * 4 // 5) ** 2
    base = 40 + 120 * row // height + 50 * column // width
    texture = (row * row + 3 * row * column + 7 * column) % 31
    planes = [base + 30 * disc + texture, base - 20 * disc + texture, 190 - base // 2 + 15 * disc + texture]
    original = np.clip(np.stack(planes, axis=2), 0, 255)
    if error == "grey levels":
        spoilt = original // 24 * 24 + 12
    elif error == "blocks":
        spoilt = original[row // 4 * 4, column // 4 * 4]
    else:
        spoilt = original + ((row * 5 + column * column) % 31 - 15)[..., None]
    return original[None].astype(np.uint8), np.clip(spoilt, 0, 255)[None].astype(np.uint8)


def batch(size: int, error: str = "blocks", count: int = 3) -> tuple[Pictures, Pictures]:
    """Return ``count`` different pairs of pictures of one size."""
    original, spoilt = drawn_pair(size, size, error)
    turns = [(original, spoilt), (original[:, ::-1], spoilt[:, ::-1]), (255 - original, 255 - spoilt)]
    return tuple(np.concatenate([turn[index] for turn in turns[:count]]) for index in (0, 1))  # type: ignore[return-value]


def test_each_family_has_to_be_asked_for() -> None:
    registry = load_registry("perceptual")
    assert registry.problems == []
    assert not set(FAMILIES) & {metric.name for metric in plan_metrics(registry)}
    found = plan_metrics(registry, ",".join(FAMILIES))
    assert {m.name: [c.name for c in m.columns] for m in found if m.name in FAMILIES} == FAMILIES


def test_the_descriptions_import_nothing_heavy() -> None:
    code = "import sys, facebench_perceptual as p; p.facebench_metrics(); print({'torch', 'cv2'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("score", [vif.score, ssimulacra2.score])
def test_a_batch_is_scored_as_its_pictures_are_and_masks_change_nothing(
    score: Callable[..., dict[str, Floats]],
) -> None:
    originals, spoilt = batch(64)
    threads = torch.get_num_threads()
    together = score(originals, spoilt, np.ones((3, 64, 64), bool))
    for name, values in together.items():
        assert values.shape == (1, 3) and values.dtype == np.float64
        single = [score(originals[i : i + 1], spoilt[i : i + 1], None)[name][0, 0] for i in range(3)]
        np.testing.assert_allclose(values[0], single, rtol=1e-5)
    assert torch.get_num_threads() == threads


# VIF


def vif_by_the_paper(x: Floats, y: Floats) -> float:
    """Return VIF of two (H, W) planes: Sheikh & Bovik 2006, eq. 10 to 19, for pixels instead of wavelet bands."""
    gained = available = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / (size / 5)) ** 2)
        window = np.outer(taps, taps) / taps.sum() ** 2
        if scale > 1:
            x, y = (convolve2d(z, window, "valid")[::2, ::2] for z in (x, y))
        x_mean, y_mean = convolve2d(x, window, "valid"), convolve2d(y, window, "valid")
        x_variance = np.maximum(convolve2d(x * x, window, "valid") - x_mean**2, 0)
        y_variance = np.maximum(convolve2d(y * y, window, "valid") - y_mean**2, 0)
        covariance = convolve2d(x * y, window, "valid") - x_mean * y_mean
        gain = np.where(x_variance > 1e-10, covariance / (x_variance + 1e-10), 0)
        noise = np.where(gain < 0, y_variance, y_variance - gain * covariance)
        gain = np.maximum(gain, 0)
        gained += np.log10(1 + gain**2 * x_variance / (np.maximum(noise, 1e-10) + 2)).sum()
        available += np.log10(1 + x_variance / 2).sum()
    return gained / available


@pytest.mark.parametrize("size", [41, 64, 128])
@pytest.mark.parametrize("error", ["grey levels", "blocks", "noise"])
def test_vif_is_the_papers(size: int, error: str) -> None:
    originals, spoilt = batch(size, error)
    planes = zip(originals.astype(float), spoilt.astype(float), strict=True)
    expected = [np.mean([vif_by_the_paper(x[..., c], y[..., c]) for c in range(3)]) for x, y in planes]
    np.testing.assert_allclose(vif.score(originals, spoilt, None)["1-VIF"][0], 1 - np.array(expected), atol=1e-4)


def test_vif_ends_where_it_is_defined() -> None:
    originals, spoilt = batch(64)
    assert vif.score(originals, originals, None)["1-VIF"].tolist() == [[0.0] * 3]
    assert np.isnan(vif.score(originals[:, :40], spoilt[:, :40], None)["1-VIF"]).all()
    originals[1, ..., 2] = 77  # no information in this channel
    assert np.isnan(vif.score(originals, spoilt, None)["1-VIF"][0]).tolist() == [False, True, False]


# SSIMULACRA 2


@pytest.mark.parametrize("case", LIBJXL_SSIMULACRA2, ids=str)
def test_ssimulacra2_is_that_of_libjxl(case: tuple[int, int, str]) -> None:
    originals, spoilt = drawn_pair(*case)
    found = ssimulacra2.score(originals, spoilt, None)["SSIMULACRA2"][0, 0]
    assert found == pytest.approx(LIBJXL_SSIMULACRA2[case], abs=0.1)


@pytest.mark.parametrize("error", ["grey levels", "blocks", "noise"])
def test_ssimulacra2_agrees_with_the_program_that_is_installed(error: str, tmp_path: Path) -> None:
    program = shutil.which(os.environ.get("FACEBENCH_SSIMULACRA2", "ssimulacra2"))
    if program is None:
        pytest.skip("no ssimulacra2 of libjxl 0.11 here: Debian 13's libjxl-devtools, or FACEBENCH_SSIMULACRA2=PATH")
    for size in (64, 100, 128):
        originals, spoilt = batch(size, error)
        for original, picture, found in zip(
            originals, spoilt, ssimulacra2.score(originals, spoilt, None)["SSIMULACRA2"][0], strict=True
        ):
            cv2.imwrite(str(tmp_path / "x.png"), original[..., ::-1])
            cv2.imwrite(str(tmp_path / "y.png"), picture[..., ::-1])
            printed = subprocess.check_output([program, tmp_path / "x.png", tmp_path / "y.png"], text=True)
            assert found == pytest.approx(float(printed.split()[0]), abs=0.1)


def test_ssimulacra2_halves_while_sides_are_8_or_more() -> None:
    sides = {7: 0, 8: 2, 16: 3, 56: 4, 57: 5, 64: 5, 112: 5, 113: 6, 128: 6, 1024: 6}
    assert {side: ssimulacra2.scale_count(side, 2000) for side in sides} == sides
    originals, spoilt = batch(64)
    assert np.isnan(ssimulacra2.score(originals[:, :7], spoilt[:, :7], None)["SSIMULACRA2"]).all()


def test_ssimulacra2_weights_differ_only_where_scales_are_missing() -> None:
    for size, alike in ((113, True), (112, False), (64, False)):
        scores = ssimulacra2.score(*batch(size), None)
        assert np.allclose(scores["SSIMULACRA2"], scores["SSIMULACRA2-aligned"]) is alike
    originals, _ = batch(64)
    for values in ssimulacra2.score(originals, originals, None).values():
        assert values.tolist() == [[100.0] * 3]


# Butteraugli


def test_butteraugli_is_what_the_program_prints(tmp_path: Path) -> None:
    program = shutil.which(os.environ.get(butteraugli.VARIABLE, butteraugli.PROGRAM))
    if program is None:
        pytest.skip(
            "no butteraugli_main of libjxl 0.11 here: Debian 13's libjxl-devtools, or FACEBENCH_BUTTERAUGLI=PATH"
        )
    originals, spoilt = batch(64, count=2)
    try:
        scores = butteraugli.score(originals, spoilt, None)
    except butteraugli.ButteraugliError as error:
        pytest.skip(str(error))
    for index in range(2):
        cv2.imwrite(str(tmp_path / "x.ppm"), originals[index, ..., ::-1])
        cv2.imwrite(str(tmp_path / "y.ppm"), spoilt[index, ..., ::-1])
        largest, norm = subprocess.check_output(
            [program, tmp_path / "x.ppm", tmp_path / "y.ppm"], text=True
        ).splitlines()
        assert scores["Butteraugli"][0, index] == pytest.approx(float(largest), rel=1e-5)
        assert scores["Butteraugli-3norm"][0, index] == pytest.approx(float(norm.split()[1]), rel=1e-5)


def test_another_programs_butteraugli_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho 5.0613465309\necho 3-norm: 3.745286\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho usage\nexit 1\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    for path, reason in ((old, "not libjxl 0.11's"), (other, "does not score"), (tmp_path / "none", "install libjxl")):
        monkeypatch.setenv(butteraugli.VARIABLE, str(path))
        with pytest.raises(FacebenchError, match=reason):
            butteraugli.score(*batch(64, count=1), None)


# LPIPS and DISTS: on random weights, as the published ones are the user's


def random_weights(shapes: dict[int, tuple[int, int, int]]) -> Tensors:
    """Return a state dict of convolutions: from their place to outputs, inputs and size of the window."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for place, (outputs, inputs, size) in shapes.items():
        scale = (2 / (inputs * size * size)) ** 0.5
        weights[f"features.{place}.weight"] = scale * torch.randn(outputs, inputs, size, size, generator=generator)
        weights[f"features.{place}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return weights


def convolved(x: Floats, weights: Tensors, place: int, stride: int, padding: int) -> Floats:
    """Return the rectified convolution of (c, h, w), by its definition."""
    kernel, bias = (weights[f"features.{place}.{part}"].double().numpy() for part in ("weight", "bias"))
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    sums = np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True)
    return np.asarray(np.maximum(sums + bias[:, None, None], 0), np.float64)


def test_lpips_is_the_papers() -> None:
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights, linear = random_weights(shapes), torchmetrics_tensors("lpips_models/alex.pth")

    def layers(picture: Pictures) -> list[Floats]:
        x = picture.transpose(2, 0, 1) / 127.5 - 1
        x = (x - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
        found = []
        for place, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if place in (3, 6):
                x = sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
            x = convolved(x, weights, place, stride, padding)
            found.append(x / np.linalg.norm(x, axis=0))
        return found

    originals, spoilt = batch(64, count=2)
    expected = [
        sum(
            np.tensordot(linear[f"lin{i}.model.1.weight"].numpy()[0, :, 0, 0], (x - y) ** 2, 1).mean()
            for i, (x, y) in enumerate(zip(layers(original), layers(picture), strict=True))
        )
        for original, picture in zip(originals, spoilt, strict=True)
    ]
    network = lpips.Lpips(weights, linear)
    np.testing.assert_allclose(network.distances(originals, spoilt), expected, rtol=1e-4)
    assert network.distances(originals, originals).tolist() == [0.0, 0.0]
    network.distances(originals[:, :31, :31], spoilt[:, :31, :31])


def test_dists_is_the_papers() -> None:
    stages = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    channels = (3, 64, 128, 256, 512, 512)
    shapes = {
        place: (channels[k + 1], channels[k] if place == stage[0] else channels[k + 1], 3)
        for k, stage in enumerate(stages)
        for place in stage
    }
    weights, likeness = random_weights(shapes), torchmetrics_tensors("dists_models/weights.pt")

    def features(picture: Pictures) -> list[Floats]:
        x = picture.transpose(2, 0, 1) / 255
        found = [x]
        x = (x - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None]
        window = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
        for k, stage in enumerate(stages):
            if k:
                squares = sliding_window_view(np.pad(x * x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
                x = np.sqrt((squares[:, ::2, ::2] * window).sum(axis=(3, 4)) + 1e-12)
            for place in stage:
                x = convolved(x, weights, place, 1, 1)
            found.append(x)
        return found

    originals, spoilt = batch(32, count=1)
    alpha, beta = (likeness[name].numpy().ravel() for name in ("alpha", "beta"))
    terms = []
    for x, y in zip(features(originals[0]), features(spoilt[0]), strict=True):
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        covariance = ((x - x.mean(1, keepdims=True)) * (y - y.mean(1, keepdims=True))).mean(1)
        mean = (2 * x.mean(1) * y.mean(1) + 1e-6) / (x.mean(1) ** 2 + y.mean(1) ** 2 + 1e-6)
        terms.append((mean, (2 * covariance + 1e-6) / (x.var(1) + y.var(1) + 1e-6)))
    means, deviations = (np.concatenate([term[i] for term in terms]) for i in (0, 1))
    expected = 1 - (means @ alpha + deviations @ beta) / (alpha.sum() + beta.sum())
    network = dists.Dists(weights, likeness)
    assert network.distances(originals, spoilt)[0] == pytest.approx(expected, abs=1e-5)
    assert network.distances(originals, originals)[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("score", "variable", "file"),
    [
        (lpips.score, "FACEBENCH_LPIPS_ALEXNET", "alexnet-owt-7be5be79.pth"),
        (dists.score, "FACEBENCH_DISTS_VGG16", "vgg16-397923af.pth"),
    ],
)
def test_without_the_published_weights_one_line_says_what_to_do(
    score: Callable[..., dict[str, Floats]],
    variable: str,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, other)
    for given, reason in ((None, "no weights of"), (tmp_path / "none", "cannot read"), (other, "its SHA-256 begins")):
        if given is not None:
            monkeypatch.setenv(variable, str(given))
        with pytest.raises(WeightsError, match=reason) as caught:
            score(*batch(64), None)
        message = str(caught.value)
        assert file in message and variable in message and "\n" not in message
