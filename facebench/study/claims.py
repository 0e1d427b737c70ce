"""What the paper claims, and what was measured: the verdicts at the head of the page.

Each verdict follows from the figures by the rule in its function. A difference counts only if it is significant after
Holm's correction for all comparisons of its claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from facebench.analysis.equal_bytes import value_at
from facebench.analysis.significance import holm, significant
from facebench.analysis.summary import FACE, WHOLE
from facebench.report.text import byte_count, counted, number
from facebench.study.discriminator import LEARNED
from facebench.study.evidence import Difference, Evidence
from facebench.study.identity import matched
from facebench.study.masked_scores import BACKGROUND, FACE_ALONE, WHOLE_PICTURE, MaskedScores
from facebench.study.masked_training import PAIRS, effects, word_of
from facebench.study.papers import CVAE_QUALITY, METRICS, TABLE_2
from facebench.study.rates import bytes_at_quality

CONFIRMED, REFUTED, PARTLY, UNTESTED = "confirmed", "refuted", "in part", "could not be tested"
_CVAE, _DCGAN = "cvae:weights=paper:latent=float32", "dcgan:weights=paper:latent=float32"
_JPEG, _PLAIN_JPEG = "jpeg:quality=85", "jpeg:headerless=true"
#: The raw bytes of a picture of 64x64, of Toledo & Antonelo's 144x144, and of 512 float32 values.
_OURS, _THEIRS, _LATENT = 3 * 64**2, 3 * 144**2, 4 * 512
#: 1-SSIM that coding the latent may cost for its bytes to count as the latent's size.
_SMALL_LOSS = 0.01
#: Share of faces that are still verified from which on a codec counts as keeping who it is.
_KEPT = 0.95
#: A validation loss that differs by less counts as the same in the short trainings of section 8, which have one seed.
_SAME_LOSS = 0.05


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, in few words, the verdict on it and the figure that it rests on."""

    text: str
    verdict: str
    figure: str


def judged_claims(
    evidence: Evidence, scores: Sequence[MaskedScores], trainings: Mapping[str, Mapping[str, float]]
) -> list[Claim]:
    """Return the paper's claims with verdicts.

    ``scores`` are those of section 4, ``trainings`` those of section 8: by the recipe's name, the last ``accuracy`` of
    the discriminator and ``valid`` loss.
    """
    return [
        _jpeg_is_better(evidence),
        _networks_compress(evidence),
        _latents_are_small(evidence),
        _dcgan_is_superior(evidence),
        Claim(
            "An adversary makes pictures look more natural",
            UNTESTED,
            "no person was asked; by every measured likeness, see the row above",
        ),
        _beats_toledo(evidence),
        Claim(
            "It compresses more than Toledo & Antonelo's",
            REFUTED if _OURS < _THEIRS else CONFIRMED,
            f"both code 512 values: {_OURS / _LATENT:.1f} : 1 of 64x64 pictures here, {_THEIRS / _LATENT:.1f} : 1 of "
            "their 144x144; the paper's own discussion says so",
        ),
        _masking_helps(evidence),
        _mse_rises(scores),
        _background_is_easy(scores),
        Claim(
            "Hands, hats and hair over faces raise the MSE under masks",
            UNTESTED,
            "the pictures have no labels of what covers a face",
        ),
        _jpeg_is_skewed(evidence),
        _losses_help(evidence),
        _higher_ratios(evidence),
        _weighting_prevents_collapse(trainings),
        _range_helps(trainings),
        _flat_is_harmless(trainings),
        _jpeg_keeps_identity(evidence),
        _networks_keep_identity(evidence),
        _vif_needs_permission(evidence),
    ]


def _jpeg_is_better(evidence: Evidence) -> Claim:
    """Confirmed if it is so at the paper's points and at equal bytes, in part if only at its points."""
    text = "JPEG loses much less structure than any of the networks"
    found = _corrected(evidence.as_published.difference(_JPEG, network, "1-SSIM", WHOLE) for network in (_CVAE, _DCGAN))
    jpeg = evidence.as_published.row(_JPEG)
    curves = evidence.systems.summary.curves("1-SSIM")
    plain = curves.get(_PLAIN_JPEG)
    ends = [curve.points[-1] for name in ("cvae", "dcgan") if (curve := curves.get(name)) and curve.points]
    if found is None or jpeg is None or plain is None or len(ends) < 2:
        return _untested(text)
    better = all(_is_better(difference) for difference in found)
    at_equal, told = True, []
    for end in ends:
        value = value_at(plain, end.bytes).value
        at_equal = at_equal and value is not None and value < end.value
        theirs = "cannot be so small" if value is None else f"has {number(value)}"
        told.append(f"{end.label} has {number(end.value)} in {byte_count(end.bytes)} bytes, where JPEG {theirs}")
    return Claim(
        text,
        (CONFIRMED if at_equal else PARTLY) if better else REFUTED,
        f"at quality 85 ({byte_count(jpeg.bytes)} bytes) its 1-SSIM differs from the CVAE's by {found[0].change:+.3f} "
        f"and the DCGAN's by {found[1].change:+.3f}; at equal bytes, without headers: {'; '.join(told)}",
    )


def _networks_compress(evidence: Evidence) -> Claim:
    text = "Networks reduce faces to a fraction of standard files"
    sizes = bytes_at_quality(evidence)
    best = min((name for name in sizes if name in evidence.cards), key=lambda name: sizes[name], default=None)
    jpeg, pca = sizes.get(_PLAIN_JPEG), sizes.get("eigenfaces")
    if best is None or jpeg is None or pca is None:
        return _untested(text)
    return Claim(
        text,
        CONFIRMED if sizes[best] < jpeg else REFUTED,
        f"at 1-SSIM {CVAE_QUALITY} the best network that tells how it was trained, {best}, takes "
        f"{byte_count(sizes[best])} bytes, JPEG without headers {byte_count(jpeg)}; and plain PCA with an entropy "
        f"coder takes {byte_count(pca)}",
    )


def _latents_are_small(evidence: Evidence) -> Claim:
    """In part if a latent is smaller than the raw picture but not than the JPEG file beside it."""
    text = "A picture's size falls to 512 data points"
    jpeg, latent = evidence.as_published.row(_JPEG), evidence.as_published.row(_CVAE)
    coded = evidence.systems.row("cvae:weights=paper:step=1")
    if jpeg is None or latent is None or coded is None:
        return _untested(text)
    return Claim(
        text,
        CONFIRMED if latent.bytes < jpeg.bytes else PARTLY if latent.bytes < _OURS else REFUTED,
        f"as float32 they are {byte_count(latent.bytes)} bytes of {_OURS:,}; the JPEG at quality 85 that it is "
        f"compared with has {byte_count(jpeg.bytes)}. Quantised and coded they are {byte_count(coded.bytes)}",
    )


def _dcgan_is_superior(evidence: Evidence) -> Claim:
    text = "DCGAN is vastly superior to CVAE in quality"
    found = _corrected(evidence.as_published.difference(_DCGAN, _CVAE, metric, WHOLE) for metric in METRICS)
    ours = evidence.as_published.mean(_CVAE, "1-SSIM")
    if found is None:
        return _untested(text)
    return Claim(
        text,
        _by_count(found),
        f"better in {_count_better(found)} of {len(found)} metrics, with three times the epochs, as in the paper, "
        f"whose own table has it worse in all; 1-SSIM differs by {found[0].change / ours:+.0%}",
    )


def _beats_toledo(evidence: Evidence) -> Claim:
    text = "The CVAE is significantly better than Toledo & Antonelo's models in all shared metrics"
    measured = evidence.as_published
    found = _corrected(measured.difference(_CVAE, row.point, metric, FACE) for row in TABLE_2 for metric in METRICS)
    if found is None:
        return _untested(text)
    best = min(measured.mean(row.point, "1-SSIM", FACE) for row in TABLE_2)
    return Claim(
        text,
        _by_count(found),
        f"on the same pictures, at the same 2,048 bytes, over the face: in {_count_better(found)} of {len(found)} "
        f"comparisons; 1-SSIM {number(measured.mean(_CVAE, '1-SSIM', FACE))}, the best of theirs {number(best)} (of a "
        "quarter of the widths here, section 6)",
    )


def _masking_helps(evidence: Evidence) -> Claim:
    text = "Masks in training improve the face"
    words = [word_of(effect["1-SSIM"]) for effect in effects(evidence)]
    if not all(words):
        return Claim(text, UNTESTED, f"{sum(map(bool, words))} of {len(PAIRS)} pairs have weights and p-values")
    helps, harms = words.count("helps"), words.count("harms")
    return Claim(
        text,
        CONFIRMED if helps == len(words) else REFUTED if not helps else PARTLY,
        f"1-SSIM over the face falls in {helps} of {len(words)} pairs and rises in {harms} (section 3)",
    )


def _mse_rises(scores: Sequence[MaskedScores]) -> Claim:
    text = "Masking in evaluation raises MSE while MAE and 1-SSIM fall"
    networks = [found for found in scores if found.name != "JPEG"]
    if len(networks) < 2:
        return _untested(text)
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
        CONFIRMED if all(as_told) else PARTLY if any(as_told) else REFUTED,
        f"over the same pixels, {'; '.join(told)} (section 4)",
    )


def _background_is_easy(scores: Sequence[MaskedScores]) -> Claim:
    text = "The background is easier to predict than the face"
    networks = [found for found in scores if found.name != "JPEG"]
    if len(networks) < 2:
        return _untested(text)
    easier = [found.mean(BACKGROUND, "L2") < found.mean(FACE_ALONE, "L2") for found in networks]
    told = [
        f"{found.name}'s MSE is {number(found.mean(BACKGROUND, 'L2'))} outside the face and "
        f"{number(found.mean(FACE_ALONE, 'L2'))} on it"
        for found in networks
    ]
    return Claim(text, CONFIRMED if all(easier) else PARTLY if any(easier) else REFUTED, "; ".join(told))


def _jpeg_is_skewed(evidence: Evidence) -> Claim:
    """Confirmed if both errors at least double: the paper's grow a hundredfold."""
    text = "Masking inherently skews MAE and MSE, of JPEG too (from .003 to .323)"
    mean = evidence.as_published.mean
    mae, mse = ([mean(_JPEG, metric, mask) for mask in (WHOLE, FACE)] for metric in ("L1", "L2"))
    if any(map(math.isnan, (*mae, *mse))):
        return _untested(text)
    doubled = [face >= 2 * whole for whole, face in (mae, mse)]
    return Claim(
        text,
        CONFIRMED if all(doubled) else PARTLY if any(doubled) else REFUTED,
        f"JPEG's MAE is {number(mae[0])} over whole pictures and {number(mae[1])} over the face, its MSE "
        f"{number(mse[0])} and {number(mse[1])}; the paper's row repeats that of CVAE+Mask",
    )


def _losses_help(evidence: Evidence) -> Claim:
    """Confirmed if a loss is better than l1 in all metrics, also in those that it was not trained for."""
    text = "L2 and SSIM losses may be better than L1 (MS-SSIM: not trained)"
    plain = {row.loss: row.point for row in TABLE_2 if not row.masked}
    others = [loss for loss in plain if loss != "l1"]
    found = _corrected(
        evidence.as_published.difference(plain[loss], plain["l1"], metric, FACE)
        for loss in others
        for metric in METRICS
    )
    if found is None:
        return _untested(text)
    better = {loss: _count_better(found[place * len(METRICS) :][: len(METRICS)]) for place, loss in enumerate(others)}
    best = max(better.values())
    return Claim(
        text,
        CONFIRMED if best == len(METRICS) else PARTLY if best else REFUTED,
        f"over the face, without masks in training, of {len(METRICS)} metrics better than l1: "
        + ", ".join(f"{loss} in {count}" for loss, count in better.items()),
    )


def _higher_ratios(evidence: Evidence) -> Claim:
    """Confirmed if coding the latent passes Toledo & Antonelo's ratio at hardly any loss."""
    text = "Higher compression ratios, near Toledo & Antonelo's, are worth exploring"
    coded = evidence.systems.row("cvae:step=1")
    whole = evidence.as_published.row("cvae:latent=float32")
    if coded is None or whole is None:
        return _untested(text)
    lost = coded.metrics["1-SSIM"].mean - whole.metrics["1-SSIM"].mean
    ratio = _OURS / coded.bytes
    return Claim(
        text,
        CONFIRMED if ratio > _THEIRS / _LATENT and lost < _SMALL_LOSS else REFUTED,
        f"quantised and coded, the same latent is {byte_count(coded.bytes)} bytes, {ratio:.0f} : 1 against their "
        f"{_THEIRS / _LATENT:.0f} : 1, for {lost:+.4f} of 1-SSIM",
    )


def _weighting_prevents_collapse(trainings: Mapping[str, Mapping[str, float]]) -> Claim:
    text = "Without ten times the reconstruction loss the generator only tricks the discriminator"
    found = _against_base(trainings, "discriminator-unweighted")
    if found is None:
        return _untested(text)
    change, told = found
    verdict = CONFIRMED if change > 1 else PARTLY if change > _SAME_LOSS else REFUTED
    return Claim(text, verdict, f"weighted once, {told}")


def _range_helps(trainings: Mapping[str, Mapping[str, float]]) -> Claim:
    text = "A loss on [0, 255] would help"
    found = _against_base(trainings, "discriminator-loss255")
    if found is None:
        return _untested(text)
    change, told = found
    verdict = CONFIRMED if change < -_SAME_LOSS else REFUTED
    return Claim(text, verdict, f"{told}: it weighs the reconstruction 255 times more against the adversary")


def _flat_is_harmless(trainings: Mapping[str, Mapping[str, float]]) -> Claim:
    """Refuted if a discriminator that learns something brings a better reconstruction."""
    text = "That the discriminator's loss is flat does probably no harm"
    base = trainings.get("discriminator")
    learned = {
        name: found
        for name, found in trainings.items()
        if found["accuracy"] >= LEARNED and name.removeprefix("discriminator-") not in ("unweighted", "loss255")
    }
    if base is None or not learned or base["accuracy"] >= LEARNED:
        return _untested(text)
    best = min(learned, key=lambda name: learned[name]["valid"])
    change = learned[best]["valid"] / base["valid"] - 1
    return Claim(
        text,
        REFUTED if change < -_SAME_LOSS else CONFIRMED,
        f"of {counted(len(learned), 'training')} in which it tells {LEARNED:.0%} and more, the best ({best}) ends "
        f"with a validation L1 {change:+.0%} of that with the flat one (section 8)",
    )


def _jpeg_keeps_identity(evidence: Evidence) -> Claim:
    text = "JPEG largely leaves face recognition alone (Schachner et al.)"
    return _kept(evidence, text, [_PLAIN_JPEG])


def _networks_keep_identity(evidence: Evidence) -> Claim:
    text = "The networks' reconstructions keep who it is"
    return _kept(evidence, text, ["cvae", "dcgan"])


def _kept(evidence: Evidence, text: str, codecs: Sequence[str]) -> Claim:
    """Confirmed if each codec keeps enough faces at all budgets that it fits, in part if at some."""
    if evidence.identity is None:
        return Claim(text, UNTESTED, "the step --identity was not run")
    shares = {
        (codec, budget): share
        for codec in codecs
        for budget in evidence.identity.summary.budgets
        if (share := matched(evidence.identity, codec, budget)) is not None
    }
    if not shares:
        return _untested(text)
    kept = [share >= _KEPT for share in shares.values()]
    return Claim(
        text,
        CONFIRMED if all(kept) else PARTLY if any(kept) else REFUTED,
        "faces still verified: "
        + ", ".join(f"{codec} {share:.0%} in {budget} bytes" for (codec, budget), share in shares.items()),
    )


def _vif_needs_permission(evidence: Evidence) -> Claim:
    text = "VIF needs its authors' permission, so it is left out"
    vif = evidence.as_published.mean(_CVAE, "1-VIF")
    if math.isnan(vif):
        return _untested(text)
    return Claim(text, REFUTED, f"open implementations exist; the CVAE's 1-VIF is {number(vif)}")


def _corrected(differences: Iterable[Difference]) -> list[Difference] | None:
    """Return ``differences`` with p-values corrected for their number, or None if one was not measured."""
    found = list(differences)
    if any(math.isnan(difference.p) for difference in found):
        return None
    return [replace(d, p=p) for d, p in zip(found, holm([d.p for d in found]), strict=True)]


def _is_better(difference: Difference) -> bool:
    """Return whether the first of a difference is better, significantly: all metrics here are better when lower."""
    return difference.change < 0 and significant(difference.p)


def _count_better(differences: Sequence[Difference]) -> int:
    return sum(map(_is_better, differences))


def _by_count(differences: Sequence[Difference]) -> str:
    """Return "confirmed" if all of ``differences`` are for the better, "refuted" if none is."""
    better = _count_better(differences)
    return CONFIRMED if better == len(differences) else PARTLY if better else REFUTED


def _against_base(trainings: Mapping[str, Mapping[str, float]], name: str) -> tuple[float, str] | None:
    """Return by which share a training's last loss exceeds the paper's, and that in words; None without both."""
    if not {"discriminator", name} <= trainings.keys():
        return None
    base, other = trainings["discriminator"]["valid"], trainings[name]["valid"]
    change = other / base - 1
    return change, (
        f"the validation L1 after as many steps is {number(other)} instead of {number(base)}, {change:+.0%} (section 8)"
    )


def _untested(text: str) -> Claim:
    return Claim(text, UNTESTED, "something that it needs was not measured: see the runs' leaderboards")
