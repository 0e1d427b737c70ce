"""A claim of the paper and the verdict on it, and what the rules of all claims share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from facebench.analysis.significance import holm, significant
from facebench.study.evidence import Difference

CONFIRMED, REFUTED, PARTLY, UNTESTED = "confirmed", "refuted", "in part", "could not be tested"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, in few words, the verdict on it and the figure that it rests on."""

    text: str
    verdict: str
    figure: str


def corrected(differences: Iterable[Difference]) -> list[Difference] | None:
    """Return ``differences`` with p-values corrected for their number, or None if one was not measured."""
    found = list(differences)
    if any(math.isnan(difference.p) for difference in found):
        return None
    return [replace(d, p=p) for d, p in zip(found, holm([d.p for d in found]), strict=True)]


def is_better(difference: Difference) -> bool:
    """Return whether the first of a difference is better, significantly: all metrics here are better when lower."""
    return difference.change < 0 and significant(difference.p)


def count_better(differences: Sequence[Difference]) -> int:
    """Return how many of ``differences`` are for the better, significantly."""
    return sum(map(is_better, differences))


def verdict_of(holds: Sequence[bool]) -> str:
    """Return "confirmed" if a claim holds in all cases, "in part" if in some, "refuted" if in none."""
    return CONFIRMED if all(holds) else PARTLY if any(holds) else REFUTED


def untested(text: str) -> Claim:
    """Return the claim of which something was not measured."""
    return Claim(text, UNTESTED, "something that it needs was not measured: see the runs' leaderboards")
