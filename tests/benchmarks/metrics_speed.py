"""Times facebench's default metrics against pytorch-msssim, side by side.

Usage: python tests/benchmarks/metrics_speed.py CELEBA [REPEATS]

facebench: SSIM, MS-SSIM, L1, L2 and PSNR, each over the whole picture and over the face. pytorch-msssim: SSIM and
MS-SSIM of the same definitions (scales, weights), composed of its own ``_ssim`` because its ``ms_ssim`` refuses
pictures of 160 pixels and below, and computes again what its ``ssim`` has; (a) over whole pictures only, (b) over
the face too. Both start from uint8 pictures; pytorch-msssim gets the batch size that is fastest for it. One thread:
each in one process. All cores: torch with a thread per core, facebench with a process per core, as ``facebench run``
has them. Ratios are facebench's time / pytorch-msssim's, medians over alternating repeats.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

# Pictures a measurement scores, by size: a shard, or fewer where they are large.
PICTURES = {64: 128, 128: 64, 512: 8}
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_loaded: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}


def faces(celeba: str, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first test faces, the same as JPEGs of quality 50, and their masks."""
    if size not in _loaded:
        import cv2
        import numpy as np

        from facebench.data.choose import DataOptions, choose_source, prepare_chosen
        from facebench.plugins import load_registry

        registry = load_registry("")
        options = DataOptions(celeba, "test", size=size, limit=PICTURES[size])
        images = prepare_chosen(choose_source(options, registry), options, registry)
        assert images.masks is not None
        originals = np.array(images.images)
        files = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1] for picture in originals]
        decoded = np.stack([cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files]).astype(np.uint8)
        _loaded[size] = originals, decoded, np.array(images.masks)
    return _loaded[size]


def facebench_scores(celeba: str, size: int) -> np.ndarray:
    """Return SSIM and MS-SSIM by facebench's whole default pass, (2, variants, n)."""
    import numpy as np

    from facebench.metrics import pixel, structural

    arrays = faces(celeba, size)
    pixel.score(*arrays)
    return 1 - np.stack(list(structural.score(*arrays).values()))


def msssim_scores(celeba: str, size: int, batch: int, *, masked: bool) -> np.ndarray:
    """Return SSIM and MS-SSIM by the parts of pytorch-msssim, (2, variants, n)."""
    import numpy as np
    import torch

    originals, decoded, masks = faces(celeba, size)
    results = []
    with torch.inference_mode():
        for start in range(0, len(originals), batch):
            part = slice(start, start + batch)
            x, y = (torch.from_numpy(p[part]).permute(0, 3, 1, 2).float().contiguous() for p in (originals, decoded))
            results.append(_compose(x, y, torch.from_numpy(masks[part])[:, None].float() if masked else None))
    return np.concatenate(results, axis=2)


def _compose(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None) -> np.ndarray:
    import torch
    from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
    from torch.nn.functional import avg_pool2d

    from facebench.metrics.structural import scale_count, scale_weights

    scales = scale_count(*x.shape[2:])
    window = _fspecial_gauss_1d(11, 1.5).repeat(3, 1, 1, 1)
    ssim, products = [], []
    for scale, weight in enumerate(scale_weights(scales)):
        # Its _ssim returns means only; the maps that the face is averaged over are taken as in plain_loop.py.
        means = [_ssim(x, y, 255, window, False)] if mask is None else _masked_means(x, y, mask, window)
        if not scale:
            ssim = [similarity.mean(1) for similarity, _ in means]
            products = [torch.ones_like(similarity) for similarity, _ in means]
        for product, pair in zip(products, means, strict=True):
            product *= torch.relu(pair[0 if scale == scales - 1 else 1]) ** float(weight)
        if scale < scales - 1:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
            mask = None if mask is None else avg_pool2d(mask, 2)
    return torch.stack([torch.stack(ssim), torch.stack([product.mean(1) for product in products])]).numpy()


def _masked_means(
    x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor, window: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    from pytorch_msssim.ssim import gaussian_filter

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu1, mu2 = gaussian_filter(x, window), gaussian_filter(y, window)
    squared1, squared2, product = mu1.pow(2), mu2.pow(2), mu1 * mu2
    variance1 = gaussian_filter(x * x, window) - squared1
    variance2 = gaussian_filter(y * y, window) - squared2
    covariance = gaussian_filter(x * y, window) - product
    structure = (2 * covariance + c2) / (variance1 + variance2 + c2)
    similarity = (2 * product + c1) / (squared1 + squared2 + c1) * structure
    inner = mask[:, :, 5:-5, 5:-5]
    area = inner.sum((2, 3))
    whole = similarity.mean((2, 3)), structure.mean((2, 3))
    return [whole, ((similarity * inner).sum((2, 3)) / area, (structure * inner).sum((2, 3)) / area)]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(celeba: str, size: int, repeats: int, threads: int) -> None:
    """Print one size's rows with ``threads`` cores."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    count = len(faces(celeba, size)[0])
    functions: dict[str, Callable[[], object]] = {}
    for name, masked in (("(a) whole pictures", False), ("(b) both variants", True)):

        def peer(batch: int, masked: bool = masked) -> np.ndarray:
            return msssim_scores(celeba, size, batch, masked=masked)

        peer(1)
        trials = {b: min(seconds(lambda b=b: peer(b)) for _ in range(2)) for b in BATCHES if b <= count}  # type: ignore[misc]
        best = min(trials, key=lambda b: trials[b])
        functions[f"{name}, batch {best}"] = lambda peer=peer, best=best: peer(best)  # type: ignore[misc]
    # Processes of one thread each; libraries read that when they are started.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    with ProcessPoolExecutor(threads, get_context("spawn")) as pool:

        def ours() -> list[np.ndarray]:
            return list(pool.map(facebench_scores, [celeba] * threads, [size] * threads))

        apart = np.abs(ours()[0] - msssim_scores(celeba, size, 4, masked=True)).max(axis=(1, 2))
        print(f"{size}: largest difference: SSIM {apart[0]:.1e}, MS-SSIM {apart[1]:.1e}", flush=True)
        own: list[float] = []
        theirs: dict[str, list[float]] = {name: [] for name in functions}
        ours()
        for _ in range(repeats):
            # Each process scores as many pictures as torch does with all its threads.
            own.append(1000 * seconds(ours) / threads / count)
            for name, function in functions.items():
                theirs[name].append(1000 * seconds(function) / count)
    for name, values in theirs.items():
        ratio = median(a / b for a, b in zip(own, values, strict=True))
        print(
            f"{size}, {'one thread' if threads == 1 else f'{threads} cores'}, {name}: ratio {ratio:.2f} "
            f"({median(own):.3f} / {median(values):.3f} ms a picture)",
            flush=True,
        )


def main() -> None:
    celeba, repeats = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 9
    for threads in sorted({1, os.cpu_count() or 1}):
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        for size in PICTURES:
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                alone.submit(compare, celeba, size, repeats, threads).result()


if __name__ == "__main__":
    main()
