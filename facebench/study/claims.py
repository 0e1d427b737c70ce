"""What the paper claims, and what was measured: the verdicts at the head of the page.

Each verdict follows from the figures by the rule in its function. A difference counts only if it is significant after
Holm's correction for all comparisons of its claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from facebench.analysis.equal_bytes import value_at
from facebench.analysis.summary import FACE, WHOLE
from facebench.report.text import byte_count, counted, number
from facebench.study.claim import (
    CONFIRMED,
    PARTLY,
    REFUTED,
    UNTESTED,
    Claim,
    by_count,
    corrected,
    count_better,
    is_better,
    untested,
)
from facebench.study.discriminator import LEARNED
from facebench.study.evidence import Evidence
from facebench.study.identity import matched
from facebench.study.mask_claims import (
    background_is_easy,
    covers_raise_mse,
    jpeg_is_skewed,
    masking_helps,
    mse_rises,
)
from facebench.study.masked_scores import MaskedScores
from facebench.study.papers import CVAE, CVAE_QUALITY, DCGAN, JPEG, METRICS, TABLE_2
from facebench.study.rates import bytes_at_quality

_FLAT_CVAE, _FLAT_DCGAN = "cvae:latent=float32", "dcgan:latent=float32"
_PLAIN_JPEG = "jpeg:headerless=true"
#: The raw bytes of a picture of 64x64, of Toledo & Antonelo's 144x144, and of 512 float32 values.
_OURS, _THEIRS, _LATENT = 3 * 64**2, 3 * 144**2, 4 * 512
#: 1-SSIM that coding the latent may cost for its bytes to count as the latent's size.
_SMALL_LOSS = 0.01
#: Share of faces that are still verified from which on a codec counts as keeping who it is.
_KEPT = 0.95
#: A validation loss that differs by less counts as the same in the short trainings of section 8, which have one seed.
_SAME_LOSS = 0.05


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
        _looks_natural(scores),
        _beats_toledo(evidence),
        Claim(
            "It compresses more than Toledo & Antonelo's",
            REFUTED if _OURS < _THEIRS else CONFIRMED,
            f"both code 512 values: {_OURS / _LATENT:.1f} : 1 of 64x64 pictures here, {_THEIRS / _LATENT:.1f} : 1 of "
            "their 144x144; the paper's own discussion says so",
        ),
        masking_helps(evidence),
        mse_rises(scores),
        background_is_easy(scores),
        covers_raise_mse(evidence, scores),
        jpeg_is_skewed(evidence),
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
    found = corrected(evidence.as_published.difference(JPEG, network, "1-SSIM", WHOLE) for network in (CVAE, DCGAN))
    jpeg = evidence.as_published.row(JPEG)
    curves = evidence.systems.summary.curves("1-SSIM")
    plain = curves.get(_PLAIN_JPEG)
    ends = [curve.points[-1] for name in ("cvae", "dcgan") if (curve := curves.get(name)) and curve.points]
    if found is None or jpeg is None or plain is None or len(ends) < 2:
        return untested(text)
    better = all(is_better(difference) for difference in found)
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
        return untested(text)
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
    jpeg, latent = evidence.as_published.row(JPEG), evidence.as_published.row(CVAE)
    coded = evidence.systems.row("cvae:weights=paper:step=1")
    if jpeg is None or latent is None or coded is None:
        return untested(text)
    return Claim(
        text,
        CONFIRMED if latent.bytes < jpeg.bytes else PARTLY if latent.bytes < _OURS else REFUTED,
        f"as float32 they are {byte_count(latent.bytes)} bytes of {_OURS:,}; the JPEG at quality 85 that it is "
        f"compared with has {byte_count(jpeg.bytes)}. Quantised and coded they are {byte_count(coded.bytes)}",
    )


def _dcgan_is_superior(evidence: Evidence) -> Claim:
    text = "DCGAN is vastly superior to CVAE in quality"
    measured = evidence.as_published
    found = corrected(
        measured.difference(dcgan, cvae, metric, WHOLE)
        for dcgan, cvae in ((DCGAN, CVAE), (_FLAT_DCGAN, _FLAT_CVAE))
        for metric in METRICS
    )
    if found is None:
        return untested(text)
    short, long = found[: len(METRICS)], found[len(METRICS) :]
    changes = [part[0].change / measured.mean(cvae, "1-SSIM") for part, cvae in ((short, CVAE), (long, _FLAT_CVAE))]
    return Claim(
        text,
        by_count(found),
        f"with the paper's epochs, three times the CVAE's, better in {count_better(short)} of {len(METRICS)} metrics "
        f"(the paper's own table has it worse in all), 1-SSIM {changes[0]:+.0%}; with both trained for longer "
        f"(section 6), in {count_better(long)}, {changes[1]:+.0%}",
    )


def _looks_natural(scores: Sequence[MaskedScores]) -> Claim:
    told = [f"{found.name} {found.detail:.0%}" for found in scores]
    figure = f"; of the originals' differences between neighbouring pixels are left: {', '.join(told)}" if told else ""
    return Claim("An adversary makes pictures look more natural", UNTESTED, f"no person was asked{figure}")


def _beats_toledo(evidence: Evidence) -> Claim:
    """In part if it is so of their networks as trained here, but not of the best that they published."""
    text = "The CVAE is significantly better than Toledo & Antonelo's models in all shared metrics"
    measured = evidence.as_published
    found = corrected(measured.difference(CVAE, row.point, metric, FACE) for row in TABLE_2 for metric in METRICS)
    if found is None:
        return untested(text)
    ours = measured.mean(CVAE, "1-SSIM", FACE)
    best, published = min(measured.mean(row.point, "1-SSIM", FACE) for row in TABLE_2), min(row.ssim for row in TABLE_2)
    verdict = by_count(found)
    return Claim(
        text,
        PARTLY if verdict == CONFIRMED and ours >= published else verdict,
        f"on the same pictures, at the same 2,048 bytes, over the face: in {count_better(found)} of {len(found)} "
        f"comparisons; 1-SSIM {number(ours)}, the best of theirs {number(best)}, of a quarter of their widths and "
        f"far fewer steps (section 6); they published {published}, of larger pictures with the input's own background",
    )


def _losses_help(evidence: Evidence) -> Claim:
    """Confirmed if a loss is better than l1 in all metrics, also in those that it was not trained for."""
    text = "L2 and SSIM losses may be better than L1 (MS-SSIM: not trained)"
    plain = {row.loss: row.point for row in TABLE_2 if not row.masked}
    others = [loss for loss in plain if loss != "l1"]
    found = corrected(
        evidence.as_published.difference(plain[loss], plain["l1"], metric, FACE)
        for loss in others
        for metric in METRICS
    )
    if found is None:
        return untested(text)
    better = {loss: count_better(found[place * len(METRICS) :][: len(METRICS)]) for place, loss in enumerate(others)}
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
        return untested(text)
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
        return untested(text)
    change, told = found
    verdict = CONFIRMED if change > 1 else PARTLY if change > _SAME_LOSS else REFUTED
    return Claim(text, verdict, f"weighted once, {told}")


def _range_helps(trainings: Mapping[str, Mapping[str, float]]) -> Claim:
    text = "A loss on [0, 255] would help"
    found = _against_base(trainings, "discriminator-loss255")
    if found is None:
        return untested(text)
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
        return untested(text)
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
    """Confirmed if each codec keeps enough faces at all budgets that it fits and as published, in part if at some."""
    if evidence.identity is None:
        return Claim(text, UNTESTED, "the steps of --identity were not run")
    found = {codec: matched(evidence.identity, codec) for codec in codecs}
    kept = [share >= _KEPT for shares in found.values() for share in shares.values()]
    if not kept:
        return untested(text)
    return Claim(
        text,
        CONFIRMED if all(kept) else PARTLY if any(kept) else REFUTED,
        "faces still verified: "
        + "; ".join(
            f"{codec} {', '.join(f'{share:.0%} {where}' for where, share in shares.items())}"
            for codec, shares in found.items()
        ),
    )


def _vif_needs_permission(evidence: Evidence) -> Claim:
    text = "VIF needs its authors' permission, so it is left out"
    vif = evidence.as_published.mean(CVAE, "1-VIF")
    if math.isnan(vif):
        return untested(text)
    return Claim(text, REFUTED, f"open implementations exist; the CVAE's 1-VIF is {number(vif)}")


def _against_base(trainings: Mapping[str, Mapping[str, float]], name: str) -> tuple[float, str] | None:
    """Return by which share a training's last loss exceeds the paper's, and that in words; None without both."""
    if not {"discriminator", name} <= trainings.keys():
        return None
    base, other = trainings["discriminator"]["valid"], trainings[name]["valid"]
    change = other / base - 1
    return change, (
        f"the validation L1 after as many steps is {number(other)} instead of {number(base)}, {change:+.0%} (section 8)"
    )
