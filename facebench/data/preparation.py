"""Makes prepared image sets, in the user's cache: read, resized, hashed and written part by part."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.data.imageset import ImageSet
from facebench.data.prepared import (
    META,
    MISSING,
    DamagedArray,
    RowsFile,
    checked_rows,
    map_rows,
    remove_prepared,
    save_rows,
    unreadable,
)
from facebench.data.preprocess import Preprocessing
from facebench.data.source import PictureSource
from facebench.errors import DataError
from facebench.paths import cache_dir, reason

#: Raise when the prepared arrays' layout or meaning changes.
_FORMAT = 3
#: Pictures that are prepared by one task, and tasks that are given out at the same time.
_PART, _IN_FLIGHT = 8, 32
#: So many pictures that cannot be used are named in the error; after so many the rest is not looked at.
_NAMED, _ENOUGH = 5, 1000

#: The bytes of a prepared picture and of its mask (none: empty), their hash, and the picture's size in the source.
_Prepared = tuple[bytes, bytes, NDArray[np.uint8], tuple[int, ...]]


@dataclass(frozen=True)
class Arrays:
    """The array files of a set in the making; ``masks`` is None for a set without."""

    images: RowsFile
    masks: RowsFile | None


@dataclass(frozen=True)
class PreparedPart:
    """What is told of consecutive pictures that were prepared: their rows' checks, hashes and sizes in the source.

    Or, if some cannot be used, why, in one line each: then nothing was written.
    """

    images: list[int]
    masks: list[int]
    hashes: NDArray[np.uint8]
    shapes: list[tuple[int, ...]]
    faults: list[str]


#: Gives out the task of preparing some consecutive pictures into these arrays.
ReadPart = Callable[[range, Arrays], "Future[PreparedPart]"]


def prepare(
    source: PictureSource,
    preprocessing: Preprocessing,
    *,
    jobs: int = 1,
    submit: ReadPart | None = None,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Return ``source`` prepared by ``preprocessing``, from the cache if it is there.

    ``jobs`` threads read and resize, or whatever ``submit`` has for it; ``progress`` wraps the iterable of finished
    picture counts.
    Raises :class:`facebench.errors.DataError` naming the first pictures that cannot be used, and how many there are;
    nothing is cached then. What is damaged in the cache is prepared again: files that are missing, cut off or of
    another set here, changed pictures and masks when they are read (:func:`facebench.data.prepared.prepared_rows`).
    """
    folder = cache_dir() / "prepared" / _key(source, preprocessing)
    with contextlib.suppress(_NotThere):
        try:
            return _open(source, preprocessing, folder)
        except DamagedArray:
            remove_prepared(folder)
    try:
        with _threads(source, preprocessing, jobs) if submit is None else nullcontext(submit) as read:
            _write(source, preprocessing, folder, read, progress)
    except BrokenPipeError:  # of whoever shows the progress
        raise
    except OSError as error:
        raise cannot_write(error) from error
    return _open(source, preprocessing, folder)


def cannot_write(error: OSError) -> DataError:
    """Return the error of a cache that takes no prepared pictures."""
    again = "free some space, or set FACEBENCH_CACHE to another folder"
    return DataError(f"cannot write the cache {cache_dir() / 'prepared'}: {reason(error)}; {again}")


class _NotThere(DataError):
    """There is no finished set in a folder. It may be in the making: nothing is to be removed."""


def _key(source: PictureSource, preprocessing: Preprocessing) -> str:
    what = [_FORMAT, source.fingerprint, source.ids, asdict(preprocessing)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _meta(source: PictureSource, preprocessing: Preprocessing) -> dict[str, Any]:
    return {"set": source.name, "split": source.split, "pictures": len(source.ids), **asdict(preprocessing)}


def _open(source: PictureSource, preprocessing: Preprocessing, folder: Path) -> ImageSet:
    """Open what is in the cache; raises _NotThere, or DamagedArray if it is damaged but for the rows themselves."""
    try:
        meta = json.loads((folder / META).read_text())
    except MISSING as error:
        raise _NotThere(f"the prepared pictures in {folder} have been removed; run again") from error
    except ValueError as error:
        raise DamagedArray(f"{folder / META} is damaged") from error
    except OSError as error:
        raise unreadable(folder / META, error) from error
    if meta != _meta(source, preprocessing):
        raise DamagedArray(f"{folder / META} is of another set")
    count, size = len(source.ids), preprocessing.size
    masks_file = folder / "masks.npy" if source.read_mask is not None else None
    images = ImageSet(
        name=source.name,
        split=source.split,
        ids=source.ids,
        identities=source.identities,
        preprocessing=preprocessing,
        images=map_rows(folder / "images.npy", np.uint8, (count, size, size, 3)),
        masks=None if masks_file is None else map_rows(masks_file, np.bool_, (count, size, size)),
        hashes=checked_rows(folder / "hashes.npy"),
        images_file=folder / "images.npy",
        masks_file=masks_file,
        synthetic=source.synthetic,
        no_mask_reason=source.no_mask_reason if source.read_mask is None else "",
        attributes=source.attributes,
        landmarks=_placed(source.landmarks, preprocessing, checked_rows(folder / "shapes.npy")),
    )
    with contextlib.suppress(OSError):  # the time of last use, for 'facebench cache limit'
        (folder / META).touch()
    return images


def _placed(
    landmarks: NDArray[np.float32] | None, preprocessing: Preprocessing, shapes: NDArray[np.int32]
) -> NDArray[np.float32] | None:
    """Return the landmarks of pictures that had these heights and widths, (N, 2), in pixels of the prepared ones."""
    if landmarks is None:
        return None
    placed = np.empty_like(landmarks)
    for height, width in np.unique(shapes, axis=0):
        alike = (shapes == (height, width)).all(axis=1)
        placed[alike] = preprocessing.points(landmarks[alike], int(height), int(width))
    return placed


def _write(
    source: PictureSource,
    preprocessing: Preprocessing,
    folder: Path,
    submit: ReadPart,
    progress: Callable[[Iterable[int], int], Iterable[int]],
) -> None:
    count, size = len(source.ids), preprocessing.size
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        masks = None if source.read_mask is None else building / "masks.npy"
        arrays = Arrays(
            RowsFile.create(building / "images.npy", np.uint8, (count, size, size, 3)),
            None if masks is None else RowsFile.create(masks, np.bool_, (count, size, size)),
        )
        parts = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
        finished = _in_order(lambda part: submit(part, arrays), parts)
        hashes, shapes = np.empty((count, 16), np.uint8), np.empty((count, 2), np.int32)
        image_checks: list[int] = []
        mask_checks: list[int] = []
        faults: list[str] = []
        for start in progress(range(0, count, _PART), count):
            part = next(finished)
            faults += part.faults
            if len(faults) >= _ENOUGH:
                break
            if not faults:
                rows = slice(start, start + len(part.shapes))
                hashes[rows], shapes[rows] = part.hashes, part.shapes
                image_checks += part.images
                mask_checks += part.masks
        if faults:
            raise DataError(_summary(faults, count))
        arrays.images.finish(image_checks)
        if arrays.masks is not None:
            arrays.masks.finish(mask_checks)
        save_rows(building / "hashes.npy", hashes)
        save_rows(building / "shapes.npy", shapes)
        (building / META).write_text(json.dumps(_meta(source, preprocessing)))
        building.chmod(0o755)
        _take_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _in_order(submit: Callable[[range], Future[PreparedPart]], parts: Iterable[range]) -> Iterator[PreparedPart]:
    """Yield the results of ``parts`` in their order, a bounded number of them in flight."""
    flying: deque[Future[PreparedPart]] = deque()
    for part in parts:
        flying.append(submit(part))
        if len(flying) == _IN_FLIGHT:
            yield flying.popleft().result()
    while flying:
        yield flying.popleft().result()


@contextmanager
def _threads(source: PictureSource, preprocessing: Preprocessing, jobs: int) -> Iterator[ReadPart]:
    """Yield what submits parts to threads of this process; on the way out those not begun are not."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield lambda part, arrays: pool.submit(prepare_part, source, preprocessing, part, arrays)
    finally:
        pool.shutdown(cancel_futures=True)


def _take_place(building: Path, folder: Path) -> None:
    """Rename a finished set, unless another process has just finished the same one."""
    for last in (False, True):
        try:
            building.rename(folder)
            return
        except OSError:
            if (folder / META).is_file():
                return
            if last:
                raise
            remove_prepared(folder)  # what is left of a set that was not removed whole


def _summary(faults: list[str], count: int) -> str:
    """Return one line on the pictures of ``count`` that cannot be used; each fault is "what; what to do"."""
    if len(faults) == 1:
        return faults[0]
    named, more = faults[:_NAMED], len(faults) - _NAMED
    number = f"{len(faults):,} of {count:,}" if len(faults) < _ENOUGH else f"at least {len(faults):,} of {count:,}"
    parts = [fault.rpartition("; ") for fault in named]
    same = all(what for what, _, _ in parts) and len({advice for _, _, advice in parts}) == 1
    told = ", ".join([what for what, _, _ in parts] if same else named) + (f" and {more:,} more" if more > 0 else "")
    return f"{number} pictures cannot be used: {told}" + (f"; {parts[0][2]}" if same else "")


def prepare_part(source: PictureSource, preprocessing: Preprocessing, part: range, arrays: Arrays) -> PreparedPart:
    """Prepare pictures ``part`` of ``source`` into ``arrays``; raises OSError if the disk does not take them."""
    results = [_prepared_or_fault(source, preprocessing, index) for index in part]
    prepared = [result for result in results if not isinstance(result, str)]
    faults = [result for result in results if isinstance(result, str)]
    if faults:
        return PreparedPart([], [], np.empty((0, 16), np.uint8), [], faults)
    return PreparedPart(
        arrays.images.write(part.start, [pixels for pixels, *_ in prepared]),
        [] if arrays.masks is None else arrays.masks.write(part.start, [mask for _, mask, *_ in prepared]),
        np.stack([digest for _, _, digest, _ in prepared]),
        [shape for *_, shape in prepared],
        [],
    )


def _prepared_or_fault(source: PictureSource, preprocessing: Preprocessing, index: int) -> _Prepared | str:
    """Return :func:`_prepared`, or in one line why the picture cannot be used."""
    try:
        return _prepared(source, preprocessing, index)
    except DataError as error:
        return str(error)
    except OSError as error:  # a file that has gone since it was listed, a disk that fails
        return f"{error.filename or source.ids[index]} cannot be read ({error.strerror or error}); remove or replace it"


def _prepared(source: PictureSource, preprocessing: Preprocessing, index: int) -> _Prepared:
    name = source.ids[index]
    picture = source.read(index)
    pixels = preprocessing.picture(picture, name).tobytes()
    state = hashlib.blake2b(name.encode() + b"\0" + pixels, digest_size=16)
    mask_bytes = b""
    if source.read_mask is not None:
        mask = source.read_mask(index)
        if mask.shape != picture.shape[:2]:  # CelebA-HQ's pictures have twice the side of its masks
            height, width = picture.shape[:2]
            if abs(mask.shape[0] - mask.shape[1] * height / width) > 1:
                shape = f"{mask.shape[1]}x{mask.shape[0]}"
                raise DataError(f"{name} is {width}x{height} and its mask {shape}; get the mask that belongs to it")
            mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        mask = preprocessing.mask(mask, name)
        state.update(np.packbits(mask).tobytes())
        mask_bytes = mask.tobytes()
    return pixels, mask_bytes, np.frombuffer(state.digest(), np.uint8), picture.shape[:2]
