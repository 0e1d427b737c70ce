"""The verdicts on what the paper says of masks; each follows from the figures by the rule in its function."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import cluster_codes, cluster_sums, resampled_means
from facebench.analysis.significance import bootstrap_p, difference_interval, significant
from facebench.analysis.summary import FACE, WHOLE
from facebench.report.text import counted, number
from facebench.study.claim import CONFIRMED, PARTLY, REFUTED, UNTESTED, Claim, corrected, untested, verdict_of
from facebench.study.evidence import Difference, Evidence
from facebench.study.masked_scores import BACKGROUND, FACE_ALONE, WHOLE_PICTURE, MaskedScores
from facebench.study.masked_training import PAIRS, at_equal_bytes, effects, fewest_beaten, word_of
from facebench.study.papers import JPEG

#: Attributes of CelebA that say what covers a face, and how they are told.
_COVERS = (("Wearing_Hat", "a hat"), ("Bangs", "hair over the forehead"))
#: Relative change of an error that counts as one.
_SKEWED = 0.01


def masking_helps(evidence: Evidence) -> Claim:
    text = "Masks in training improve the face"
    words = [word_of(effect["1-SSIM"]) for effect in effects(evidence)]
    if not all(words):
        return Claim(text, UNTESTED, f"{sum(map(bool, words))} of {len(PAIRS)} pairs have weights and p-values")
    helps, harms = words.count("helps"), words.count("harms")
    return Claim(
        text,
        verdict_of([word == "helps" for word in words]),
        f"1-SSIM over the face falls in {helps} of {len(words)} pairs and rises in {harms}; in payloads of the fewest "
        f"equal bytes it is lower in {fewest_beaten(at_equal_bytes(evidence))} (section 3)",
    )


def mse_rises(scores: Sequence[MaskedScores]) -> Claim:
    text = "Masking in evaluation raises MSE while MAE and 1-SSIM fall"
    networks = [found for found in scores if found.name != "JPEG"]
    if len(networks) < 2:
        return untested(text)
    as_told = [
        found.rises(FACE_ALONE, "L2") and not found.rises(FACE_ALONE, "L1") and not found.rises(FACE_ALONE, "1-SSIM")
        for found in networks
    ]
    told = [
        f"{found.name}'s MAE goes from {number(found.mean(WHOLE_PICTURE, 'L1'))} to "
        f"{number(found.mean(FACE_ALONE, 'L1'))}, its MSE from {number(found.mean(WHOLE_PICTURE, 'L2'))} to "
        f"{number(found.mean(FACE_ALONE, 'L2'))}"
        for found in networks
    ]
    return Claim(
        text,
        verdict_of(as_told),
        f"over the same pixels, {'; '.join(told)} (section 4)",
    )


def background_is_easy(scores: Sequence[MaskedScores]) -> Claim:
    text = "The background is easier to predict than the face"
    networks = [found for found in scores if found.name != "JPEG"]
    if len(networks) < 2:
        return untested(text)
    easier = [found.mean(BACKGROUND, "L2") < found.mean(FACE_ALONE, "L2") for found in networks]
    told = [
        f"{found.name}'s MSE is {number(found.mean(BACKGROUND, 'L2'))} outside the face and "
        f"{number(found.mean(FACE_ALONE, 'L2'))} on it"
        for found in scores
    ]
    return Claim(text, verdict_of(easier), f"in this crop {'; '.join(told)}")


def covers_raise_mse(evidence: Evidence, scores: Sequence[MaskedScores]) -> Claim:
    """Confirmed if the faces of all labels of what covers one have more MSE over the face than the others."""
    text = "Hands, hats and hair over faces raise the MSE under masks"
    if not scores or not all(label in evidence.images.attributes for label, _ in _COVERS):
        return Claim(
            text, UNTESTED, "these pictures come without CelebA's labels of hats and of hair over the forehead"
        )
    errors = scores[0].ways[FACE_ALONE]["L2"]
    groups = [evidence.images.attributes[label] for label, _ in _COVERS]
    found = corrected(_with_and_without(errors, covered, evidence.images.identities) for covered in groups)
    if found is None:
        return untested(text)
    raises = [difference.change > 0 and significant(difference.p) for difference in found]
    told = [
        f"{number(float(np.nanmean(errors[covered])))} with {name} ({counted(int(covered.sum()), 'face')}), "
        f"{number(float(np.nanmean(errors[~covered])))} without"
        + ("" if significant(difference.p) else " (perhaps by chance)")
        for (_, name), covered, difference in zip(_COVERS, groups, found, strict=True)
    ]
    return Claim(
        text,
        verdict_of(raises),
        f"{scores[0].name}'s MSE over the face is {'; '.join(told)}; hands have no label",
    )


def _with_and_without(
    values: NDArray[np.float64], group: NDArray[np.bool_], identities: Sequence[str] | None
) -> Difference:
    """Return the mean of the ``values`` of ``group`` minus that of the others; people are resampled."""
    names, people = np.unique(identities or [""] * len(values), return_inverse=True)
    clusters, count = cluster_codes(np.where(names[people] == "", -1, people), np.arange(len(values)))
    parts = [np.where(group, values, np.nan), np.where(group, np.nan, values)]
    sums, counts = np.stack([cluster_sums(part, clusters, count) for part in parts], axis=-1)
    drawn = resampled_means(sums, counts)
    change = float(np.subtract(*(part[~np.isnan(part)].mean() for part in parts)))
    one, other = drawn.T
    return Difference(change, *difference_interval(one, other), bootstrap_p(one - other))


def jpeg_is_skewed(evidence: Evidence) -> Claim:
    """Confirmed if both errors at least double: the paper's grow a hundredfold. In part if one changes at all."""
    text = "Masking inherently skews MAE and MSE, of JPEG too (from .003 to .323)"
    mean = evidence.as_published.mean
    mae, mse = ([mean(JPEG, metric, mask) for mask in (WHOLE, FACE)] for metric in ("L1", "L2"))
    if any(map(math.isnan, (*mae, *mse))):
        return untested(text)
    changes = [face / whole - 1 for whole, face in (mae, mse)]
    skewed = any(abs(change) >= _SKEWED for change in changes)
    return Claim(
        text,
        CONFIRMED if min(changes) >= 1 else PARTLY if skewed else REFUTED,
        f"JPEG's MAE is {number(mae[0])} over whole pictures and {number(mae[1])} over the face ({changes[0]:+.0%}), "
        f"its MSE {number(mse[0])} and {number(mse[1])} ({changes[1]:+.0%}); the paper's row repeats that of CVAE+Mask",
    )
