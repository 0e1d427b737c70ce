"""The file of 'facebench encode': tells its decoder all, and is refused when damaged."""

from __future__ import annotations

import numpy as np
import pytest

from facebench.container import FaceFile, unpack
from facebench.errors import CodecError

FILE = FaceFile("jpeg:quality=20", (64, 64), "ab" * 32, b"payload")


def test_a_file_comes_back_as_it_was() -> None:
    found = unpack(FILE.pack(), "x.face")
    assert (found.point, found.size, found.payload) == (FILE.point, FILE.size, FILE.payload)
    assert found.has_weights("ab" * 32)
    assert not found.has_weights("cd" * 32)
    assert not found.has_weights(None)


def test_every_cut_and_any_random_bytes_are_refused_by_name() -> None:
    whole = FILE.pack()
    for length in range(len(whole) - len(FILE.payload) + 1):
        with pytest.raises(CodecError, match=r"x\.face"):
            unpack(whole[:length], "x.face")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            assert len(unpack(bytes(damaged), "x.face").payload) < len(whole)
        except CodecError as error:
            assert "\n" not in str(error)
