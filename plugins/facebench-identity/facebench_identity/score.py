"""The identity metrics, from embeddings of decoded pictures and of the whole set's originals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facebench import WholeSet
from facebench_identity.alignment import kept_rectangles
from facebench_identity.distances import distances
from facebench_identity.embedding import embeddings
from facebench_identity.retrieval import misses
from facebench_identity.verification import kept_threshold, rejections

#: dlib's published distance from which on two faces are taken for two persons.
THRESHOLD = 0.6
#: Names the kept embeddings of originals: raise it whenever the metrics' version is.
_KEPT = "identity-1"


def score(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], masks: NDArray[np.bool_] | None, whole: WholeSet
) -> dict[str, NDArray[np.float64]]:
    """Return each identity metric's column, (1, N) float64, NaN where it is undefined.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 RGB. A person is recognised by the whole head, so that
    ``masks`` change nothing. The first call for a set embeds all its originals.
    """
    rectangles = kept_rectangles(whole)
    gallery: NDArray[np.float64] = whole.kept(_KEPT, lambda pictures: embeddings(pictures, pictures, rectangles))
    found = embeddings(originals, decoded, rectangles[whole.rows])
    distance = np.linalg.norm(found - gallery[whole.rows], axis=1)
    apart = distances(found, gallery)
    miss, miss_other = misses(apart, whole.identities, whole.rows)
    reject, reject_other = rejections(apart, kept_threshold(whole, gallery), whole.identities, whole.rows)
    columns = {
        "ID-distance": distance,
        "ID-error": (distance >= THRESHOLD).astype(np.float64),
        "ID-FRR": reject,
        "ID-FRR-other": reject_other,
        "ID-miss": miss,
        "ID-miss-other": miss_other,
    }
    return {name: values[None] for name, values in columns.items()}
