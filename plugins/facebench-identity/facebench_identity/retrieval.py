"""Rank-1 identification: whose original is nearest?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facebench_identity.distances import Floats


def misses(apart: Floats, identities: tuple[str, ...] | None, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return for each picture whether the nearest original is of another person, with and without its own original.

    ``apart``, (N, M), are the distances of the decoded pictures to all originals, of which ``identities`` are the M
    persons ("" where unknown; None if all are). ``rows``, (N,), are the places among the originals of the pictures'
    own. Both results are (N,), 1 for a miss, 0 for a hit, NaN where the person is unknown; the second also where no
    other original is of that person. Of equally near ones the first counts.
    """
    missed, missed_other = np.full(len(apart), np.nan), np.full(len(apart), np.nan)
    if identities is None:
        return missed, missed_other
    persons = np.array(identities, dtype=object)
    known = persons != ""
    for index, row in enumerate(rows):
        if not known[row]:
            continue
        to_known = np.where(known, apart[index], np.inf)
        missed[index] = persons[to_known.argmin()] != persons[row]
        if np.count_nonzero(persons == persons[row]) > 1:
            to_known[row] = np.inf
            missed_other[index] = persons[to_known.argmin()] != persons[row]
    return missed, missed_other
