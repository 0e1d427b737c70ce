"""Rank-1 identification: whose original is nearest?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def misses(
    found: Floats, gallery: Floats, identities: tuple[str, ...] | None, rows: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return for each picture whether the nearest original is of another person, with and without its own original.

    ``found``, (N, D), are the decoded pictures' embeddings; ``gallery``, (M, D), those of all originals, of which
    ``identities`` are the M persons ("" where unknown; None if all are). ``rows``, (N,), are the places in the
    gallery of the pictures' own originals. Both results are (N,), 1 for a miss, 0 for a hit, NaN where the person
    is unknown; the second also where no other original is of that person. Of equally near ones the first counts.
    """
    missed, missed_other = np.full(len(found), np.nan), np.full(len(found), np.nan)
    if identities is None:
        return missed, missed_other
    persons = np.array(identities, dtype=object)
    known = persons != ""
    for index, row in enumerate(rows):
        if not known[row]:
            continue
        distances = np.linalg.norm(gallery - found[index], axis=1)
        distances[~known] = np.inf
        missed[index] = persons[distances.argmin()] != persons[row]
        if np.count_nonzero(persons == persons[row]) > 1:
            distances[row] = np.inf
            missed_other[index] = persons[distances.argmin()] != persons[row]
    return missed, missed_other
