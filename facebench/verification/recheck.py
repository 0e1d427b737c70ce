"""Encodes, decodes and scores published rows again, and compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from facebench.child import ChildKilled, Isolation
from facebench.data.imageset import ImageSet
from facebench.errors import FacebenchError
from facebench.grid import made_codec
from facebench.hookspecs import MetricSpec
from facebench.measure import OK, CodecTask, Pictures, SetFacts, decode_shard, encode_shard
from facebench.plugins import Registry
from facebench.runner import shard_pictures
from facebench.store import Run
from facebench.verification.definitions import computed_at, whole_definition
from facebench.verification.rebuild import Rebuilt, not_installed, rebuild
from facebench.verification.sample import sample_rows

#: How far a score may be off: absolutely for values up to 1, relatively above. Records are float32.
TOLERANCE = 1e-4
#: How near the quality of another payload must be for another machine's rounding to be the likely reason.
SAME_QUALITY = 1e-2
# Rows that differ are measured again among the pictures of their shard; only so many, as that takes its time.
_SECOND_LOOKS = 20
# A codec that hangs or crashes costs its own rows.
_ISOLATION = Isolation(seconds=900.0)

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a row that was measured again: how it differs, or ''; if not, whether to the last digit."""

    fault: str
    identical: bool


@dataclass
class CodecCheck:
    """What became of a codec's rows: those checked, identical, within tolerance, and one line per differing one."""

    codec: str
    rows: int = 0
    identical: int = 0
    within: int = 0
    differing: list[str] = field(default_factory=list)

    def enter(self, outcome: Outcome) -> None:
        """Count one more row."""
        self.rows += 1
        if outcome.fault:
            self.differing.append(outcome.fault)
        elif outcome.identical:
            self.identical += 1
        else:
            self.within += 1


@dataclass(frozen=True)
class Recheck:
    """All codecs' checks; ``differences`` from the manifest beside the rows, and what could not be checked."""

    codecs: tuple[CodecCheck, ...]
    differences: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of rows that were measured again."""
        return sum(check.rows for check in self.codecs)

    @property
    def differing(self) -> int:
        """The number of rows that came out otherwise."""
        return sum(len(check.differing) for check in self.codecs)

    @property
    def ok(self) -> bool:
        """Whether rows were checked, and nothing differs."""
        return bool(self.rows) and not self.differing and not self.differences


def recheck(
    run: Run,
    images: ImageSet,
    registry: Registry,
    *,
    count: int = 200,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done: None,
) -> Recheck:
    """Measure ``count`` random rows (operating point x picture) of ``run`` again and compare.

    ``images`` must be the run's image set. ``progress`` is called with the rows just done. Codecs and metrics that
    are not installed are skipped and named.
    """
    points: dict[str, Any] = run.manifest["points"]
    rebuilt, differences, skipped = _rebuilt(points, registry)
    metrics, columns, versions, unknown = _metrics(run, registry)
    differences += versions
    skipped += unknown
    tasks = {}
    for name, found in rebuilt.items():
        task = CodecTask(found.spec, found.point, images.size, device)
        facts = made_codec(_ISOLATION, task)
        if facts.problem:
            skipped.append(f"{name} cannot be made here: skipped ({facts.problem})")
            continue
        tasks[name] = task
        differences += _weights(found.spec.name, points[name], facts.weights_digest, facts.weights_bytes)
    sample = sample_rows(run.records, list(tasks), count, seed)
    recorded = run.records.groupby("point", sort=False, observed=True).indices
    checks: dict[str, CodecCheck] = {}
    of = SetFacts(len(images), images.digest, images.identities)
    second_looks, step = _SECOND_LOOKS, shard_pictures(images.size)
    for name, positions in sample.items():
        rows = run.records.iloc[recorded[name]]
        check = checks.setdefault(tasks[name].spec.name, CodecCheck(tasks[name].spec.name))
        learned = bool(points[name].get("weights_bytes"))
        for position in positions:
            there = {column for column in columns if computed_at(run.manifest["metrics"][column], position)}
            start = position // step * step
            alone, shard = (
                Pictures(images.images_file, images.masks_file, first, stop, of)
                for first, stop in ((position, position + 1), (start, min(start + step, len(images))))
            )
            mine = rows[rows["position"] == position]
            outcome = _compared(mine, tasks[name], alone, position, metrics, there, learned)
            if outcome.fault and second_looks:
                # In a batch, as the run had it, a decoder may round to the next grey level.
                outcome = _compared(mine, tasks[name], shard, position, metrics, there, learned)
                second_looks -= 1
            check.enter(outcome)
            progress(1)
    return Recheck(tuple(checks.values()), tuple(dict.fromkeys(differences)), tuple(dict.fromkeys(skipped)))


def _rebuilt(points: Mapping[str, Any], registry: Registry) -> tuple[dict[str, Rebuilt], list[str], list[str]]:
    rebuilt: dict[str, Rebuilt] = {}
    differences: list[str] = []
    skipped: list[str] = []
    for name, entry in points.items():
        try:
            rebuilt[name] = rebuild(name, entry, registry)
            differences += rebuilt[name].differences
        except FacebenchError as error:
            skipped.append(not_installed(entry, error))
    return rebuilt, differences, skipped


def _metrics(run: Run, registry: Registry) -> tuple[list[MetricSpec], set[str], list[str], list[str]]:
    """Return the metric families to compute, the columns to compare, and lines: other versions, not installed."""
    published: dict[str, Any] = run.manifest["metrics"]
    known = {
        column.name: (metric, column)
        for metric in registry.metrics.values()
        for column in metric.columns
        if column.name in published
    }
    skipped = [f"metric {name} is not installed here: not compared" for name in published if name not in known]
    differences = []
    same: dict[str, MetricSpec] = {}
    for name, (metric, column) in known.items():
        if column.version != published[name]["version"]:
            differences.append(f"{name} is version {column.version} here, the run's was {published[name]['version']}")
        elif whole_definition(published[name]) != column.definition:
            differences.append(f"{name} has another definition in the run than here, under the same version")
        else:
            same[name] = metric
    return list(dict.fromkeys(same.values())), set(same), differences, skipped


def _weights(codec: str, entry: Mapping[str, Any], digest: str | None, size: int) -> list[str]:
    if digest != entry.get("weights_digest"):
        ours, theirs = (str(text)[:12] if text else "none" for text in (digest, entry.get("weights_digest")))
        return [f"the weights of {codec} have the digest {ours} here, the run's had {theirs}"]
    if size != int(entry.get("weights_bytes") or 0):
        return [f"the weights of {codec} have {size:,} bytes here, the run's had {entry.get('weights_bytes') or 0:,}"]
    return []


def _compared(
    recorded: pd.DataFrame,
    task: CodecTask,
    pictures: Pictures,
    position: int,
    metrics: Sequence[MetricSpec],
    columns: Collection[str],
    learned: bool,
) -> Outcome:
    """Measure ``pictures`` at one operating point and compare the one at ``position`` with its ``recorded`` rows.

    ``columns`` are those of ``metrics`` to compare here. A value that is in one of both only is a difference.
    """
    whole = recorded[recorded["mask"] == "none"].iloc[0]
    place = f"{whole['point']}, {whole['picture']}"
    scored_there = {name for name in columns if name in recorded.columns}
    wanted = [metric for metric in metrics if scored_there & {column.name for column in metric.columns}]
    try:
        encoded = _ISOLATION.run(encode_shard, task, pictures)
        scored = _ISOLATION.run(decode_shard, task, encoded, pictures, wanted)
    except ChildKilled as death:
        return Outcome(f"{place}: the codec's process ended: {death}", False)
    at = position - pictures.start
    if scored.statuses[at] != whole["status"]:
        why = f" ({scored.details[at]})" if scored.details[at] else ""
        return Outcome(f"{place}: {scored.statuses[at]}{why}, recorded {whole['status']}", False)
    if pictures.masks_file is None and (recorded["mask"] == "face").any():
        return Outcome(f"{place}: recorded over the face, but the image set has no face masks", False)
    off, told, same = 0.0, "", True
    for row in recorded.to_dict("records"):
        for name in sorted(scored_there if whole["status"] == OK else ()):
            now = float(scored.scores[name][1 if row["mask"] == "face" else 0, at])
            same = same and bool(np.array_equal(np.float32(now), np.float32(row[name]), equal_nan=True))
            distance = _distance(now, float(row[name]))
            if distance > off:
                off = distance
                where = "" if row["mask"] == "none" else ", face"
                told = f"{name}{where} {now:.6g}, recorded {row[name]:.6g}"
    sizes = (len(encoded.payloads[at]), encoded.bits[at])
    if sizes != (whole["payload_bytes"], whole["bits"]):
        recorded_sizes = f"{whole['payload_bytes']} ({whole['bits']})"
        text = f"{place}: payload of {sizes[0]} bytes ({sizes[1]} bits), recorded {recorded_sizes}"
        if learned and off <= SAME_QUALITY:
            text += (
                f"; quality is the same to {off:.1g}, so another machine's floating-point arithmetic may have made a "
                "learned encoder choose otherwise"
            )
        return Outcome(text, False)
    return Outcome(f"{place}: {told}" if off > TOLERANCE else "", same)


def _distance(now: float, recorded: float) -> float:
    """Return how far two values are apart, in units of the larger of 1 and the recorded one; NaN is far from any other.

    Infinite values too are equal to themselves only.
    """
    if now == recorded or (math.isnan(now) and math.isnan(recorded)):
        return 0.0
    if not (math.isfinite(now) and math.isfinite(recorded)):
        return math.inf
    return abs(now - recorded) / max(1.0, abs(recorded))
