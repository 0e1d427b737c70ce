"""CelebA as it is distributed, with facebench's own split by identity (Liu et al., ICCV 2015)."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from facebench.data.celeba_lists import read_attributes, read_landmarks, read_values
from facebench.data.named import Place
from facebench.data.source import PictureSource, decode_picture
from facebench.data.storage import Archive, Folder, open_place
from facebench.errors import DataError
from facebench.masks.annotation import find_masks

#: Names of the parts of CelebA's ``list_eval_partition.txt`` and of facebench's split list.
PARTS = ("train", "valid", "test")
SPLITS = ("test", "valid", "train", "official-test", "official-valid", "official-train", "all")
#: The usual crop around the face in the aligned 178x218 pictures.
DEFAULT_CROP = "centre-148"


@dataclass(frozen=True)
class SplitEntry:
    """One line of facebench's split list: CelebA's file number and identity, and the part it belongs to."""

    number: str
    identity: str
    part: str


@cache
def facebench_split() -> tuple[SplitEntry, ...]:
    """Return facebench's split of 14,723 CelebA pictures by identity, in file order.

    No person is in two parts. All of these lie in CelebA's official *test* partition.
    """
    text = resources.files("facebench.data").joinpath("celeba_split.csv").read_text()
    return tuple(SplitEntry(row["file"], row["identity"], row["part"]) for row in csv.DictReader(text.splitlines()))


def split_members(part: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the picture ids and identities of one part of facebench's split ("celeba:182638", "celeba:7760")."""
    entries = [entry for entry in facebench_split() if entry.part == part]
    return (
        frozenset(f"celeba:{entry.number}" for entry in entries),
        frozenset(f"celeba:{entry.identity}" for entry in entries),
    )


def open_source(place: Place, split: str) -> PictureSource:
    """Open CelebA at ``place``, a path or URL: the folder with ``img_align_celeba.zip`` or ``img_align_celeba/``, or
    that zip.

    ``split`` is one of :data:`SPLITS`: facebench's own parts, CelebA's official ones, or all pictures found.
    Raises :class:`DataError` if pictures or list files that the split needs are missing.
    """
    root, archive = open_place(place)
    read_member, found, fingerprint = _open_pictures(root, archive)
    numbers = _numbers_of(split, root, found)
    missing = [number for number in numbers if number not in found]
    if missing:
        raise DataError(
            f"{root.path_of(archive) if archive else root} lacks {len(missing)} of the {len(numbers)} pictures of "
            f"split '{split}' (first: {missing[0]}.jpg); get the whole of CelebA: see 'facebench data'"
        )
    if not numbers:
        raise DataError(f"{root} has no picture of split '{split}'")
    masks = find_masks(root, numbers)
    return PictureSource(
        name="celeba",
        split=split,
        ids=tuple(f"celeba:{number}" for number in numbers),
        identities=_identities_of(numbers, root),
        attributes=read_attributes(root, "list_attr_celeba.txt", numbers),
        landmarks=read_landmarks(root, "list_landmarks_align_celeba.txt", numbers),
        fingerprint=f"celeba {split} {fingerprint} {masks[1] if masks else ''}",
        read=lambda index: read_member(numbers[index]),
        read_mask=masks[0] if masks else None,
        default_crop=DEFAULT_CROP,
        no_mask_reason=f"no face_masks.zip in {root}",
    )


def _open_pictures(root: Folder, named: str) -> tuple[Callable[[str], NDArray[np.uint8]], Collection[str], str]:
    """Return a reader by file number, the numbers found, and a fingerprint; ``named`` is the archive's name or ""."""
    if named or root.has("img_align_celeba.zip"):
        archive = Archive(root, named or "img_align_celeba.zip", ".jpg")
        return (
            lambda number: decode_picture(archive.read(number), archive.path_of(number)),
            archive.members,
            archive.fingerprint,
        )
    for folder in (root.subfolder("img_align_celeba"), root):
        files = {name.removesuffix(".jpg"): name for name in folder.names() if name.endswith(".jpg")} if folder else {}
        if folder and files:
            return _folder_reader(folder, files)
    raise DataError(
        f"no CelebA pictures in {root}: expected img_align_celeba.zip or img_align_celeba/; see 'facebench data'"
    )


def _folder_reader(
    folder: Folder, files: dict[str, str]
) -> tuple[Callable[[str], NDArray[np.uint8]], Collection[str], str]:
    state = "\n".join(folder.fingerprints([files[number] for number in sorted(files)]))
    return (
        lambda number: decode_picture(folder.read(files[number]), folder.path_of(files[number])),
        files,
        hashlib.sha256(state.encode()).hexdigest(),
    )


def _numbers_of(split: str, root: Folder, found: Collection[str]) -> list[str]:
    if split in PARTS:
        return [entry.number for entry in facebench_split() if entry.part == split]
    if split == "all":
        return sorted(found)
    if split.startswith("official-") and split.removeprefix("official-") in PARTS:
        wanted = str(PARTS.index(split.removeprefix("official-")))
        parts = read_values(root, "list_eval_partition.txt")
        unlisted = [number for number in found if number not in parts]
        if unlisted:  # cut off at the end of a line, it would give a smaller split
            raise DataError(
                f"{root.path_of('list_eval_partition.txt')} lacks {len(unlisted)} of the {len(found)} pictures there "
                f"(first: {min(unlisted)}.jpg); get it again"
            )
        return [number for number, part in parts.items() if part == wanted]
    raise DataError(f"unknown split '{split}': use one of {', '.join(SPLITS)}")


def _identities_of(numbers: list[str], root: Folder) -> tuple[str, ...] | None:
    known = {entry.number: entry.identity for entry in facebench_split()}
    if root.has("identity_CelebA.txt"):
        known |= read_values(root, "identity_CelebA.txt")
    if any(number not in known for number in numbers):
        return None
    return tuple(f"celeba:{known[number]}" for number in numbers)
