"""The papers' tables beside ours: sections 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.summary import FACE, WHOLE
from facebench.report.text import NONE, byte_count, markdown_table, plain
from facebench.study.evidence import Evidence
from facebench.study.papers import JPEG, METRICS, PAPER_JPEG_L1, PAPER_STEPS, TABLE_1, TABLE_2


def table_1(evidence: Evidence) -> str:
    """Return the student paper's Table 1 beside ours, in its scaling and in ours, with why they differ."""
    rows = []
    for row in TABLE_1:
        mask = FACE if row.face else WHOLE
        ssim, ms_ssim, mae, mse = (evidence.as_published.mean(row.point, name, mask) for name in METRICS)
        ours = evidence.as_published.row(row.point, mask)
        cells = [row.name, NONE if ours is None else byte_count(ours.bytes)]
        for theirs, value in ((row.ssim, ssim), (row.ms_ssim, ms_ssim), (row.l1, 10 * mae), (row.l2, 100 * mse)):
            cells += [plain(theirs, 3), plain(value, 3)]
        rows.append([*cells, plain(mae, 4), plain(mse, 5)])
    headers = ["", "bytes"]
    for name in ("1-SSIM", "1-MS-SSIM", "l1", "l2"):
        headers += [f"{name}, paper", "ours"]
    table = markdown_table([*headers, "MAE", "MSE"], rows)
    return "\n\n".join(
        (
            "The paper's l1 and l2 look like 10 x MAE and 100 x MSE (its text swaps the names); ours are in that "
            "scaling, and in ours at the right. `+Mask`: over face pixels. The learned codecs are the ones trained "
            "for the paper's epochs, "
            'and their payload is the latent as float32, which is what the paper counts as "512 data points": 2,048 '
            "bytes, more than the JPEG file beside it. 1-MS-SSIM is of the three scales that a side of 64 allows; of "
            "how many the paper's is, it does not say.",
            table,
            "Why ours differ:",
            _reasons(evidence),
        )
    )


def _reasons(evidence: Evidence) -> str:
    """Return why each row of Table 1 differs, with what was measured of it."""
    steps = {codec: evidence.cards.get(f"{codec}:weights=paper", {}).get("steps") for codec in ("cvae", "dcgan")}
    schedule = {
        codec: f"{count:,} steps, the same epochs of fewer faces, where the paper took about {PAPER_STEPS[codec]:,}"
        for codec, count in steps.items()
        if count is not None
    }
    jpeg = evidence.as_published.mean(JPEG, "L1")
    reasons = {
        "all": "ours are the centre 148 of each picture, not the whole frame squashed, and people whom no training saw",
        "CVAE": schedule.get("cvae", "no card tells its steps"),
        "DCGAN": schedule.get("dcgan", "no card tells its steps"),
        "CVAE+Mask, DCGAN+Mask": "the paper does not say how it masks: section 4 tries the ways",
        "JPEG": "the paper's row cannot be of 64x64 pictures in [0, 1]: there quality 85 has a MAE of "
        f"{plain(jpeg, 4)}, {plain(10 * jpeg, 3)} in its scaling, where it prints {PAPER_JPEG_L1}",
        "JPEG+Mask": "the paper's l1 and l2 are those of its CVAE+Mask, to the digit",
    }
    return "\n".join(f"- **{name}**: {reason}." for name, reason in reasons.items())


def table_2(evidence: Evidence) -> str:
    """Return Table 2 of Toledo & Antonelo beside ours, and how the two orders agree."""
    measured = evidence.as_published
    rows, every = [], []
    for row in TABLE_2:
        ours = (
            measured.mean(row.point, "1-SSIM", FACE),
            measured.mean(row.point, "1-MS-SSIM", FACE),
            measured.mean(row.point, "LPIPS"),
            measured.mean(row.point, "1-VIF"),
            10 * measured.mean(row.point, "L1", FACE),
            10 * _mean_root(measured.values(row.point, "L2", FACE)),
        )
        cells = [f"H{row.number}", row.loss, "yes" if row.masked else "no"]
        for theirs, value in zip(row.scores, ours, strict=True):
            cells += [plain(theirs, 3), plain(value, 3)]
        rows.append(cells)
        every.append(ours)
    headers = ["", "loss", "mask in training"]
    names = ("1-SSIM", "1-MS-SSIM", "LPIPS", "1-VIF", "l1", "l2")
    for name in names:
        headers += [f"{name}, paper", "ours"]
    theirs_by_column = zip(*(row.scores for row in TABLE_2), strict=True)
    agreements = [
        f"{name} {plain(agreement, 2)}"
        for name, theirs, ours in zip(names, theirs_by_column, zip(*every, strict=True), strict=True)
        if not math.isnan(agreement := _rank_agreement(theirs, ours))
    ]
    return "\n\n".join(
        (
            "Toledo & Antonelo scored 144x144 pictures over face pixels, with l1 = 10 x MAE and l2 = 10 x RMSE of "
            "each picture. Ours are 64x64 pictures, a network of a quarter of the widths and far fewer steps (section "
            "6), scored alike; but 1-VIF and LPIPS are over whole pictures, as they have no value over a face, and "
            "theirs are of pictures into which the input's own background was pasted, which no decoder has. LPIPS "
            "stands only where its weights were at hand.",
            markdown_table(headers, rows, left=(0, 1, 2)),
            "Rank correlation (Spearman) of the ten with theirs, 1 for the same order: "
            f"{', '.join(agreements) or 'not measured'}.",
        )
    )


def _mean_root(squares: NDArray[np.float64]) -> float:
    there = squares[~np.isnan(squares)]
    return float(np.sqrt(there).mean()) if there.size else math.nan


def _rank_agreement(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN if a value is missing."""
    import pandas as pd

    if any(map(math.isnan, other)):
        return math.nan
    return float(pd.Series(one).rank().corr(pd.Series(other).rank()))
