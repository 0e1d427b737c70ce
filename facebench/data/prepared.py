"""Array files that notice damage: behind the data of an ordinary .npy file, the CRC-32 of each row and of its header.

A bit that flips on disk, a file that was cut off or never wholly written would otherwise become a wrong figure.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import shutil
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from facebench.errors import DataError
from facebench.paths import reason

#: The file that makes a folder of the cache a finished set of prepared pictures; the last to be written.
META = "meta.json"
_CHECK = np.dtype("<u4")
#: Of all that keeps a file from being read only this says that it is not there; the rest may pass.
MISSING = (FileNotFoundError, NotADirectoryError)


class DamagedArray(DataError):
    """An array file is missing, cut off, of another shape, or a row of it has changed since it was written."""


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file that is there and may be whole, as when no more files can be opened."""
    return DataError(f"{path} cannot be read ({reason(error)}); try again")


@dataclass(frozen=True)
class RowsFile:
    """A new array file whose rows are written in any order, by any process; a memory map would stay resident."""

    path: Path
    rows: int
    row_bytes: int
    offset: int
    header_check: int

    @classmethod
    def create(cls, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> RowsFile:
        """Begin an array file of ``shape`` at ``path``."""
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
        content = path.read_bytes()
        row_bytes = np.dtype(dtype).itemsize * math.prod(shape[1:])
        return cls(path, shape[0], row_bytes, len(content), zlib.crc32(content))

    def write(self, start: int, rows: Sequence[bytes]) -> list[int]:
        """Write consecutive rows from row ``start`` on; returns a check of each."""
        with self.path.open("r+b", buffering=0) as file:
            file.seek(self.offset + start * self.row_bytes)
            data = memoryview(b"".join(rows))
            while data:
                data = data[file.write(data) :]
        return [zlib.crc32(row) for row in rows]

    def finish(self, checks: Sequence[int]) -> None:
        """End the file with the checks of all rows, in their order; raises ValueError if they are too few or many."""
        if len(checks) != self.rows:
            raise ValueError(f"{len(checks)} rows for an array of {self.rows}")
        with self.path.open("r+b") as file:
            file.seek(self.offset + self.rows * self.row_bytes)
            file.write(np.array([*checks, self.header_check], _CHECK).tobytes())


def save_rows(path: Path, array: NDArray[Any]) -> None:
    """Write ``array``, (N, ...), as an array file."""
    file = RowsFile.create(path, array.dtype, array.shape)
    file.finish(file.write(0, [row.tobytes() for row in array]))


def map_rows(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a whole array file, memory-mapped and read-only, without a look at its rows.

    Raises :class:`DamagedArray` unless the file is whole and of ``dtype`` and ``shape``.
    """
    array = _opened(path).array
    if array.dtype != dtype or array.shape != shape:
        raise DamagedArray(f"{path} has {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    return array


def checked_rows(path: Path, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Return rows ``start`` to ``stop`` (default: the last) of an array file, memory-mapped and read-only.

    A process checks the same rows of the same file once. Raises :class:`DamagedArray`, and :class:`DataError` if the
    file could not be read, which says nothing of it.
    """
    file = _opened(path)
    stop = len(file.array) if stop is None else stop
    file.check(start, stop)
    return file.array[start:stop]


def prepared_rows(path: Path, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Return rows ``start`` to ``stop`` of prepared pictures or masks, memory-mapped and read-only.

    If they are damaged, removes the folder with them, so that they are prepared again, and raises
    :class:`DataError` to say so.
    """
    try:
        return checked_rows(path, start, stop)
    except DamagedArray as error:
        remove_prepared(path.parent)
        left = (path.parent / META).exists() or path.exists()
        outcome = "are damaged; remove that folder and" if left else "were damaged and have been removed;"
        raise DataError(f"the prepared pictures in {path.parent} {outcome} run again") from error


def remove_prepared(folder: Path) -> None:
    """Remove a folder of prepared pictures if it can be, and never one that is none; its name is free at once."""
    if folder.parent.name == "prepared":
        aside = folder.with_name(f".removed-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):  # it is not there, or in a cache that may only be read
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


class _ArrayFile:
    """An array file, memory-mapped, and which of its rows were found to be as they were written."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                start = file.read(10)
                header = start + file.read(struct.unpack_from("<H", start, 8)[0])
                file.seek(size - _CHECK.itemsize)
                if zlib.crc32(header) != int.from_bytes(file.read(), "little"):
                    raise DamagedArray(f"{path} is cut off or was not written by facebench")
            mapped = np.load(path, mmap_mode="r")
        except (*MISSING, ValueError, struct.error) as error:
            raise DamagedArray(f"{path} is missing or damaged") from error
        except OSError as error:
            raise unreadable(path, error) from error
        if not isinstance(mapped, np.memmap) or mapped.ndim == 0:
            raise DamagedArray(f"{path} holds no rows")
        self.array: NDArray[Any] = np.asarray(mapped)
        self._end = int(mapped.offset) + mapped.nbytes
        if self._end + (len(mapped) + 1) * _CHECK.itemsize != size:
            raise DamagedArray(f"{path} is cut off")
        self._checked: set[tuple[int, int]] = set()

    def check(self, start: int, stop: int) -> None:
        if (start, stop) in self._checked:
            return
        place = self._end + start * _CHECK.itemsize
        try:
            expected = np.fromfile(self._path, _CHECK, stop - start, offset=place).tolist()
        except MISSING as error:
            raise DamagedArray(f"{self._path} is missing") from error
        except OSError as error:
            raise unreadable(self._path, error) from error
        if [zlib.crc32(row) for row in self.array[start:stop]] != expected:
            raise DamagedArray(f"{self._path} has changed since it was written")
        self._checked.add((start, stop))


def _opened(path: Path) -> _ArrayFile:
    try:
        stat = path.stat()
    except MISSING as error:
        raise DamagedArray(f"{path} is missing") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return _opened_once(path, stat.st_ino, stat.st_size)


@lru_cache(maxsize=8)
def _opened_once(path: Path, inode: int, size: int) -> _ArrayFile:
    del inode  # a file that has taken this one's place has another: the mapping keeps this one's in use
    return _ArrayFile(path, size)
