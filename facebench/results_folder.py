"""Which folder a run's results go to, and that it is this run's alone while it lasts."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from facebench.errors import ResultsError
from facebench.paths import MANIFEST, leftovers, reason
from facebench.plan import Plan, run_name
from facebench.store import RUN_FILES

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
#: What must fit on the disk before the work starts, in bytes.
_ROOM = 1 << 16


class _InUse(ResultsError):
    """Another process holds the folder."""


@contextlib.contextmanager
def reserved_folder(out: Path | None, plan: Plan, overwrite: bool) -> Iterator[Path]:
    """Yield the folder for the results of ``plan``, made and locked: until the block ends no other run gets it.

    It is ``out``, or by default the first of results/NAME, results/NAME-2 ... that no other run holds and that is
    free or has this run's results. Two runs are the same if their operating points and image set are, and ours has
    all of its metrics. Folders that were made and stay empty are removed again. Raises :class:`ResultsError` at once
    if ``out`` is held by another run, or has another's results and ``overwrite`` is not set, and if the folder cannot
    be written.

    The lock is the kernel's, on a file in the folder, and ends with the process, however that ends. Where there are
    no such locks (Windows, some network file systems) nothing keeps two runs out of one folder; even then each file
    is whole, and :func:`facebench.store.read_run` refuses a mixture of both.
    """
    if out is not None:
        with _held(out):
            _refuse_anothers(out, plan, overwrite)
            yield out
        return
    for folder in _default_folders(plan):
        if _is_ours(folder, plan):
            with contextlib.suppress(_InUse), _held(folder):
                if _is_ours(folder, plan):  # still: another run may have finished meanwhile
                    yield folder
                    return


def _default_folders(plan: Plan) -> Iterator[Path]:
    base = Path("results") / run_name(plan.images)
    yield base
    yield from (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))


def _refuse_anothers(out: Path, plan: Plan, overwrite: bool) -> None:
    if not overwrite and not _is_ours(out, plan):
        raise ResultsError(f"{out} holds another run: choose another --out, or --overwrite to replace it")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make ``folder`` and lock it; raises :class:`_InUse` if another process did, ResultsError if it cannot be."""
    made: list[Path] = []
    try:
        try:
            made = [path for path in (folder, *folder.parents) if not path.exists()]
            handle = _lock(folder)
        except OSError as error:
            raise ResultsError(f"cannot write {folder}: {reason(error)}; choose another --out") from error
        try:
            for old in (path for name in RUN_FILES for path in leftovers(folder / name)):  # of a run that was killed
                old.unlink()
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()  # while it is ours
            os.close(handle)
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


def _lock(folder: Path) -> int:
    """Return the handle of the lock file, which says who holds it; OSError if there is no room for a small file."""
    file = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the run that made the folder has just removed it
            continue
        try:
            if not _locked(handle):
                raise _InUse(
                    f"{folder} is in use by another run{_holder(handle)}: wait for it, or choose another --out"
                )
            if _is_at(handle, file):
                _sign(handle, file)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _locked(handle: int) -> bool:
    """Lock the file, unless another process has: then return False."""
    if fcntl is None:
        return True
    try:
        # Not flock: a process that a codec has forked would hold that too, and outlive a run that is killed.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # others: this file system has no locks
    return True


def _is_at(handle: int, file: Path) -> bool:
    """Whether the locked file still has its name: its last holder may have removed it just before."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _sign(handle: int, file: Path) -> None:
    """Write who holds the lock, and see whether there is room."""
    text = f"process {os.getpid()} on {platform.node()}".encode()
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(text.ljust(_ROOM))
        os.fsync(handle)
        os.truncate(handle, len(text))
    except OSError:
        file.unlink()
        raise


def _holder(handle: int) -> str:
    found = re.match(rb"process \d+ on [\w.-]+", os.read(handle, 200))
    return f" ({found[0].decode()})" if found else ""


def _is_ours(folder: Path, plan: Plan) -> bool:
    """Whether ``folder`` is free, or holds a run of the same points and image set without metrics that ours lacks."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return True
    try:
        found = json.loads(manifest.read_text())
        # Without the baseline's where it could not be made; downscaled ones come by themselves where budgets need them.
        points = {name for name, about in found["points"].items() if name in plan.points or not about.get("downscale")}
        same_points = plan.requested <= points <= set(plan.points)
        columns = {column.name for metric in plan.metrics for column in metric.columns}
        return same_points and columns >= set(found["metrics"]) and found["image_set"]["digest"] == plan.images.digest
    except (OSError, ValueError, KeyError, TypeError):
        return False
