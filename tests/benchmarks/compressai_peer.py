"""Runs CompressAI's own ``bench`` or ``eval_model`` with metrics that take pictures of any size.

Started with the interpreter of CompressAI's environment, by ``whole_run.py``:

    compressai_peer.py bench ARGUMENTS           as python -m compressai.utils.bench
    compressai_peer.py eval_model ARGUMENTS      as python -m compressai.utils.eval_model
    compressai_peer.py checkpoint MODEL FILE     writes a model with random weights

As they are, both refuse MS-SSIM below 161 pixels; here it takes as many scales as have room for the window. ``bench``
offers SSIM, L1 and L2 (peak 1) beside it.
"""

from __future__ import annotations

import importlib
import sys

import torch
from pytorch_msssim import ssim
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch.nn.functional import avg_pool2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = _fspecial_gauss_1d(11, 1.5).repeat(3, 1, 1, 1)


def ms_ssim(x: torch.Tensor, y: torch.Tensor, data_range: float = 255.0) -> torch.Tensor:
    """pytorch-msssim's ``ms_ssim`` of (N, 3, H, W) with the first weights, of sum 1, where not all scales fit."""
    weights = x.new_tensor([weight for scale, weight in enumerate(WEIGHTS) if min(x.shape[-2:]) >> scale >= 11])
    product = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(weights / weights.sum()):
        similarity, structure = _ssim(x, y, data_range=data_range, win=WINDOW, size_average=False)
        product *= torch.relu(similarity if scale == len(weights) - 1 else structure) ** weight
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return product.mean()


def bench(arguments: list[str]) -> None:
    codecs = importlib.import_module("compressai.utils.bench.codecs")
    codecs._metric_functions.update(
        {
            "ms-ssim-rgb": lambda a, b, peak: ms_ssim(a, b, data_range=peak).item(),
            "ssim-rgb": lambda a, b, peak: ssim(a, b, data_range=peak).item(),
            "l1-rgb": lambda a, b, peak: (a - b).abs().mean().item() / peak,
            "l2-rgb": lambda a, b, peak: ((a - b) ** 2).mean().item() / peak**2,
        }
    )
    importlib.import_module("compressai.utils.bench.__main__").main(arguments)


def eval_model(arguments: list[str]) -> None:
    module = importlib.import_module("compressai.utils.eval_model.__main__")
    module.ms_ssim = ms_ssim
    module.main(arguments)


def checkpoint(model: str, file: str) -> None:
    from compressai.zoo import image_models

    torch.manual_seed(0)
    torch.save(image_models[model](quality=1, pretrained=False).state_dict(), file)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "checkpoint":
        checkpoint(*rest)
    else:
        {"bench": bench, "eval_model": eval_model}[what](rest)
