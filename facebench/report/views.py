"""Which metric columns a leaderboard shows, under which names and scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facebench.errors import SettingError
from facebench.plugins import unknown


@dataclass(frozen=True)
class Column:
    """A metric's column: the ``metric`` it shows, its header, and the factor that its values are multiplied by."""

    metric: str
    header: str
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class View:
    """A choice of columns; ``note`` is a line of the report that explains it, or ''."""

    name: str
    renamed: Mapping[str, tuple[str, float]]
    note: str = ""

    def columns(self, metrics: Mapping[str, Mapping[str, Any]]) -> list[Column]:
        """Return the columns of ``metrics`` (manifest entries by name), in their order."""
        chosen = []
        for name, about in metrics.items():
            header, scale = self.renamed.get(name, (name, 1.0))
            chosen.append(Column(name, header, scale, str(about.get("unit") or "")))
        return chosen


VIEWS = {
    "default": View("default", {}),
    "paper": View(
        "paper",
        {"L1": ("l1", 10.0), "L2": ("l2", 100.0)},
        "Paper view: l1 = 10 x L1 (mean absolute error) and l2 = 100 x L2 (mean squared error) of pictures in [0, 1], "
        "the scaling inferred from the student paper's table, which does not state it. Toledo & Antonelo (2021) "
        "score face pixels only, with l1 = 10 x MAE but l2 = 10 x RMSE: compare their l2 with neither column.",
    ),
}


def view_named(name: str) -> View:
    """Return the view of that name; raises SettingError with the nearest name."""
    if name not in VIEWS:
        raise SettingError(unknown("view", name, VIEWS))
    return VIEWS[name]


def view_of(leaderboard: str) -> str:
    """Return the name of the view in which the text of a leaderboard.md was made."""
    return next((name for name, view in VIEWS.items() if view.note and view.note in leaderboard), "default")
