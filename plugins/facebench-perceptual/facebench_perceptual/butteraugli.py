"""Butteraugli by libjxl's own program ``butteraugli_main``, a process per picture: no kept package has it as a library.

Its definition changed between releases of libjxl, and the program does not say which it is of. So it has to score a
known pair of pictures first, and is refused if it finds another number than libjxl 0.11 does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench import FacebenchError

#: Environment variable with the path of the program, where it is not on the PATH.
VARIABLE = "FACEBENCH_BUTTERAUGLI"
PROGRAM = "butteraugli_main"
#: The smallest side that the program takes, in pixels.
SMALLEST_SIDE = 8
#: What libjxl 0.11 finds for known_pair(): the largest difference and the 3-norm.
KNOWN_SCORES = (5.1122, 3.8015)

Pictures = NDArray[np.uint8]


class ButteraugliError(FacebenchError):
    """libjxl's butteraugli_main is missing, of another version, or fails."""


def score(originals: Pictures, decoded: Pictures, masks: NDArray[np.bool_] | None) -> dict[str, NDArray[np.float64]]:
    """Return Butteraugli's distances per picture, the largest and the 3-norm, each (1, N) float64; 0 is best.

    ``originals`` and ``decoded`` are (N, H, W, 3) uint8 sRGB. NaN where a side is below 8 pixels. ``masks`` change
    nothing. Raises ButteraugliError where the program is missing or is not libjxl 0.11's.
    """
    program = checked_program(_found_program())
    distances = np.full((2, len(originals)), np.nan)
    if min(originals.shape[1:3]) >= SMALLEST_SIDE:
        for index, (original, picture) in enumerate(zip(originals, decoded, strict=True)):
            distances[:, index] = _distances(program, original, picture)
    return {"Butteraugli": distances[:1], "Butteraugli-3norm": distances[1:]}


@lru_cache
def checked_program(program: str) -> str:
    """Return ``program`` if it scores the known pair as libjxl 0.11 does; raises ButteraugliError."""
    found = _distances(program, *known_pair())
    if not np.allclose(found, KNOWN_SCORES, rtol=1e-3):
        raise ButteraugliError(
            f"{program} is not libjxl 0.11's: it scores a known pair {found[0]:.4f}, not {KNOWN_SCORES[0]:.4f}; "
            f"install libjxl 0.11's (Debian 13: libjxl-devtools) and set {VARIABLE} to its path"
        )
    return program


def known_pair() -> tuple[Pictures, Pictures]:
    """Return two fixed pictures, (32, 32, 3), by which versions of the program are told apart."""
    row, column = np.mgrid[:32, :32]
    ramps = np.stack([6 * row + 30, 5 * column + 40, 3 * (row + column) + 20], axis=2)
    bumps = np.stack([(row * column) % 23, (row + 2 * column) % 17, (3 * row + column) % 29], axis=2)
    return ramps.astype(np.uint8), (ramps + bumps - 10).astype(np.uint8)


def _found_program() -> str:
    program = os.environ.get(VARIABLE) or PROGRAM
    path = shutil.which(program)
    if path is None:
        raise ButteraugliError(
            f"no {program}: install libjxl 0.11's tools (Debian 13: apt install libjxl-devtools), "
            f"or set {VARIABLE} to the path of {PROGRAM}"
        )
    return path


def _distances(program: str, original: Pictures, picture: Pictures) -> tuple[float, float]:
    """Return the largest distance and the 3-norm that ``program`` prints for two (H, W, 3) pictures."""
    with tempfile.TemporaryDirectory(prefix="facebench-butteraugli-") as folder:
        paths = [str(Path(folder, name)) for name in ("original.png", "decoded.png")]
        for path, pixels in zip(paths, (original, picture), strict=True):
            cv2.imwrite(path, cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR))
        try:
            done = subprocess.run([program, *paths], capture_output=True, text=True, check=True, timeout=600)
            largest, norm = done.stdout.splitlines()[:2]
            return float(largest), float(norm.removeprefix("3-norm:"))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise ButteraugliError(f"{program} does not score two pictures as {PROGRAM} does: {error}") from error
