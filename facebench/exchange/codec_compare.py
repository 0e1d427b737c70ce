"""Batches for codec-compare's viewer (github.com/webmproject/codec-compare): one row per picture and operating point.

A batch is an object of four lists: ``constant_descriptions`` and ``field_descriptions`` of one-entry objects (name to
description), ``constant_values`` as many texts, ``field_values`` rows of as many values as there are fields. The viewer
opens a list of ``[file name]``, one per batch. It knows constants and fields by their names (README, src/entry.ts),
takes any others as they are, reads null as 0, and joins batches by ``original_name``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facebench.analysis.comparison import curve_names
from facebench.analysis.summary import FACE, WHOLE
from facebench.errors import ResultsError
from facebench.exchange.documents import Export, data_text, without_budget_points

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: The file that lists the batches: ``index.html?load=.../batches.json``.
INDEX = "batches.json"

# The viewer's own names of metrics by ours, in lower case and without signs; of the first kind it wants 1 - ours.
_SIMILARITIES = {"1ssim": "ssim", "1msssim": "msssim"}
_VALUES = ("psnr", "butteraugli", "dssim", "lpips", "ssimulacra2", "ciede2000")
# Names with a meaning for the viewer that a codec's rate setting may have with another one (psnr: an encoder's target).
_RESERVED = {
    "name", "codec", "version", "time", "original_name", "width", "height", "frame_count", "encoded_size", "bpp",
    "encoding_time", "decoding_time", "raw_decoding_time", "ssim", "msssim", "ssimulacra", "flip", *_VALUES,
}  # fmt: skip


def batches_export(run: Run) -> Export:
    """Return the curves of ``run`` as batches; scores over the face, where there are masks, are fields of their own.

    Failed pictures have no row. A metric that lacks a finite value anywhere in the run is left out of all batches,
    since leaving out only its rows would flatter the codec that caused them. Raises ResultsError without any curve
    or picture, and for a run whose manifest does not describe all of its points.
    """
    curve_names(run)  # refuses a run without any
    run, notes = without_budget_points(run)
    records, manifest = run.records, run.manifest
    if strangers := set(records["point"].unique()) - set(manifest["points"]):
        raise ResultsError(f"run '{run.name}' is damaged: its manifest does not describe {min(strangers)}; run again")
    failed = records["status"] != "ok"
    ok = records[~failed]
    if ok.empty:
        raise ResultsError(f"run '{run.name}' has no picture that was coded: nothing to export")
    said = list(notes)
    fields: dict[tuple[str, str], str] = {}
    for mask in (WHOLE, FACE):
        rows = ok[ok["mask"] == mask]
        for metric in [name for name in rows.columns if name in manifest["metrics"]] if len(rows) else []:
            missing = int((~rows[metric].map(math.isfinite)).sum())
            name = field_name(metric) + ("_face" if mask == FACE else "")
            if missing:
                said.append(f"left out, without a finite value for {missing} of {len(rows)} rows: {name}")
            else:
                fields[metric, mask] = name
    documents = {}
    whole = records[records["mask"] == WHOLE]
    for curve in whole["curve"].unique():
        of_curve = whole[whole["curve"] == curve]
        lost = int((of_curve["status"] != "ok").sum())
        if lost:
            said.append(f"left out, failed: {lost} of {len(of_curve)} pictures of {curve}")
        rows = ok[ok["curve"] == curve]
        if len(rows):
            documents[str(curve)] = _batch(run, str(curve), rows, fields, lost)
    return Export(documents, tuple(said), index=INDEX)


def field_name(metric: str) -> str:
    """Return the viewer's name of ``metric``, or the metric's own if it does not know it."""
    key = "".join(sign for sign in metric.lower() if sign.isalnum())
    return _SIMILARITIES.get(key) or (key if key in _VALUES else metric)


def _batch(
    run: Run, curve: str, rows: pd.DataFrame, fields: Mapping[tuple[str, str], str], lost: int
) -> dict[str, Any]:
    """Return the batch of one curve from its ``rows``, all of status ok; ``lost`` pictures failed."""
    manifest = run.manifest
    whole = rows[rows["mask"] == WHOLE]
    points = {str(label): manifest["points"][str(label)] for label in whole["point"].unique()}
    columns = _columns(manifest, whole, points)
    for (metric, mask), name in fields.items():
        values = rows[rows["mask"] == mask][metric].to_numpy(dtype=float)
        definition = str(manifest["metrics"][metric]["definition"])
        where = ", face pixels only" if mask == FACE else ""
        if _complement(metric):
            columns[name] = (f"1 - {metric}{where}: {definition}", [_short(1 - value) for value in values])
        else:
            columns[name] = (f"{metric}{where}: {definition}", [_short(value) for value in values])
    constants = _constants(run, curve, points, lost)
    return {
        "constant_descriptions": [{name: description} for name, (description, _) in constants.items()],
        "constant_values": [value for _, value in constants.values()],
        "field_descriptions": [{name: description} for name, (description, _) in columns.items()],
        "field_values": [list(row) for row in zip(*(values for _, values in columns.values()), strict=True)],
    }


def _columns(
    manifest: Mapping[str, Any], whole: pd.DataFrame, points: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[str, list[Any]]]:
    """Return description and values, by field name, of what is no metric."""
    side = int(manifest["image_set"]["preprocessing"]["size"])
    count = len(whole)
    columns: dict[str, tuple[str, list[Any]]] = {
        "original_name": ("Name of the picture in its image set", [str(name) for name in whole["picture"]]),
        "width": ("Pixel columns of the picture", [side] * count),
        "height": ("Pixel rows of the picture", [side] * count),
    }
    rate = next((about["rate_setting"] for about in points.values() if about.get("rate_setting")), None)
    if rate is not None:
        values = [points[str(label)]["settings"].get(rate) for label in whole["point"]]
        name = f"setting_{rate}" if rate in _RESERVED else rate
        columns[name] = (f"The codec's rate setting, {rate}", values)
    bits = [int(value) for value in whole["bits"]]
    columns["encoded_size"] = (
        "Bytes of the payload, every header included, and of side information that the codec declares",
        [value // 8 if value % 8 == 0 else value / 8 for value in bits],
    )
    columns["bpp"] = ("Encoded bits per pixel", [_short(value / side**2) for value in bits])
    for name, what in (("encoding_time", "encode"), ("decoding_time", "decode")):
        seconds = [_short(value) for value in whole[f"{what}_seconds"].to_numpy(dtype=float)]
        columns[name] = (f"Seconds to {what} the picture: mean over the batch that it was in", seconds)
    return columns


def _constants(run: Run, curve: str, points: Mapping[str, Mapping[str, Any]], lost: int) -> dict[str, tuple[str, str]]:
    """Return description and value, always a text, of the batch's constants by name."""
    manifest, about = run.manifest, next(iter(points.values()))
    rate = about.get("rate_setting")
    fixed = {name: value for name, value in (about.get("settings") or {}).items() if name != rate}
    constants = {
        "name": ("Curve: the codec with the settings that differ from its defaults", curve),
        "codec": ("Codec", str(about["codec"])),
        "version": ("Version of the codec", str(about.get("version") or "")),
        "time": ("When the run was made", str(manifest["created"])),
        "source_data_set": ("Pictures, which are not part of this file", data_text(manifest)),
        "settings": ("All settings but the rate setting", ", ".join(f"{k}={v}" for k, v in fixed.items()) or "none"),
        "weights": ("Bytes of weights that decoding needs, not in encoded_size", str(about.get("weights_bytes") or 0)),
        "failures": ("Pictures that failed and have no row", str(lost)),
        "made_by": ("Program and command that measured this", f"facebench: {manifest['command']}"),
    }
    return constants


def _complement(metric: str) -> bool:
    """Whether the viewer wants 1 - ``metric``."""
    return "".join(sign for sign in metric.lower() if sign.isalnum()) in _SIMILARITIES


def _short(value: float) -> float | None:
    """Return ``value`` to seven digits, the precision of the records; None where it is not finite, as in no JSON."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
