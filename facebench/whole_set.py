"""The image set behind a shard, for metrics that compare a picture with others than its own original."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facebench.paths import atomic_path, kept_array_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class WholeSet:
    """All M pictures that a run scores, and which of them a metric is asked about.

    ``originals`` is (M, H, W, 3) uint8, memory-mapped and read-only; ``digest`` names their pixels, masks and
    preprocessing; ``identities`` has M names of persons, or is None where they are unknown ("" where one is).
    ``rows``, (N,) int64, are the places in ``originals`` of the N pictures to score.
    """

    originals: NDArray[np.uint8]
    digest: str
    identities: tuple[str, ...] | None
    rows: NDArray[np.int64]

    def kept(self, name: str, make: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> NDArray[Any]:
        """Return ``make(originals)``, made once per image set and kept in facebench's cache; read-only.

        ``name``, a file name without its ending, says what the array depends on beside the pictures: the metric and
        its version, say. Processes that need it at the same time may each make it; none reads another's half.
        """
        from facebench.data.prepared import DamagedArray, checked_rows, save_rows

        file = kept_array_path(self.digest, name)
        try:
            array: NDArray[Any] = checked_rows(file)[0, ...]
            with contextlib.suppress(OSError):  # the time of last use, for 'facebench cache limit'
                file.touch()
            return array
        except DamagedArray:  # or none yet
            made = make(self.originals)
            with atomic_path(file) as path:
                save_rows(path, made[None])  # one row: it is read whole
            made.flags.writeable = False
            return made
