"""Parts of a run's pictures whose scores are held against each other: by attribute, by pose, by face size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facebench.data.facts import ATTRIBUTE, FACE_SIZE, YAW

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: Smaller groups are not judged: their means say more of single pictures, or of single persons, than of the group.
LEAST_PICTURES, LEAST_IDENTITIES = 20, 5
POSE = "pose"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """A part of the pictures: ``members``, (N,) bool in the order of the run's table of pictures."""

    name: str
    members: NDArray[np.bool_] = field(repr=False)
    pictures: int
    identities: int

    @property
    def unjudged(self) -> str:
        """Why nothing is said of the group, or ''."""
        if self.pictures >= LEAST_PICTURES and self.identities >= LEAST_IDENTITIES:
            return ""
        return (
            f"{self.pictures} pictures of {self.identities} identities: fewer than {LEAST_PICTURES} pictures or "
            f"{LEAST_IDENTITIES} identities"
        )


@dataclass(frozen=True)
class Grouping:
    """One way to part the pictures: an ``attribute`` (with it, without it), or thirds by "pose" or "face size".

    ``bounds`` are the largest values in all thirds but the last: of abs(yaw) in eye distances, of face size in pixels.
    """

    name: str
    groups: tuple[Group, ...]
    attribute: bool = False
    bounds: tuple[float, ...] = ()


def groupings_of(run: Run) -> tuple[Grouping, ...]:
    """Return the ways in which the run's table of pictures parts them; none if it has no such table."""
    pictures = run.pictures
    if pictures is None or not len(pictures):
        return ()
    found = []
    for column in pictures.columns:
        if str(column).startswith(ATTRIBUTE):
            name = str(column).removeprefix(ATTRIBUTE)
            has = np.asarray(pictures[column].to_numpy(dtype=bool))
            groups = (_group(name, has, pictures), _group(f"not {name}", ~has, pictures))
            found.append(Grouping(name, groups, attribute=True))
    for name, column, thirds in (
        (POSE, YAW, ("frontal", "half", "turned")),
        (FACE_SIZE, FACE_SIZE, ("small", "medium", "large")),
    ):
        if column in pictures.columns:
            values = np.abs(pictures[column].to_numpy(dtype=np.float64, na_value=np.nan))
            if not np.isnan(values).all():
                found.append(_thirds(name, values, thirds, pictures))
    return tuple(found)


def _thirds(name: str, values: Floats, names: Sequence[str], pictures: pd.DataFrame) -> Grouping:
    bounds = np.nanquantile(values, [1 / 3, 2 / 3], method="lower")
    which = np.searchsorted(bounds, values)  # a value equal to a bound belongs below it; NaN is put last
    which[np.isnan(values)] = -1
    groups = tuple(_group(label, which == place, pictures) for place, label in enumerate(names))
    return Grouping(name, groups, bounds=tuple(float(bound) for bound in bounds))


def _group(name: str, members: NDArray[np.bool_], pictures: pd.DataFrame) -> Group:
    people = pictures["identity"][members]
    unknown = int((people == "").sum())  # each stands for itself
    return Group(name, members, int(members.sum()), int(people[people != ""].nunique()) + unknown)
