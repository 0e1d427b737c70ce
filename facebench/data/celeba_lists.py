"""The list files that come with CelebA: partition, identities, attributes, landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facebench.errors import DataError


def read_values(file: Path) -> dict[str, str]:
    """Return the value of each file number in a list of "FILE VALUE" lines (partition, identities)."""
    values = {}
    for number, row in enumerate(_rows(file), 1):
        if len(row) != 2:
            raise DataError(f"{file}, line {number}: expected 'FILE VALUE'")
        values[Path(row[0]).stem] = row[1]
    return values


def read_attributes(file: Path, numbers: Sequence[str]) -> Mapping[str, NDArray[np.bool_]]:
    """Return each attribute of the pictures ``numbers``, (N,) bool; empty without a file or a line for each."""
    if not file.is_file():
        return {}
    names, table = _table(file)
    if any(number not in table for number in numbers):
        return {}
    values = np.array([[value == "1" for value in table[number]] for number in numbers], np.bool_)
    return dict(zip(names, values.T, strict=True))


def read_landmarks(file: Path, numbers: Sequence[str]) -> NDArray[np.float32] | None:
    """Return the landmarks of the pictures ``numbers``, (N, points, 2) x and y in pixels of the aligned 178x218 frame.

    None if there is no file or a picture is not in it.
    """
    if not file.is_file():
        return None
    names, table = _table(file)
    if any(number not in table for number in numbers):
        return None
    try:
        values = np.array([table[number] for number in numbers], np.float32)
    except ValueError as error:
        raise DataError(f"{file} has a landmark that is no number: {error}") from error
    return values.reshape(len(numbers), len(names) // 2, 2)


def _table(file: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the column names and, by file number, the values of a list with a count and a header line."""
    lines = _rows(file)
    names, rows = (lines[1], lines[2:]) if len(lines) > 1 else ([], [])
    bad = next((number for number, row in enumerate(rows, 3) if len(row) != len(names) + 1), None)
    if bad is not None:
        raise DataError(f"{file}, line {bad}: expected a file and {len(names)} values")
    return names, {Path(row[0]).stem: row[1:] for row in rows}


def _rows(file: Path) -> list[list[str]]:
    try:
        return [line.split() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
