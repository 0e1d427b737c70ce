"""Face embeddings: 128 values per picture, by dlib's network, aligned by the original picture alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facebench_identity.alignment import face_chip
from facebench_identity.network import describe_faces


def embeddings(
    originals: NDArray[np.uint8], pictures: NDArray[np.uint8], rectangles: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the embeddings of ``pictures``, (N, 128), each aligned as the original of the same place.

    Both are (N, H, W, 3) uint8 RGB; ``rectangles``, (N, 4), are where the originals' faces are.
    """
    found = np.empty((len(pictures), 128))
    for start in range(0, len(pictures), 256):  # chips of 67 kB are made a few at a time
        part = slice(start, start + 256)
        cuts = zip(originals[part], pictures[part], rectangles[part], strict=True)
        found[part] = describe_faces([face_chip(*cut) for cut in cuts])
    return found
