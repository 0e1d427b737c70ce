"""Where an image set's files lie: in a folder of this machine, or in one at a URL that fsspec reads."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from facebench.data.named import Place, place_of, without_secrets
from facebench.data.source import file_fingerprint, fingerprint_text
from facebench.errors import DataError, FacebenchError

#: Threads that read from a URL at once: there a read waits for the network, not for a core.
URL_READERS = 16
#: An archive at a URL is read in blocks of so many bytes, of which fsspec keeps the last 32.
_BLOCK_BYTES = 2**20
#: What zipfile raises on damaged members, encrypted ones included.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
#: A member of an archive that claims more bytes is refused. No packing but these two: bzip2 makes 200 MB of 300 bytes.
_MOST_BYTES = 2**28
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What fsspec's filesystems call a file's checksum, version or time of change. Never the time of its last use.
_MARKS = (
    "etag", "checksum", "chksum", "md5", "md5hash", "content-md5", "content_md5", "digest", "crc", "sha", "blob_id",
    "versionid", "generation", "lastmodified", "last-modified", "last_modified", "updated", "mtime", "modified",
    "modify", "modificationtime", "created",
)  # fmt: skip
#: What an address of fsspec's web filesystem begins with: there names are quoted, and a query may follow.
_WEB = ("http://", "https://")


class Unreachable(FacebenchError):
    """A server fails or does not answer: no fault of one picture, so that nobody goes on to the next."""


def open_place(place: Place) -> tuple[Folder, str]:
    """Return the folder at ``place`` and ""; for a zip archive the folder that holds it, and its name there.

    Raises :class:`DataError` for a URL that no installed filesystem reads. Whether the folder exists is not asked yet.
    """
    if isinstance(place, str):
        place = place_of(place)
    if isinstance(place, Path):
        archive = place.suffix == ".zip" and not place.is_dir()
        return (LocalFolder(place.parent), place.name) if archive else (LocalFolder(place), "")
    filesystem, path = _filesystem(place)
    url, query = shown(place), ""
    if path.startswith(_WEB):  # a signed URL, say: its query goes with every file, and into no message
        path, mark, signed = path.partition("?")
        url, query = url.partition("?")[0], mark + signed
    path = path.rstrip("/")
    folder, _, name = path.rpartition("/")
    if name.endswith(".zip"):
        return UrlFolder(filesystem, folder, url.rstrip("/").removesuffix(f"/{name}"), query), name
    return UrlFolder(filesystem, path, url.rstrip("/") if path else url, query), ""


def shown(place: Place) -> str:
    """Return a place as messages and tables name it: without the secrets that a URL may have in it."""
    return without_secrets(str(place))


class Folder(ABC):
    """A folder with files and folders in it, called by their names; only what an image set needs of it is read.

    Methods raise :class:`DataError` or :class:`Unreachable` in one line on whatever keeps them from answering.
    """

    @abstractmethod
    def __str__(self) -> str:
        """Return the folder as messages name it."""

    @abstractmethod
    def path_of(self, name: str) -> str:
        """Return the file ``name`` as messages name it."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all files, in no order; raises DataError if there is no such folder."""

    @abstractmethod
    def folder_names(self) -> list[str]:
        """Return the names of all folders in it, in no order."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether there is a file ``name``."""

    @abstractmethod
    def subfolder(self, name: str) -> Folder | None:
        """Return the folder ``name`` in this one, or None if there is none."""

    @abstractmethod
    def beside(self, name: str) -> Folder | None:
        """Return the folder ``name`` next to this one, or None if there is none."""

    @abstractmethod
    def fingerprints(self, names: Sequence[str]) -> list[str]:
        """Return for each file a string that changes when it is replaced, as far as anybody tells without reading."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file; may be called by several threads at once."""

    @abstractmethod
    def _open_zip(self, name: str) -> tuple[zipfile.ZipFile, str]:
        """Open a zip archive for random access; return it with a string that changes when it is replaced."""


class Archive:
    """A zip archive of pictures; may be read by several threads at once.

    ``members`` maps the stem of each member that ends in ``extension`` to its name; ``fingerprint`` changes when the
    archive is replaced. Raises :class:`DataError` if it is missing or no zip archive.
    """

    def __init__(self, folder: Folder, name: str, extension: str) -> None:
        self._where = folder.path_of(name)
        # Damage makes zipfile raise almost anything, but a network does too.
        self._damage = (Exception,) if isinstance(folder, LocalFolder) else _DAMAGED
        try:
            self._zip, self.fingerprint = folder._open_zip(name)
        except FileNotFoundError as error:
            raise DataError(f"no file {self._where}") from error
        except FacebenchError:
            raise
        except Exception as error:
            raise DataError(
                f"{self._where} is not a readable zip archive: {_one_line(error)}; download it again"
            ) from error
        self.members: dict[str, str] = {}
        for member in self._zip.namelist():
            if member.endswith(extension) and not member.startswith("__MACOSX/"):  # macOS adds those
                stem = member.rpartition("/")[2].removesuffix(extension)
                if stem in self.members:
                    raise DataError(f"{self._where} has two files called {stem}{extension}; remove one")
                self.members[stem] = member

    def path_of(self, stem: str) -> str:
        """Return the member of that stem as messages name it."""
        return f"{self._where}:{self.members[stem]}"

    def read(self, stem: str) -> bytes:
        """Return the bytes of the member of that stem."""
        told = self._zip.getinfo(self.members[stem])
        if told.compress_type not in _PACKINGS:
            raise DataError(f"{self.path_of(stem)} is neither stored nor deflated; pack the archive again")
        if told.file_size > _MOST_BYTES:
            raise DataError(
                f"{self.path_of(stem)} claims {told.file_size:,} bytes, more than {_MOST_BYTES:,}; remove or replace it"
            )
        try:
            if told.header_offset + told.compress_size > self._zip.start_dir:
                raise zipfile.BadZipFile("it claims more bytes than the archive has")
            with self._zip.open(told) as member:
                return member.read(told.file_size + 1)  # ZipFile.read would unpack what is beyond that size, too
        except self._damage as error:
            raise DataError(f"{self.path_of(stem)} is damaged ({_one_line(error)}); download it again") from error
        except Exception as error:
            raise _problem(error, self.path_of(stem)) from error


class LocalFolder(Folder):
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = str(path / "-")[:-1]  # a name; no Path objects: a folder may hold very many files

    @cached_property
    def _resolved(self) -> str:
        return str(self._path.resolve())

    def __str__(self) -> str:
        return str(self._path)

    def path_of(self, name: str) -> str:
        return self._before + name

    def names(self) -> list[str]:
        return self._names(_is_file)

    def folder_names(self) -> list[str]:
        return self._names(lambda entry: not _is_file(entry) and entry.is_dir())

    def _names(self, is_kind: Callable[[os.DirEntry[str]], bool]) -> list[str]:
        try:
            with os.scandir(self._path) as entries:
                return [entry.name for entry in entries if is_kind(entry)]
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(f"no folder {self}") from error
        except OSError as error:
            raise DataError(f"{self} cannot be read: {error.strerror}") from error

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def subfolder(self, name: str) -> Folder | None:
        path = self._path / name
        return LocalFolder(path) if path.is_dir() else None

    def beside(self, name: str) -> Folder | None:
        return LocalFolder(self._path.parent).subfolder(name)

    def fingerprints(self, names: Sequence[str]) -> list[str]:
        return [self._fingerprint(name) for name in names]

    def _fingerprint(self, name: str) -> str:
        try:
            status = os.lstat(self._before + name)
            if stat.S_ISLNK(status.st_mode):
                return file_fingerprint(self._path / name)
            return fingerprint_text(os.path.join(self._resolved, name), status)  # noqa: PTH118
        except OSError as error:
            raise self._unreadable(name, error) from error

    def read(self, name: str) -> bytes:
        try:
            with open(self._before + name, "rb") as file:  # noqa: PTH123
                return file.read()
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> DataError:
        dangling = os.path.lexists(self._path / name) and not (self._path / name).exists()
        why = "is a link to nothing" if dangling else f"cannot be read ({error.strerror})"
        return DataError(f"{self.path_of(name)} {why}; remove or replace it")

    def _open_zip(self, name: str) -> tuple[zipfile.ZipFile, str]:
        return zipfile.ZipFile(self._path / name), file_fingerprint(self._path / name)


class _Entry(NamedTuple):
    """What a listing says of a file or folder: its path as its server spells it; size and marks as far as it knows."""

    path: str
    is_folder: bool
    size: int | None
    marks: str


class UrlFolder(Folder):
    """A folder that an fsspec filesystem reads: listed once, by one call, and not asked file by file.

    Web servers are: where the listing is refused, for the few files with known names, and where it tells names alone,
    for the files whose fingerprints are wanted. ``query`` ("?..." or "") goes with every file.
    """

    def __init__(self, filesystem: Any, path: str, where: str, query: str = "") -> None:
        self._filesystem = filesystem
        self._path = path
        self._where = where
        self._query = query

    def __str__(self) -> str:
        return self._where

    def path_of(self, name: str) -> str:
        return f"{name} in {self._where}" if "::" in self._where else f"{self._where}/{name}"

    def names(self) -> list[str]:
        return [name for name, entry in self._entries().items() if not entry.is_folder]

    def folder_names(self) -> list[str]:
        return [name for name, entry in self._entries().items() if entry.is_folder]

    def has(self, name: str) -> bool:
        if not isinstance(self._listing, DataError):
            return name in self._listing and not self._listing[name].is_folder
        try:
            return not _entry(self._filesystem.info(self._file(name))).is_folder
        except Exception as error:
            if _refused(error):
                return False
            raise _problem(error, self.path_of(name)) from error

    def subfolder(self, name: str) -> Folder | None:
        if isinstance(self._listing, DataError):
            return self._child(f"{self._path}/{name}", name)._if_listed()
        entry = self._listing.get(name)
        return self._child(entry.path.rstrip("/"), name) if entry is not None and entry.is_folder else None

    def beside(self, name: str) -> Folder | None:
        parent = self._filesystem._parent(self._path) if self._path else ""
        if not parent or parent == self._path:
            return None
        return self._child(f"{parent.rstrip('/')}/{name}", f"../{name}")._if_listed()

    def _child(self, path: str, name: str) -> UrlFolder:
        return UrlFolder(self._filesystem, path, self.path_of(name), self._query)

    def _if_listed(self) -> UrlFolder | None:
        return self if not isinstance(self._listing, DataError) and self._listing else None

    def fingerprints(self, names: Sequence[str]) -> list[str]:
        entries = {name: self._entries()[name] for name in names}
        unknown = [name for name, entry in entries.items() if entry.size is None and not entry.marks]
        with ThreadPoolExecutor(URL_READERS) as pool:
            entries |= zip(unknown, pool.map(self._asked, unknown), strict=True)
        return [self._fingerprint(name, entries[name]) for name in names]

    def _asked(self, name: str) -> _Entry:
        """Return what the server says of a file, or the listing's entry if nothing: reading it will tell why."""
        try:
            return _entry(self._filesystem.info(self._file(name)))
        except Exception as error:
            if _refused(error):
                return self._entries()[name]
            raise _problem(error, self.path_of(name)) from error

    def read(self, name: str) -> bytes:
        try:
            return bytes(self._filesystem.cat_file(self._file(name)))
        except Exception as error:
            raise _problem(error, self.path_of(name)) from error

    def _open_zip(self, name: str) -> tuple[zipfile.ZipFile, str]:
        entry = None if isinstance(self._listing, DataError) else self._listing.get(name)
        path = self._file(name)
        try:
            if entry is None or entry.size is None:
                entry = _entry(self._filesystem.info(path))
            # In order, but by several threads: a cache of blocks, where fsspec's usual one keeps a single stretch.
            opened = self._filesystem.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="blockcache")
        except FileNotFoundError:
            raise
        except Exception as error:
            raise _problem(error, self.path_of(name)) from error
        return zipfile.ZipFile(opened), self._fingerprint(name, entry)

    def _fingerprint(self, name: str, entry: _Entry) -> str:
        return f"{self.path_of(name)}:{entry.size}:{entry.marks}"

    def _file(self, name: str) -> str:
        if not isinstance(self._listing, DataError) and name in self._listing:
            return self._listing[name].path + self._query
        return f"{self._path}/{name}{self._query}" if self._path else name

    def _entries(self) -> dict[str, _Entry]:
        if isinstance(self._listing, DataError):
            raise self._listing
        return self._listing

    @cached_property
    def _listing(self) -> dict[str, _Entry] | DataError:
        """What is in the folder, by name, or why it does not let itself be listed; raises Unreachable."""
        try:
            self._filesystem.invalidate_cache(self._path)
            entries = [_entry(told) for told in self._filesystem.ls(self._path, detail=True)]
            self._filesystem.invalidate_cache(self._path)  # which may hold a kilobyte for each picture
        except Exception as error:
            problem = _problem(error, self._where)
            if not isinstance(problem, DataError):
                raise problem from error
            return problem
        named = {}
        folder = self._path.lstrip("/")
        for entry in entries:
            path = entry.path.lstrip("/")
            name = path.removeprefix(f"{folder}/" if folder else "").rstrip("/")
            if path == folder and not entry.is_folder:
                return DataError(f"{self._where} is a file, not a folder")
            if name and "/" not in name:  # not the folder itself, nor a web page's links to other folders
                named[unquote(name) if path.startswith(_WEB) else name] = entry
        return named


def _entry(told: Mapping[str, Any]) -> _Entry:
    marks = sorted(f"{key}={value}" for key, value in told.items() if key.lower() in _MARKS and value is not None)
    return _Entry(str(told["name"]), told["type"] == "directory", told.get("size"), " ".join(marks))


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec.core  # type: ignore[import-untyped]

    where = shown(url)
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None)
        hint = f"pip install {missing}" if missing else _one_line(error)
        raise DataError(f"{where} needs a package that is not installed: {hint}") from error
    except Exception as error:
        if "Protocol not known" in str(error):
            known = "use one of fsspec's, such as s3://, gs:// or https://"
            raise DataError(f"{where}: {_one_line(error)}; {known}") from error
        raise _problem(error, where) from error
    return filesystem, str(path)


def _refused(error: Exception) -> bool:
    """Return whether the server has answered, and with no: 'not found', 'no access', 'no listing'."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError, NotImplementedError)):
        return True
    return 400 <= (_status(error) or 0) < 500


def _status(error: Exception) -> int | None:
    status = getattr(error, "status", None)  # aiohttp's errors
    return status if isinstance(status, int) else None


def _problem(error: Exception, where: str) -> FacebenchError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) or _status(error) in (404, 410):
        return DataError(f"nothing found at {where}; check the URL")
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return DataError(f"no access to {where} ({_one_line(error)}); give fsspec the rights that it needs")
    why = f"{where} cannot be read ({type(error).__name__}: {_one_line(error)})"
    return DataError(why) if _refused(error) else Unreachable(f"{why}; try again")


def _one_line(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split()))[:200]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file. A link to nothing is one, too: whoever wants that file names it."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:  # a loop of links
        return True
