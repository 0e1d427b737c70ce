"""Is a run complete enough to be published? Manifest, digests, records and table are checked; nothing is measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from facebench.analysis.summary import RANKED_BY
from facebench.errors import FacebenchError
from facebench.measure import OK
from facebench.report.leaderboard import leaderboard_markdown
from facebench.report.views import view_of
from facebench.store import Run
from facebench.verification.definitions import may_lack, pictures_limit

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COLUMNS = ("point", "codec", "curve", "picture", "position", "identity", "mask", "payload_bytes", "bits", "status")
_TITLE = re.compile(r"# facebench leaderboard: (.+)")


def lint(run: Run, leaderboard: str | None) -> list[str]:
    """Return what keeps ``run`` from being published, one line each; empty if nothing does.

    ``leaderboard`` is the text that stands beside it, None if there is none. A run of an installed release names no
    commit: its version says which code it was.
    """
    found = [*_manifest(run.manifest), *_points(run.manifest), *_metrics(run), *_cost(run)]
    if missing := [name for name in _COLUMNS if name not in run.records.columns]:
        return [*found, f"records: no column {', '.join(missing)}"]
    return [*found, *_rows(run), *_values(run), *_table(run, leaderboard)]


def _manifest(manifest: Mapping[str, Any]) -> Iterator[str]:
    if not manifest.get("facebench"):
        yield "manifest: no version of facebench"
    git = manifest.get("git")
    if git is not None and not git.get("commit"):
        yield "manifest: no commit"
    if git is not None and git.get("dirty"):
        commit = str(git.get("commit"))[:12]
        yield f"manifest: measured with uncommitted changes to commit {commit}; commit, then run again"
    machine = manifest.get("machine") or {}
    if lacking := [key for key in ("cpu", "cores", "os", "python", "packages") if not machine.get(key)]:
        yield f"manifest: the machine lacks {', '.join(lacking)}"
    data = manifest["image_set"]
    if not _DIGEST.fullmatch(str(data.get("digest"))):
        yield "manifest: the image set has no digest"
    if lacking := [key for key in ("name", "split", "pictures", "preprocessing", "description") if not data.get(key)]:
        yield f"manifest: the image set lacks {', '.join(lacking)}"
    for problem in manifest.get("problems") or ():
        yield f"problem met in the run: {problem}"


def _points(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in manifest["points"].items():
        lacking = [key for key in ("codec", "version", "origin", "curve") if not entry.get(key)]
        if not isinstance(entry.get("settings"), dict):
            lacking.append("settings")
        if entry.get("weights_bytes") is None:
            lacking.append("weights_bytes")
        if entry.get("weights_bytes") and not _DIGEST.fullmatch(str(entry.get("weights_digest"))):
            lacking.append("weights digest")
        if lacking:
            yield f"{name}: the manifest has no {', '.join(lacking)}"
        if entry.get("problem"):
            yield f"{name}: {entry['problem']}"
    for codec, overlap in _leaks(manifest["points"]).items():
        pictures, people = overlap
        yield f"{codec}: trained on {pictures:,} of the scored pictures and {people:,} of their people"


def _leaks(points: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the codecs trained on scored pictures or people: how many of both, at most of their points."""
    leaks: dict[str, tuple[int, int]] = {}
    for entry in points.values():
        overlap = entry.get("overlap") or {}
        found = int(overlap.get("pictures", 0)), int(overlap.get("identities", 0))
        if any(found):
            leaks[entry["codec"]] = max(found, leaks.get(entry["codec"], (0, 0)))
    return leaks


def _cost(run: Run) -> Iterator[str]:
    """What the costs were measured of is what the run was."""
    for name, cost in ((run.cost or {}).get("points") or {}).items():
        entry = run.manifest["points"].get(name)
        if entry is None:
            yield f"cost.json: the run has no {name}; run 'facebench cost' again"
        elif cost.get("version") != entry["version"]:
            yield f"cost.json: {name} is version {cost.get('version')} there, {entry['version']} in the run"


def _metrics(run: Run) -> Iterator[str]:
    described: dict[str, Any] = run.manifest["metrics"]
    for name, about in described.items():
        if not about.get("version") or not about.get("definition"):
            yield f"metric {name}: the manifest has no version or no definition"
        if name not in run.records.columns:
            yield f"metric {name}: not in the records"
    usual = {*_COLUMNS, "encode_seconds", "decode_seconds", "detail"}
    for name in run.records.columns:
        if name not in described and name not in usual:
            yield f"metric {name}: in the records, but not defined in the manifest"


def _rows(run: Run) -> Iterator[str]:
    """Every operating point has every picture once, without a mask and, where there are masks, over the face."""
    records, points = run.records, run.manifest["points"]
    count = int(run.manifest["image_set"]["pictures"])
    masks = ["none"] if run.manifest["image_set"].get("masker", "none") == "none" else ["none", "face"]
    for name in records["point"].unique():
        if name not in points:
            yield f"records: the manifest does not describe {name}"
    if strange := sorted(set(records["mask"].unique()) - set(masks)):
        yield f"records: rows of mask {', '.join(map(str, strange))}, which the run has not"
    twice = records.duplicated(["point", "position", "mask"])
    if twice.any():
        yield f"records: {_rows_text(twice)}, which are there already, first {_place(records, twice)}"
    outside = (records["position"] < 0) | (records["position"] >= count)
    if outside.any():
        yield f"records: {_rows_text(outside)} of pictures beyond the set's {count:,}, first {_place(records, outside)}"
    there = records[~twice & ~outside].groupby(["point", "mask"], sort=False, observed=True).size()
    lacking = {(name, mask): count - int(there.get((name, mask), 0)) for name in points for mask in masks}
    lacking = {place: number for place, number in lacking.items() if number}
    if lacking:
        (name, mask), number = next(iter(lacking.items()))
        yield (
            f"records: {sum(lacking.values()):,} rows are missing, at {len({name for name, _ in lacking})} operating "
            f"points, first {number:,} of {name} (mask {mask})"
        )
    names = records.groupby("position", sort=False)["picture"].nunique()
    if (names > 1).any():
        yield f"records: picture {names.index[names > 1][0]} has several names"
    if run.pictures is not None and len(run.pictures) != count:
        yield f"pictures.parquet has {len(run.pictures):,} pictures, the run {count:,}"


def _values(run: Run) -> Iterator[str]:
    records = run.records
    ok = records["status"] == OK
    for wrong, what in (
        (ok & (records["payload_bytes"] <= 0), "have an empty payload"),
        (records["bits"] < 8 * records["payload_bytes"], "claim fewer bits than their payload has"),
        (records["status"].isna() | (records["status"] == ""), "have no status"),
    ):
        if wrong.any():
            yield f"records: {_rows_text(wrong)} {what}, first {_place(records, wrong)}"
    metrics: dict[str, Any] = run.manifest["metrics"]
    ranked = RANKED_BY if RANKED_BY in metrics else next((name for name in records.columns if name in metrics), None)
    faceless = _faceless(records)
    for name, about in metrics.items():
        if name not in records.columns:
            continue
        values = records[name].to_numpy(dtype=np.float64, na_value=np.nan)
        endless = ok & np.isinf(values)
        if endless.any():
            yield f"records: {_rows_text(endless)} have an infinite {name}, first {_place(records, endless)}"
        missing = ok & np.isnan(values) & ~faceless
        if (limit := pictures_limit(about)) is not None:
            missing &= records["position"] < limit
            beyond = ~np.isnan(values) & (records["position"] >= limit)
            if beyond.any():
                yield (
                    f"records: {_rows_text(beyond)} have {name} beyond the first {limit:,} pictures that its "
                    f"definition names, first {_place(records, beyond)}"
                )
        if name == ranked:  # whatever its definition: a row without it would be left out of the means that rank
            missing &= records["mask"] == "none"
        elif may_lack(about):
            continue
        if missing.any():
            yield (
                f"records: {_rows_text(missing)} have no {name}, which its definition does not explain, first "
                f"{_place(records, missing)}"
            )


def _rows_text(chosen: pd.Series) -> str:
    number = int(chosen.sum())
    return "1 row" if number == 1 else f"{number:,} rows"


def _faceless(records: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows are of the face of a picture in which none was found, (rows,): no metric has a value there."""
    pixels = [name for name in ("L1", "L2", "PSNR") if name in records.columns]
    if not pixels:
        return np.zeros(len(records), np.bool_)
    return np.asarray((records["mask"] == "face") & records[pixels].isna().all(axis=1), np.bool_)


def _place(records: pd.DataFrame, chosen: pd.Series) -> str:
    row = records[chosen].iloc[0]
    return f"{row['point']}, {row['picture']}{' (face)' if row['mask'] == 'face' else ''}"


def _table(run: Run, leaderboard: str | None) -> Iterator[str]:
    """The published table is what the records give."""
    if leaderboard is None:
        yield "no leaderboard.md"
        return
    title = _TITLE.match(leaderboard)
    named = replace(run, name=title[1]) if title else run  # the folder may have been renamed since
    try:
        made = leaderboard_markdown(named, view=view_of(leaderboard))
    except FacebenchError as error:
        yield f"leaderboard.md cannot be made from the records: {error}"
        return
    if made == leaderboard:
        return
    ours, theirs = made.splitlines(), leaderboard.splitlines()
    pairs = ((number, a, b) for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1) if a != b)
    number, expected, found = next(pairs, (min(len(ours), len(theirs)) + 1, "", ""))
    cut = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), 0)
    start = max(0, cut - 20)
    yield (
        f"leaderboard.md is not what the records give: line {number} has '{found[start : start + 60].strip()}', the "
        f"records give '{expected[start : start + 60].strip()}'; 'facebench leaderboard' makes it again"
    )
