"""The loop that a user would write: one picture at a time with OpenCV, scikit-image and pytorch-msssim.

It scores exactly what ``facebench run --codecs jpeg`` scores, over whole pictures and over the face, and prints
the means as JSON. Usage: python plain_loop.py PICTURES_FOLDER SIZE
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from pytorch_msssim.ssim import _fspecial_gauss_1d, gaussian_filter
from skimage.metrics import structural_similarity
from torch.nn.functional import avg_pool2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = _fspecial_gauss_1d(11, 1.5).repeat(3, 1, 1, 1)


def scale_weights(size: int) -> torch.Tensor:
    """The weights of as many scales as have room for the window."""
    weights = torch.tensor([weight for scale, weight in enumerate(WEIGHTS) if size >> scale >= 11])
    return weights / weights.sum()


def ms_ssim(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """MS-SSIM over the whole picture and weighted by the mask."""
    a, b = (torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32) / 255) for p in (x, y))
    m = torch.from_numpy(mask[None, None].astype(np.float32))
    weights = scale_weights(len(x))
    whole, face = torch.ones(3), torch.ones(3)
    for scale, weight in enumerate(weights):
        mu1, mu2 = gaussian_filter(a, WINDOW), gaussian_filter(b, WINDOW)
        s11 = gaussian_filter(a * a, WINDOW) - mu1**2
        s22 = gaussian_filter(b * b, WINDOW) - mu2**2
        s12 = gaussian_filter(a * b, WINDOW) - mu1 * mu2
        values = (2 * s12 + 0.0009) / (s11 + s22 + 0.0009)
        if scale == len(weights) - 1:
            values = values * (2 * mu1 * mu2 + 0.0001) / (mu1**2 + mu2**2 + 0.0001)
        inner = m[:, :, 5:-5, 5:-5]
        whole *= values.mean((2, 3))[0].relu() ** weight
        face *= ((values * inner).sum((2, 3)) / inner.sum())[0].relu() ** weight
        a, b, m = avg_pool2d(a, 2), avg_pool2d(b, 2), avg_pool2d(m, 2)
    return float(whole.mean()), float(face.mean())


def main() -> None:
    torch.set_num_threads(1)
    folder, side = Path(sys.argv[1]), int(sys.argv[2])
    size = (side, side)
    rows = []
    for file in sorted(folder.glob("*.jpg")):
        picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        x = cv2.resize(picture[35:183, 15:163], size, interpolation=cv2.INTER_AREA)
        mask = cv2.imread(str(folder / "face_masks" / f"{file.stem}.png"), cv2.IMREAD_GRAYSCALE) > 127
        mask = cv2.resize(mask[35:183, 15:163].astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
        settings = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        payload = cv2.imencode(".jpg", cv2.cvtColor(x, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
        y = cv2.cvtColor(cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        _, ssim_map = structural_similarity(
            x,
            y,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        inner = ssim_map[5:-5, 5:-5]
        multi, multi_face = ms_ssim(x, y, mask)
        difference = x / 255 - y / 255
        l1, l2 = np.abs(difference), difference**2
        rows.append(
            (
                len(payload),
                1 - inner.mean(),
                1 - inner[mask[5:-5, 5:-5]].mean(),
                1 - multi,
                1 - multi_face,
                l1.mean(),
                l1[mask].mean(),
                l2.mean(),
                l2[mask].mean(),
                -10 * math.log10(l2.mean()),
                -10 * math.log10(l2[mask].mean()),
            )
        )
    print(json.dumps(list(np.mean(rows, axis=0))))


if __name__ == "__main__":
    main()
