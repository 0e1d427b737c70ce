"""Reconstruction losses against numpy, scikit-image, pytorch-msssim and facebench's own metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facebench_codecs.losses import TERMS, named_loss
from pytorch_msssim import ms_ssim, ssim
from scipy.spatial.distance import cosine
from skimage.metrics import structural_similarity

from facebench import SettingError
from facebench.metrics.structural import score


def pictures(side: int, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures and others that resemble them, (N, 3, S, S) in [0, 1]: multiples of 1/255."""
    generator = torch.Generator().manual_seed(side)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1)
    other = (picture + 0.1 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)
    return (picture * 255).round() / 255, (other * 255).round() / 255


def faces(side: int, count: int = 4) -> torch.Tensor:
    """Return masks (N, S, S), each another ellipse."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radius = torch.linspace(0.2, 0.45, count)[:, None, None] * side
    return (((rows - side / 2) / radius) ** 2 + ((columns - 0.6 * side) / (0.8 * radius)) ** 2 < 1).float()


@pytest.mark.parametrize("side", [16, 64])
def test_l1_and_l2_are_means_over_the_face(side: int) -> None:
    picture, other = pictures(side)
    masks = faces(side)
    difference = (other - picture).numpy().astype(np.float64)
    for name, values in (("l1", np.abs(difference)), ("l2", difference**2)):
        assert float(named_loss(name)(other, picture)) == pytest.approx(values.mean(), rel=1e-5)
        inside = [v.mean(0)[m.numpy() > 0].mean() for v, m in zip(values, masks, strict=True)]
        assert float(named_loss(name)(other, picture, masks)) == pytest.approx(np.mean(inside), rel=1e-5)


@pytest.mark.parametrize(("name", "taps"), [("ssim", 11), ("ssim9", 9)])
def test_ssim_is_pytorch_msssims(name: str, taps: int) -> None:
    picture, other = pictures(64)
    wanted = 1 - ssim(other, picture, data_range=1.0, win_size=taps)
    assert float(named_loss(name)(other, picture)) == pytest.approx(float(wanted), abs=1e-5)


def test_ssim_over_the_face_is_the_mean_of_scikit_images_map_there() -> None:
    picture, other = pictures(64)
    masks = faces(64)
    wanted = []
    for p, o, m in zip(picture.double(), other.double(), masks, strict=True):
        _, full = structural_similarity(
            p.numpy(), o.numpy(), channel_axis=0, data_range=1.0, full=True,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        wanted.append(1 - full.mean(0)[5:-5, 5:-5][m.numpy()[5:-5, 5:-5] > 0].mean())
    assert float(named_loss("ssim")(other, picture, masks)) == pytest.approx(np.mean(wanted), abs=1e-5)


def test_five_scales_are_pytorch_msssims() -> None:
    picture, other = pictures(176)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # whose sum is 1.0001
    wanted = 1 - ms_ssim(other, picture, data_range=1.0, weights=list(weights / weights.sum()))
    assert float(named_loss("msssim")(other, picture)) == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_fewer_scales_are_those_of_the_metric(side: int) -> None:
    picture, other = pictures(side)
    levels = [(x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy() for x in (picture, other)]
    wanted = score(levels[0], levels[1], None)["1-MS-SSIM"][0].mean()
    assert float(named_loss("msssim")(other, picture)) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("name", TERMS)
def test_only_the_face_counts(name: str) -> None:
    picture, other = pictures(64)
    masks = torch.zeros(4, 64, 64)
    masks[:, 12:40, 2:18] = 1
    # Windows reach over the face's edge by half their side, and at the third scale by four times that.
    reach = torch.zeros(4, 1, 64, 64)
    reach[:, :, :, : 18 + (28 if name == "msssim" else 5)] = 1
    changed = torch.where(reach > 0, other, 1 - other)
    loss = named_loss(name)
    assert float(loss(changed, picture, masks)) == pytest.approx(float(loss(other, picture, masks)), abs=1e-6)
    assert float(loss(changed, picture)) != pytest.approx(float(loss(other, picture)), abs=1e-3)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_finite_on_flat_pictures_and_without_a_face(name: str, masked: bool) -> None:
    flat = torch.full((2, 3, 64, 64), 0.5, requires_grad=True)
    masks = torch.zeros(2, 64, 64) if masked else None
    loss = named_loss(name)(flat, torch.zeros(2, 3, 64, 64), masks)
    loss.backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()
    if masked:
        assert float(loss.detach()) == 0


def test_terms_are_weighted_and_summed() -> None:
    picture, other = pictures(64)
    each = {name: float(named_loss(name)(other, picture)) for name in TERMS}
    assert float(named_loss("ssim + 4*l1")(other, picture)) == pytest.approx(each["ssim"] + 4 * each["l1"], rel=1e-5)
    assert float(named_loss("0.5*l2@255+msssim")(other, picture)) == pytest.approx(
        0.5 * 255**2 * each["l2"] + each["msssim"], rel=1e-5
    )
    assert float(named_loss("l1@255")(other, picture)) == pytest.approx(255 * each["l1"], rel=1e-5)
    assert float(named_loss("ssim@255")(other, picture)) == pytest.approx(each["ssim"], rel=1e-5)


@pytest.mark.parametrize("text", ["", "l3", "l1+", "-1*l1", "2l1", "l1@1", "1e9*l1", "l1*2"])
def test_what_is_no_loss_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="write a sum such as"):
        named_loss(text)


def test_perceptual_is_the_mean_cosine_distance_of_features() -> None:
    picture, other = pictures(16)
    masks = torch.zeros(4, 16, 16)
    masks[:, 4:12, :8] = 1
    weights = torch.randn(5, 3, 1, 1, generator=torch.Generator().manual_seed(1))

    def features(values: torch.Tensor) -> list[torch.Tensor]:
        fine = torch.nn.functional.conv2d(values - 0.5, weights)
        return [fine, 7 * torch.nn.functional.avg_pool2d(fine, 4)]

    def wanted(inside: slice, across: slice, block: int) -> float:
        means = []
        for one, theirs in zip(features(picture), features(other), strict=True):
            rows = slice(inside.start * one.shape[2] // block, inside.stop * one.shape[2] // block)
            columns = slice(across.start * one.shape[3] // block, across.stop * one.shape[3] // block)
            ours, others = (f[:, :, rows, columns].permute(0, 2, 3, 1).reshape(-1, 5).numpy() for f in (one, theirs))
            means.append(np.mean([2 * cosine(a, b) for a, b in zip(ours, others, strict=True)]))
        return float(np.mean(means))

    loss = named_loss("2*perceptual", features)
    assert float(loss(other, picture)) == pytest.approx(2 * wanted(slice(0, 16), slice(0, 16), 16), rel=1e-4)
    assert float(loss(other, picture, masks)) == pytest.approx(2 * wanted(slice(4, 12), slice(0, 8), 16), rel=1e-4)
    assert float(loss(picture, picture)) == pytest.approx(0, abs=1e-6)
