"""Does training with masks help? Section 3: codecs with and without, paired over the people of the set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from facebench.analysis.curves import Curve
from facebench.analysis.significance import Comparison, compare_at, corrected, holm, significant
from facebench.analysis.summary import FACE, WHOLE
from facebench.report.text import NONE, Footnotes, markdown_table, number
from facebench.study.evidence import Difference, Evidence
from facebench.study.papers import METRICS, TABLE_2


@dataclass(frozen=True)
class Pair:
    """A codec trained with masks and its twin without; ``loss`` is theirs."""

    loss: str
    masked: str
    plain: str


PAIRS = (
    *(
        Pair(
            f"{row.loss} (H{row.number}, H{row.number + 1})",
            f"maskvae:weights=h{row.number}",
            f"maskvae:weights=h{row.number + 1}",
        )
        for row in TABLE_2[::2]
    ),
    Pair("l1 (cvae)", "cvae-mask", "cvae"),
    Pair("10 l1 + adversary (dcgan)", "dcgan-mask", "dcgan"),
)


def word_of(effect: Difference) -> str:
    """Return "helps", "harms" or "not significant", or "" without a p-value; lower is better in all metrics."""
    if math.isnan(effect.p):
        return ""
    if not significant(effect.p):
        return "not significant"
    return "helps" if effect.change < 0 else "harms"


def effects(evidence: Evidence, mask: str = FACE) -> list[dict[str, Difference]]:
    """Return what masks in training change, by metric, for each of :data:`PAIRS`: at the latent itself, as float32.

    p-values are corrected by Holm for all of them.
    """
    found = [
        evidence.as_published.difference(f"{pair.masked}:latent=float32", f"{pair.plain}:latent=float32", metric, mask)
        for pair in PAIRS
        for metric in METRICS
    ]
    found = [replace(e, p=p) for e, p in zip(found, holm([e.p for e in found]), strict=True)]
    count = len(METRICS)
    return [dict(zip(METRICS, found[start : start + count], strict=True)) for start in range(0, len(found), count)]


def at_equal_bytes(evidence: Evidence) -> list[list[Comparison]]:
    """Return each pair's 1-SSIM over the face at the fewest and the most bytes that both reach; none without a curve.

    p-values are corrected by Holm for all of them.
    """
    summary = evidence.systems.summary
    curves = summary.curves("1-SSIM", FACE)
    found: list[list[Comparison | None]] = []
    for pair in PAIRS:
        ours, theirs = (curves.get(_curve(evidence, codec)) for codec in (pair.masked, pair.plain))
        if ours is None or theirs is None or not (ours.points and theirs.points):
            found.append([])
        else:
            ends = _shared_bytes(ours, theirs)
            found.append([compare_at(summary, ours, theirs, "1-SSIM", FACE, size) for size in ends])
    measured = [[c for c in ends if c is not None] if None not in ends else [] for ends in found]
    decided = iter(corrected([comparison for ends in measured for comparison in ends]))
    return [[next(decided) for _ in ends] for ends in measured]


def _shared_bytes(*curves: Curve) -> tuple[int, int]:
    """Return the fewest and the most whole bytes that all of ``curves`` reach."""
    fewest = max(curve.points[0].bytes for curve in curves)
    most = min(curve.points[-1].bytes for curve in curves)
    return math.ceil(fewest), math.floor(most)


def fewest_beaten(at_equal: Sequence[Sequence[Comparison]]) -> int:
    """Return how many pairs of :func:`at_equal_bytes` have the masked one better at the fewest bytes."""
    return sum(ends[0].outcome == "beats" for ends in at_equal if ends)


def differing(evidence: Evidence, one_codec: str, other_codec: str) -> list[str]:
    """Return what differs in how two codecs were trained, but for masks: names of fields of recipe and card."""
    cards = [evidence.cards.get(_curve(evidence, codec)) for codec in (one_codec, other_codec)]
    if None in cards:
        return []
    one, other = (
        {**card["recipe"], "steps": card["steps"], "seed": card["seed"], "pictures": card.get("train_digest")}
        for card in cards
        if card is not None
    )
    # Cards do not name fields that recipes did not have yet.
    names = sorted((one.keys() & other.keys()) - {"codec", "mask", "mask_decoder_width"})
    return [name for name in names if one[name] != other[name]]


def _curve(evidence: Evidence, codec: str) -> str:
    about = evidence.systems.run.manifest["points"].get(evidence.systems.label(codec), {})
    return str(about.get("curve", ""))


def masked_training(evidence: Evidence) -> str:
    """Return the section: what masks in training change, over the face and outside it, per loss."""
    face, whole = effects(evidence), effects(evidence, WHOLE)
    rows, notes = [], Footnotes()
    at_equal = at_equal_bytes(evidence)
    for pair, over_face, over_whole, at_ends in zip(PAIRS, face, whole, at_equal, strict=True):
        other = differing(evidence, pair.masked, pair.plain)
        mark = notes.mark(f"these two differ in {', '.join(other)} too: no evidence on masks alone") if other else ""
        cells = [f"{pair.loss}{mark}"]
        for metric in METRICS:
            cells.append(_told(over_face[metric]))
        told = [f"{number(c.ours)} / {number(c.theirs)} in {c.size:,.0f}, {c.outcome}" for c in at_ends]
        cells.append("; ".join(told) or NONE)
        cells.append(_signed(over_whole["L1"].change))
        rows.append(cells)
    headers = [
        "loss",
        *(f"{metric}, face" for metric in METRICS),
        "1-SSIM, face, in equal bytes",
        "L1, whole, difference",
    ]
    words = [word_of(effect["1-SSIM"]) for effect in face if not math.isnan(effect["1-SSIM"].change)]
    return "\n\n".join(
        (
            "The thesis of Toledo & Antonelo. Each line is two networks, one of them trained with masks (theirs with a "
            "mask decoder besides, as published), from the same seed, on the same pictures in the same order, for as "
            f"many steps{'; but see the footnotes' if notes.lines() else ''}. "
            "Differences are masked minus plain, lower is better: over face pixels, with the latent as float32, with "
            "95 % intervals paired over people; the words are by p-values that are corrected by Holm for all of "
            "these. Then 1-SSIM in payloads of equal bytes, the fewest and the most that both reach (masked / plain), "
            "corrected likewise; then what the whole picture pays.",
            markdown_table(headers, rows),
            *(["  \n".join(notes.lines())] if notes.lines() else []),
            f"Masks in training lower 1-SSIM over the face in {words.count('helps')} of {len(words)} pairs with the "
            f"latent as float32, and in {fewest_beaten(at_equal)} in the fewest bytes, where few are left for the "
            "background.",
        )
    )


def _told(effect: Difference) -> str:
    interval = "" if math.isnan(effect.low) else f" [{_signed(effect.low)}, {_signed(effect.high)}]"
    return f"{_signed(effect.change)}{interval} {word_of(effect)}".rstrip()


def _signed(value: float) -> str:
    return NONE if math.isnan(value) else f"{'+' if value > 0 else '-' if value < 0 else ''}{number(abs(value))}"
