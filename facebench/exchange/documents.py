"""What an export consists of: JSON documents, one per curve of a run, and where they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facebench.errors import ResultsError
from facebench.paths import atomic_path
from facebench.plugins import unknown

if TYPE_CHECKING:
    from facebench.store import Run


@dataclass(frozen=True)
class Export:
    """JSON documents by curve name; ``index`` is the name of a file that lists them all, or '' if the format has none.

    ``notes`` say, a line each, what of the run is not in the documents.
    """

    documents: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    index: str = ""

    def of_curve(self, name: str) -> Export:
        """Return the export of one curve; raises ResultsError with the nearest name."""
        if name not in self.documents:
            raise ResultsError(unknown("curve", name, self.documents))
        return replace(self, documents={name: self.documents[name]})


def without_budget_points(run: Run) -> tuple[Run, tuple[str, ...]]:
    """Return ``run`` without its points tuned to a budget of bytes, and a note if there were any.

    They change the codec's settings from picture to picture, so they lie on no rate-distortion curve.
    """
    points = run.manifest["points"]
    tuned = [label for label, about in points.items() if about.get("budget") is not None]
    if not tuned:
        return run, ()
    kept = {label: about for label, about in points.items() if label not in tuned}
    records = run.records[~run.records["point"].isin(tuned)]
    note = f"left out, tuned to a budget of bytes and on no curve: {', '.join(tuned)}"
    return replace(run, manifest={**run.manifest, "points": kept}, records=records), (note,)


def data_text(manifest: Mapping[str, Any]) -> str:
    """Return in words which pictures a run scored."""
    data = manifest["image_set"]
    synthetic = "synthetic faces, " if data.get("synthetic") else ""
    return (
        f"{data['name']} {data['split']}, {synthetic}{data['pictures']} pictures, {data['description']}, "
        f"data digest {data['digest'][:12]}"
    )


def write_export(export: Export, out: Path) -> list[Path]:
    """Write ``export`` and return the files: into the folder ``out``, or to the file ``out`` if that ends in .json.

    Raises ResultsError if there is nothing to write, if one file is asked for but there are several curves, or if
    ``out`` cannot be written.
    """
    if not export.documents:
        raise ResultsError(f"nothing to export: {'; '.join(export.notes) or 'the run has no curve'}")
    if out.suffix.lower() == ".json":
        if len(export.documents) > 1:
            raise ResultsError(
                f"{len(export.documents)} curves do not go into one file, {out}: name a folder, or choose one "
                f"with --curve: {', '.join(export.documents)}"
            )
        documents: dict[Path, Any] = {out: next(iter(export.documents.values()))}
    else:
        names = _file_names(list(export.documents), export.index.removesuffix(".json"))
        documents = {out / names[curve]: document for curve, document in export.documents.items()}
        if export.index:
            documents[out / export.index] = [[names[curve]] for curve in export.documents]
    try:
        for file, document in documents.items():
            with atomic_path(file) as path:
                path.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot write {out}: {error}; choose another --out") from error
    return list(documents)


def _file_names(curves: list[str], index: str) -> dict[str, str]:
    """Return a file name for each curve, no two alike even where upper and lower case are one.

    ``index`` is the name, without .json, that none may have.
    """
    names: dict[str, str] = {}
    taken = {"", index.lower()}
    for curve in curves:
        stem = re.sub(r"[^A-Za-z0-9._=-]+", "-", curve).strip("-.")[:100] or "curve"
        candidate, number = stem, 2
        while candidate.lower() in taken:
            candidate, number = f"{stem}-{number}", number + 1
        taken.add(candidate.lower())
        names[curve] = f"{candidate}.json"
    return names
