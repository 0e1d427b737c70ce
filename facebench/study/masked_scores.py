"""What masking does to scores: section 4, why the paper's MSE rises while its MAE and SSIM fall."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench.metrics import pixel, structural
from facebench.report.text import counted, markdown_table, number, plain
from facebench.study.evidence import Evidence
from facebench.study.papers import METRICS, TABLE_1

Scores = Mapping[str, NDArray[np.float64]]

WHOLE_PICTURE, FACE_ALONE = "the whole picture", "face pixels alone (ours)"
BACKGROUND = "the rest alone"
_BOTH_BLACK, _ORIGINAL_BLACK = "both blacked out, all pixels count", "the original alone blacked out"
_BLACK_BY_FACE = "both blacked out; MSE per face pixel"
_WAYS = (WHOLE_PICTURE, FACE_ALONE, BACKGROUND, _BOTH_BLACK, _BLACK_BY_FACE, _ORIGINAL_BLACK)


@dataclass(frozen=True)
class MaskedScores:
    """Scores of each picture, (N,), by way of masking and metric, of one operating point.

    ``detail`` is what is left of the originals' differences between neighbouring pixels, 1 for all of them.
    """

    name: str
    point: str
    ways: Mapping[str, Scores]
    detail: float

    def mean(self, way: str, metric: str) -> float:
        """Return the mean over the pictures that have a value, NaN if none has."""
        values = self.ways[way][metric]
        there = values[~np.isnan(values)]
        return float(there.mean()) if there.size else math.nan

    def concentration(self, way: str) -> float:
        """Return the mean of RMSE / MAE of the pictures that have any error: 1 if all pixels have the same."""
        mae = self.ways[way]["L1"]
        wrong = mae > 0
        return float((np.sqrt(self.ways[way]["L2"][wrong]) / mae[wrong]).mean()) if wrong.any() else math.nan

    def rises(self, way: str, metric: str) -> bool:
        """Return whether masking in that way raises ``metric`` above that of whole pictures."""
        return self.mean(way, metric) > self.mean(WHOLE_PICTURE, metric)


def masked_scores(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return 1-SSIM, 1-MS-SSIM, L1 and L2 of each picture, (N,), in each way to mask it.

    ``originals`` and ``decoded`` are (N, H, W, 3), ``masks`` (N, H, W).
    """
    visible = masks[..., None].astype(np.uint8)
    share = np.maximum(masks.mean((1, 2)), 1e-9)
    faces = _scored(originals, decoded, masks)
    black = _scored(originals * visible, decoded * visible, None)[0]
    return {
        WHOLE_PICTURE: faces[0],
        FACE_ALONE: faces[1],
        BACKGROUND: _scored(originals, decoded, ~masks)[1],
        _BOTH_BLACK: black,
        _BLACK_BY_FACE: {**black, "L2": black["L2"] / share},
        _ORIGINAL_BLACK: _scored(originals * visible, decoded, None)[0],
    }


def _scored(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> list[dict[str, NDArray[np.float64]]]:
    scores = {**structural.score(originals, decoded, masks), **pixel.score(originals, decoded, masks)}
    return [{name: scores[name][variant] for name in METRICS} for variant in range(1 if masks is None else 2)]


def scores_of(evidence: Evidence) -> list[MaskedScores]:
    """Return the scores of the operating points of Table 1 that went well; none where the pictures have no masks."""
    images = evidence.images
    if images.masks is None:
        return []
    found = []
    for row in TABLE_1:
        if not row.face and evidence.as_published.row(row.point) is not None:
            decoded = evidence.decoded(row.point)
            ways = masked_scores(images.images, decoded, images.masks)
            found.append(MaskedScores(row.name, row.point, ways, _variation(decoded) / _variation(images.images)))
    return found


def _variation(pictures: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference between neighbouring pixels of ``pictures``, (N, H, W, 3)."""
    return float(np.mean([np.abs(np.diff(pictures.astype(np.int16), axis=axis)).mean() for axis in (1, 2)]))


def masking_section(evidence: Evidence, found: list[MaskedScores]) -> str:
    """Return the section; ``found`` is that of :func:`scores_of`."""
    if not found:
        return "Not measured: these pictures have no face masks."
    rows, signs = [], []
    for scores in found:
        for way in _WAYS:
            values = [scores.mean(way, metric) for metric in METRICS]
            rows.append([scores.name, way, *map(number, values), plain(scores.concentration(way), 2)])
    for way in _WAYS[1:]:
        cells = [way]
        for scores in found:
            cells.append(" ".join(f"{metric} {'↑' if scores.rises(way, metric) else '↓'}" for metric in METRICS))
        signs.append(cells)
    learned = found[0]
    both = (learned.ways[FACE_ALONE]["L1"] < learned.ways[WHOLE_PICTURE]["L1"]) & (
        learned.ways[FACE_ALONE]["L2"] > learned.ways[WHOLE_PICTURE]["L2"]
    )
    return "\n\n".join(
        (
            "In the paper, masking lowers 1-SSIM, 1-MS-SSIM and MAE of both networks and raises their MSE; it takes "
            "the background, which is easy, for the cause. It does not say how it masks. Here are the ways, on the "
            "same decoded pictures (means; RMSE / MAE is the mean over pictures, and larger where few pixels have "
            "most of the error):",
            markdown_table(["", "scored over", *METRICS, "RMSE / MAE"], rows, left=(0, 1)),
            "What rises and what falls against whole pictures; in the paper: 1-SSIM ↓ 1-MS-SSIM ↓ L1 ↓ L2 ↑.",
            markdown_table(
                ["scored over", *(scores.name for scores in found)], signs, left=tuple(range(len(found) + 1))
            ),
            f"Over the same pixels, MAE falls while MSE rises in {counted(int(both.sum()), 'picture')} of "
            f"{len(both):,} of {learned.name}: {both.mean():.1%}. {_reading(found)}",
        )
    )


def _reading(found: list[MaskedScores]) -> str:
    learned = [scores for scores in found if scores.name != "JPEG"]
    if not learned:
        return "Neither network was measured."
    paper = {"1-SSIM": False, "1-MS-SSIM": False, "L1": False, "L2": True}
    ways = [
        way
        for way in _WAYS[1:]
        if all(scores.rises(way, metric) == rises for scores in learned for metric, rises in paper.items())
    ]
    if ways:
        return f"The paper's signs come out of: {', '.join(ways)}."
    risen = [scores.name for scores in found if scores.rises(_BLACK_BY_FACE, "L2")]
    return (
        "No way of masking gives the paper's signs for the networks here. Black around the face lowers 1-SSIM and MAE "
        "because nothing is wrong there, and MSE as well; if MSE alone is divided by the face's pixels, it is higher "
        f"than over the whole picture for: {', '.join(risen) or 'none'}."
    )
