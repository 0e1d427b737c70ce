"""CompressAI's results files: one curve each, as parallel lists of means (github.com/InterDigitalInc/CompressAI).

    {"name": "...", "description": "...", "results": {"bpp": [...], "psnr": [...], "ms-ssim": [...], ...}}

Its plot (``python -m compressai.utils.plot``, 1.2) looks for "psnr-rgb" and "ms-ssim-rgb", the files that it publishes
for learned codecs have "psnr" and "ms-ssim": both are read and written. All are means over pictures, PSNR of dB values.
The format does not say which pictures were scored: ``dataset`` is our own entry, which its readers pass over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from facebench.analysis.curves import Curve, CurvePoint, make_curve
from facebench.analysis.summary import FACE, WHOLE, Row, summarise
from facebench.errors import ResultsError
from facebench.exchange.documents import Export, data_text, without_budget_points

if TYPE_CHECKING:
    from facebench.store import Run

#: Data sets whose name CompressAI's own folders have.
KNOWN_DATA = ("kodak", "clic2020-mobile", "clic2020-pro", "clic2020-professional", "tecnick", "jpegai")
UNKNOWN_DATA = "unknown pictures"

# Names in a results file, by our metric of the same meaning; of the first kind 1 - value is ours.
_SIMILARITIES = {"1-MS-SSIM": ("ms-ssim-rgb", "ms-ssim"), "1-SSIM": ("ssim-rgb", "ssim")}
_VALUES = {"PSNR": ("psnr-rgb", "psnr")}

# More than any honest file has.
_MOST_BYTES = 4 << 20
_MOST_POINTS = 1000
_MOST_BPP = 1000.0
_MOST_VALUE = 1000.0
_MOST_TEXT = 200


@dataclass(frozen=True)
class PublishedCurve:
    """A curve that someone else measured: means over the pictures of ``dataset``, in order of the file.

    ``bpp`` are bits per pixel; ``metrics`` has, by the name of our metric of the same meaning, as many values.
    ``source`` is the file.
    """

    name: str
    dataset: str
    source: Path
    bpp: tuple[float, ...]
    metrics: Mapping[str, tuple[float, ...]]

    @property
    def label(self) -> str:
        """How tables and plots name the curve: with its data, and that it is not ranked."""
        return f"{self.name} ({self.dataset}; not ranked)"

    def curve(self, metric: str, side: int) -> Curve | None:
        """Return the curve in ``metric`` in bytes of a picture of ``side`` x ``side`` pixels; None without it."""
        if metric not in self.metrics:
            return None
        points = [
            CurvePoint(f"{self.name}[{index}]", bpp * side**2 / 8, value)
            for index, (bpp, value) in enumerate(zip(self.bpp, self.metrics[metric], strict=True))
        ]
        return make_curve(self.label, self.name, points, higher_is_better=metric in _VALUES)


def read_results(path: Path, dataset: str | None = None) -> tuple[PublishedCurve, ...]:
    """Return the curve of a results file, or those of all .json files of a folder, in order of their names.

    ``dataset`` says what was scored; without it the file's own ``dataset`` entry, or a folder of its path named after
    a data set that CompressAI publishes results of. Raises ResultsError, one line, on what is no results file.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise ResultsError(f"{path} has no .json file: name CompressAI results files, or their folder")
        return tuple(_read(file, dataset) for file in files)
    return (_read(path, dataset),)


def _read(file: Path, dataset: str | None) -> PublishedCurve:
    document = _parsed(file)
    results = document.get("results", document)  # CompressAI's plot takes both
    if not isinstance(results, dict) or "bpp" not in results:
        _refuse(file, 'it has no "results" with a list "bpp"')
    bpp = _numbers(file, results["bpp"], "bpp", None, 0.0, _MOST_BPP)
    if min(bpp) <= 0:
        _refuse(file, '"bpp" has a value that is not above 0')
    metrics: dict[str, tuple[float, ...]] = {}
    for metric, names in _VALUES.items():
        if name := next((name for name in names if name in results), None):
            metrics[metric] = _numbers(file, results[name], name, len(bpp), -_MOST_VALUE, _MOST_VALUE)
    for metric, names in _SIMILARITIES.items():
        if name := next((name for name in names if name in results), None):
            metrics[metric] = tuple(1 - v for v in _numbers(file, results[name], name, len(bpp), -1.0, 1.0))
    if not metrics:
        known = sorted(name for names in (*_VALUES.values(), *_SIMILARITIES.values()) for name in names)
        _refuse(file, f"it has none of {', '.join(known)}")
    told = dataset or _text(document.get("dataset")) or _data_by_folder(file) or UNKNOWN_DATA
    return PublishedCurve(_text(document.get("name")) or _text(file.stem), told, file, bpp, metrics)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if size > _MOST_BYTES:
            _refuse(file, f"it has {size:,} bytes")
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot read {file}: {error}") from error
    except RecursionError as error:
        raise ResultsError(f"{file} is no CompressAI results file: it is nested too deep") from error
    except ValueError as error:  # bad JSON, not UTF-8, or a number of thousands of digits
        raise ResultsError(f"{file} is no CompressAI results file: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        _refuse(file, f"it holds a {type(document).__name__}, not an object")
    return document


def _numbers(file: Path, values: Any, name: str, count: int | None, low: float, high: float) -> tuple[float, ...]:
    """Return a list of finite numbers within ``low`` to ``high``, as many as ``count`` says."""
    if not isinstance(values, list) or not values:
        _refuse(file, f'"{name}" is not a list of numbers')
    if len(values) > _MOST_POINTS:
        _refuse(file, f'"{name}" has {len(values):,} values')
    if count is not None and len(values) != count:
        _refuse(file, f'"{name}" has {len(values)} values, "bpp" has {count}')
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            _refuse(file, f'"{name}" has the value {str(value)[:40]!r}, not a number of {low:g} to {high:g}')
    return tuple(float(value) for value in values)


def _refuse(file: Path, why: str) -> NoReturn:
    raise ResultsError(f"{file} is no CompressAI results file: {why}")


def _text(value: Any) -> str:
    """Return a short line of a text from a file, or '' for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(sign for sign in " ".join(value.split()) if sign.isprintable())[:_MOST_TEXT]


def _data_by_folder(file: Path) -> str | None:
    return next((part for part in reversed(file.resolve().parent.parts) if part.lower() in KNOWN_DATA), None)


def results_export(run: Run, *, mask: str = WHOLE) -> Export:
    """Return the curves of ``run`` as CompressAI results, scored over whole pictures or, ``mask`` "face", the face.

    Points with failed pictures are left out, as they are on every curve; so is a metric without a finite mean at some
    point of a curve, since JSON has no infinity. Raises ResultsError if the run has no face masks but ``mask`` asks.
    """
    run, notes = without_budget_points(run)
    summary = summarise(run, resamples=0)
    if mask == FACE and not summary.has_masks:
        raise ResultsError(f"run '{run.name}' has no face masks: export it without --face")
    curves: dict[str, list[Row]] = {}
    said = list(notes)
    for row in summary.rows:
        if row.mask != mask:
            continue
        if row.failed or not row.pictures:
            said.append(f"left out, with failed pictures: {row.point}")
            continue
        curves.setdefault(row.curve, []).append(row)
    documents = {}
    for name, rows in curves.items():
        rows.sort(key=lambda row: row.bpp)
        documents[name], missing = _document(run, name, rows, mask)
        said += [f"left out, not finite at every point: {metric} of {name}" for metric in missing]
    return Export(documents, tuple(said))


def _document(run: Run, curve: str, rows: Sequence[Row], mask: str) -> tuple[dict[str, Any], list[str]]:
    """Return the results file of one curve, and the metrics that it lacks."""
    results: dict[str, list[float]] = {"bpp": [row.bpp for row in rows]}
    definitions, missing = [], []
    for metric in rows[0].metrics:
        values = [row.metrics[metric].mean for row in rows]
        if not all(map(math.isfinite, values)):
            missing.append(metric)
            continue
        names = _VALUES.get(metric) or _SIMILARITIES.get(metric) or (metric,)
        if metric in _SIMILARITIES:
            values = [1 - value for value in values]
        results |= dict.fromkeys(names, values)
        what = f"1 - mean {metric}" if metric in _SIMILARITIES else f"mean {metric}"
        definitions.append(f"{names[-1]}: {what}; {metric}: {run.manifest['metrics'][metric]['definition']}")
    results["encoding_time"] = [row.encode_ms / 1000 for row in rows]
    results["decoding_time"] = [row.decode_ms / 1000 for row in rows]
    data = data_text(run.manifest)
    where = "face pixels only (bpp: of the whole picture)" if mask == FACE else "whole pictures"
    about = run.manifest["points"][rows[0].point]
    weights = f"; decoder weights {rows[0].weights_bytes} bytes, not in bpp" if rows[0].weights_bytes else ""
    description = (
        f"{about['codec']} {about.get('version', '')} by facebench, {where}, means over {data}. bpp counts every byte "
        f"of the payload{weights}. Times in seconds per picture. {'. '.join(definitions)}."
    )
    document = {
        "name": f"{curve} (face)" if mask == FACE else curve,
        "description": description,
        "dataset": data,
        "points": [row.point for row in rows],
        "results": results,
    }
    return document, missing
