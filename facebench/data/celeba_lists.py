"""The list files that come with CelebA: partition, identities, attributes, landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from facebench.data.storage import Folder
from facebench.errors import DataError


def read_values(root: Folder, name: str) -> dict[str, str]:
    """Return the value of each file number in a list of "FILE VALUE" lines (partition, identities)."""
    values = {}
    for number, row in enumerate(_rows(root, name), 1):
        if len(row) != 2:
            raise DataError(f"{root.path_of(name)}, line {number}: expected 'FILE VALUE'")
        values[PurePosixPath(row[0]).stem] = row[1]
    return values


def read_attributes(root: Folder, name: str, numbers: Sequence[str]) -> Mapping[str, NDArray[np.bool_]]:
    """Return each attribute of the pictures ``numbers``, (N,) bool; empty without a file or a line for each."""
    if not root.has(name):
        return {}
    names, table = _table(root, name)
    if any(number not in table for number in numbers):
        return {}
    values = np.array([[value == "1" for value in table[number]] for number in numbers], np.bool_)
    return dict(zip(names, values.T, strict=True))


def read_landmarks(root: Folder, name: str, numbers: Sequence[str]) -> NDArray[np.float32] | None:
    """Return the landmarks of the pictures ``numbers``, (N, points, 2) x and y in pixels of the aligned 178x218 frame.

    None if there is no file or a picture is not in it.
    """
    if not root.has(name):
        return None
    names, table = _table(root, name)
    if any(number not in table for number in numbers):
        return None
    if len(names) % 2:
        raise DataError(
            f"{root.path_of(name)}, line 2: expected the names of x and y of each landmark, not {len(names)} names"
        )
    try:
        with np.errstate(over="ignore"):
            values = np.array([table[number] for number in numbers], np.float32)
        if not np.isfinite(values).all():
            raise ValueError("inf or nan")
    except ValueError as error:
        raise DataError(f"{root.path_of(name)} has a landmark that is no number: {error}") from error
    return values.reshape(len(numbers), len(names) // 2, 2)


def _table(root: Folder, name: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the column names and, by file number, the values of a list with a count and a header line."""
    lines = _rows(root, name)
    names, rows = (lines[1], lines[2:]) if len(lines) > 1 else ([], [])
    bad = next((number for number, row in enumerate(rows, 3) if len(row) != len(names) + 1), None)
    if bad is not None:
        raise DataError(f"{root.path_of(name)}, line {bad}: expected a file and {len(names)} values")
    if lines and lines[0] != [str(len(rows))]:
        raise DataError(f"{root.path_of(name)} is cut off: {len(rows)} pictures, its first line says {lines[0][0]}")
    return names, {PurePosixPath(row[0]).stem: row[1:] for row in rows}


def _rows(root: Folder, name: str) -> list[list[str]]:
    try:
        return [line.split() for line in root.read(name).decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{root.path_of(name)} cannot be read: {error}") from error
