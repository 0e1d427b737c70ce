"""Prepared image sets: memory-mapped arrays in the user's cache, identified by a digest of their content."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.data.preprocess import Preprocessing
from facebench.data.source import PictureSource
from facebench.paths import cache_dir

#: Raise when the prepared arrays' layout or meaning changes.
_FORMAT = 2
_CHUNK = 256


@dataclass(frozen=True)
class ImageSet:
    """An ordered list of equally sized pictures, ready for codecs.

    ``images`` is (N, size, size, 3) uint8 RGB, ``masks`` (N, size, size) bool or None, both memory-mapped;
    ``hashes`` is (N, 16) uint8, one hash per picture over its id, pixels and mask. ``attributes`` and ``landmarks``
    are those of :class:`facebench.data.source.PictureSource`, landmarks in pixels of the prepared pictures; no digest
    depends on them.
    """

    name: str
    split: str
    ids: tuple[str, ...]
    identities: tuple[str, ...] | None
    preprocessing: Preprocessing
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None
    hashes: NDArray[np.uint8]
    images_file: Path
    masks_file: Path | None = None
    synthetic: bool = False
    no_mask_reason: str = ""
    masker: str = "annotation"
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    landmarks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int]:
        """The pictures' (height, width) in pixels."""
        return self.preprocessing.size, self.preprocessing.size

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the pictures' hashes and the preprocessing: equal digests mean equal pixels and masks."""
        state = hashlib.sha256(json.dumps(asdict(self.preprocessing), sort_keys=True).encode())
        state.update(np.ascontiguousarray(self.hashes).tobytes())
        return state.hexdigest()

    def head(self, count: int) -> ImageSet:
        """Return the set of the first ``count`` pictures."""
        return self if count >= len(self) else self._select(slice(count))

    def cut(self, every: int) -> tuple[ImageSet, ImageSet]:
        """Return all pictures but every ``every``-th, and those; for training, not for a run."""
        held_out = np.arange(len(self)) % every == every - 1
        return self._select(~held_out), self._select(held_out)

    def _select(self, rows: slice | NDArray[np.bool_]) -> ImageSet:
        def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(np.array(names, dtype=object)[rows])

        return replace(
            self,
            ids=chosen(self.ids),
            identities=chosen(self.identities) if self.identities else None,
            images=self.images[rows],
            masks=None if self.masks is None else self.masks[rows],
            hashes=self.hashes[rows],
            attributes={name: values[rows] for name, values in self.attributes.items()},
            landmarks=None if self.landmarks is None else self.landmarks[rows],
        )

    def with_masks(
        self, masks: NDArray[np.bool_] | None, file: Path | None, masker: str, no_mask_reason: str
    ) -> ImageSet:
        """Return the set with other masks, (N, size, size) bool kept in ``file``, or with none."""
        hashes = np.empty_like(self.hashes)
        for index, picture in enumerate(self.hashes):
            state = hashlib.blake2b(picture.tobytes() + masker.encode(), digest_size=16)
            if masks is not None:
                state.update(np.packbits(masks[index]).tobytes())
            hashes[index] = np.frombuffer(state.digest(), np.uint8)
        return replace(self, masks=masks, masks_file=file, masker=masker, no_mask_reason=no_mask_reason, hashes=hashes)


def prepare(
    source: PictureSource,
    preprocessing: Preprocessing,
    *,
    jobs: int = 1,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> ImageSet:
    """Return ``source`` prepared by ``preprocessing``, from the cache if it is there.

    ``jobs`` threads read and resize; ``progress`` wraps the iterable of finished picture counts.
    Raises :class:`facebench.errors.DataError` naming the first unreadable picture; nothing is cached then.
    """
    key = _key(source, preprocessing)
    folder = cache_dir() / "prepared" / key
    if not (folder / "meta.json").is_file():
        _write(source, preprocessing, folder, jobs, progress)
    return _open(source, preprocessing, folder)


def _key(source: PictureSource, preprocessing: Preprocessing) -> str:
    what = [_FORMAT, source.fingerprint, source.ids, asdict(preprocessing)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _open(source: PictureSource, preprocessing: Preprocessing, folder: Path) -> ImageSet:
    masks = folder / "masks.npy"
    (folder / "meta.json").touch()  # the time of last use, for 'facebench cache limit'
    return ImageSet(
        name=source.name,
        split=source.split,
        ids=source.ids,
        identities=source.identities,
        preprocessing=preprocessing,
        images=np.load(folder / "images.npy", mmap_mode="r"),
        masks=np.load(masks, mmap_mode="r") if masks.is_file() else None,
        hashes=np.load(folder / "hashes.npy"),
        images_file=folder / "images.npy",
        masks_file=masks if masks.is_file() else None,
        synthetic=source.synthetic,
        no_mask_reason=source.no_mask_reason if source.read_mask is None else "",
        attributes=source.attributes,
        landmarks=_placed(source.landmarks, preprocessing, np.load(folder / "shapes.npy")),
    )


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
    jobs: int,
    progress: Callable[[Iterable[int], int], Iterable[int]],
) -> None:
    count, size = len(source.ids), preprocessing.size
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        hashes = np.empty((count, 16), np.uint8)
        shapes = np.empty((count, 2), np.int32)
        with (
            _array_file(building / "images.npy", np.uint8, (count, size, size, 3)) as images,
            _array_file(building / "masks.npy", np.bool_, (count, size, size)) as masks,
            ThreadPoolExecutor(jobs) as pool,
        ):
            for start in progress(range(0, count, _CHUNK), count):
                chunk = range(start, min(start + _CHUNK, count))
                results = pool.map(partial(_prepared, source, preprocessing), chunk)
                for index, (picture, mask, digest, shape) in zip(chunk, results, strict=True):
                    images.write(picture)
                    masks.write(mask)
                    hashes[index] = digest
                    shapes[index] = shape
        if source.read_mask is None:
            (building / "masks.npy").unlink()
        np.save(building / "hashes.npy", hashes)
        np.save(building / "shapes.npy", shapes)
        meta = {"set": source.name, "split": source.split, "pictures": count, **asdict(preprocessing)}
        (building / "meta.json").write_text(json.dumps(meta))
        building.chmod(0o755)
        try:
            building.rename(folder)
        except OSError:  # another process has just finished the same set
            if not (folder / "meta.json").is_file():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _array_file(path: Path, dtype: type, shape: tuple[int, ...]) -> BinaryIO:
    """Open a .npy file of ``shape`` to be filled in order; a memory map would keep all it has written resident."""
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def _prepared(
    source: PictureSource, preprocessing: Preprocessing, index: int
) -> tuple[bytes, bytes, NDArray[np.uint8], tuple[int, ...]]:
    """Return the bytes of picture ``index`` and of its mask (none: empty), their hash, and the source's size."""
    name = source.ids[index]
    picture = source.read(index)
    pixels = preprocessing.picture(picture, name).tobytes()
    state = hashlib.blake2b(name.encode() + b"\0" + pixels, digest_size=16)
    mask_bytes = b""
    if source.read_mask is not None:
        mask = source.read_mask(index)
        if mask.shape != picture.shape[:2]:  # CelebA-HQ's pictures have twice the side of its masks
            mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        mask = preprocessing.mask(mask, name)
        state.update(np.packbits(mask).tobytes())
        mask_bytes = mask.tobytes()
    return pixels, mask_bytes, np.frombuffer(state.digest(), np.uint8), picture.shape[:2]
