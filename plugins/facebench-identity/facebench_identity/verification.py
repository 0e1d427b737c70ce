"""Verification at a fixed rate of false accepts: a threshold from originals alone, and who is rejected at it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from facebench import WholeSet
from facebench_identity.distances import Floats, distances

#: Share of the pairs of originals of two persons that the threshold takes for one person.
FALSE_ACCEPT_RATE = 0.01
#: Fewer pairs than this say nothing of a rate of 1 %.
FEWEST_PAIRS = 1000
#: The threshold is a multiple of this.
STEP = 1e-4
#: Names the kept thresholds: raise it whenever one of the above or the embedding changes.
_KEPT = "identity-threshold-1"
_ROWS = 256  # of the matrix of all distances, at a time


def kept_threshold(whole: WholeSet, gallery: Floats) -> float:
    """Return :func:`false_accept_threshold` of a whole set's originals; found once per set and naming of persons."""
    if whole.identities is None:
        return float("nan")
    persons = hashlib.sha256("\n".join(whole.identities).encode()).hexdigest()[:16]
    identities = whole.identities
    kept = whole.kept(f"{_KEPT}-{persons}", lambda _: np.array([false_accept_threshold(gallery, identities)]))
    return float(kept[0])


def false_accept_threshold(gallery: Floats, identities: tuple[str, ...]) -> float:
    """Return the greatest multiple of 0.0001 below which at most 1 % of the pairs of two persons' originals are.

    ``gallery``, (M, D), are the originals' embeddings, ``identities`` their M persons; pairs with an unknown one ("")
    are left out. NaN if there are fewer than 1,000 pairs.
    """
    persons = np.unique(np.array(identities, dtype=str), return_inverse=True)[1]
    known = np.array([name != "" for name in identities], np.bool_)
    counts = np.zeros(1, np.int64)
    for start in range(0, len(gallery), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(gallery)))
        later = np.arange(len(gallery)) > rows[:, None]
        pairs = later & (persons != persons[rows, None]) & known & known[rows, None]
        bins = np.floor(distances(gallery[rows], gallery)[pairs] / STEP).astype(np.int64)
        more = np.bincount(bins, minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    if counts.sum() < FEWEST_PAIRS:
        return float("nan")
    # below[t] pairs are nearer than t steps.
    below = np.concatenate([[0], counts.cumsum()])
    return float(STEP * (np.searchsorted(below, FALSE_ACCEPT_RATE * below[-1], side="right") - 1))


def rejections(
    apart: Floats, threshold: float, identities: tuple[str, ...] | None, rows: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return whether each picture's own original rejects it, and the share of its person's other originals that do.

    ``apart``, (N, M), are distances of decoded pictures to originals, of which ``identities`` are the persons and
    ``rows`` the pictures' own. Rejected is what is at ``threshold`` or beyond. Both results are (N,), NaN if the
    threshold is and where the person is unknown; the second also where no other original is of that person.
    """
    own, others = np.full(len(apart), np.nan), np.full(len(apart), np.nan)
    if identities is None or np.isnan(threshold):
        return own, others
    persons = np.array(identities, dtype=object)
    rejected = apart >= threshold
    for index, row in enumerate(rows):
        if persons[row] == "":
            continue
        own[index] = rejected[index, row]
        same = persons == persons[row]
        same[row] = False
        if same.any():
            others[index] = rejected[index, same].mean()
    return own, others
