"""A run: operating points x an image set, measured shard by shard, resumed from the cache."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from facebench import __version__, budget
from facebench.data.facts import picture_facts
from facebench.data.rows import Rows, rows_of
from facebench.engines import Engine, outcome
from facebench.errors import CodecError, EngineError, FacebenchError
from facebench.grid import NOT_RUN, Shard, crashed_records, made_codec, measure_grid
from facebench.hookspecs import API_VERSION
from facebench.measure import (
    OK,
    OVER_BUDGET,
    CodecFacts,
    CodecTask,
    LimitedMetric,
    Pictures,
    SetFacts,
)
from facebench.operating_point import (
    OperatingPoint,
    curve_label,
    file_settings_digest,
)
from facebench.plan import Plan, run_name
from facebench.provenance import (
    Software,
    code_digest,
    git_state,
    library_versions,
    machine,
    training_overlap,
)
from facebench.records import MASK_NONE
from facebench.store import Run, ShardCache

#: Most pictures of one shard, and most pixels: what a worker holds of it.
SHARD_PICTURES = 128
_SHARD_PIXELS = 1 << 23
#: Raise when records change their meaning.
_RECORD_FORMAT = 2

#: Called with the pictures just finished, the pictures in all, and whether they came from the cache.
ProgressCallback = Callable[[int, int, bool], None]


def execute(
    plan: Plan,
    engine: Engine,
    progress: ProgressCallback = lambda done, total, cached: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Run:
    """Measure everything in ``plan`` that the cache does not have, and return the run.

    A codec that fails spoils its own rows, a baseline that cannot be made is left out; the manifest's ``problems``
    say how. Raises CodecError if none of the requested codecs can be made at all. However it ends, the engine is
    closed at once; finished shards are kept.
    """
    try:
        return _measured(plan, engine, progress, tell)
    finally:
        engine.close()


def _measured(plan: Plan, engine: Engine, progress: ProgressCallback, tell: Callable[[str], None]) -> Run:
    facts = _facts(plan, engine)
    left_out = {name for name, told in facts.items() if told.problem and name not in plan.requested}
    all_points = plan.points
    plan = replace(plan, points={name: point for name, point in plan.points.items() if name not in left_out})
    total = len(plan.points) * len(plan.images)
    unmade = [facts[name].problem for name in plan.requested if facts[name].problem]
    if unmade and len(unmade) == len(plan.requested):
        raise CodecError(unmade[0])
    cache = ShardCache()
    step = shard_pictures(plan.images.size)
    found = _Found(-(-len(plan.images) // step))
    missing: list[Shard] = []
    for shard in _shards(plan, facts):
        cached = cache.get(shard.key)
        if cached is None:
            missing.append(shard)
        else:
            found.add(shard, cached)
            progress(len(shard.pictures), total, True)
    if cache.damaged:
        tell(f"{len(cache.damaged)} damaged in the cache, measured again, the first: {cache.damaged[0]}")
    unmeasured = {name: told.problem for name, told in facts.items() if told.crashed}
    first_crashed = dict.fromkeys(unmeasured, -1)
    grid = measure_grid(
        missing,
        plan.metrics,
        engine,
        rows_of=lambda pictures: _rows(plan, pictures),
        sealed=plan.sealed,
        crashed=unmeasured,
    )
    for shard, measured in grid:
        start = shard.pictures.start
        if measured.crashed:  # not kept: what killed a process may be the machine's fault, so try again
            first_crashed[shard.label] = min(start, first_crashed.get(shard.label, start))
        else:
            cache.put(shard.key, measured.records)
        found.add(shard, measured.records, join=not measured.crashed)
        progress(len(shard.pictures), total, False)
    if first_crashed:
        # Not what was in flight besides, or is in the cache, but the first crash decides which rows there are.
        for shard in _shards(plan, facts):
            if shard.pictures.start > first_crashed.get(shard.label, len(plan.images)):
                told = unmeasured.get(shard.label, NOT_RUN)
                found.add(shard, crashed_records(shard, plan.metrics, told).records, join=False)
    records = _with_places(plan, [found.take(name) for name in plan.points])
    without = sorted(
        f"without {name}: {facts[name].problem}"
        for name in left_out
        if not (facts[name].wrong_size and all_points[name].downscale)  # then the codec is simply not downscaled
    )
    manifest = _manifest(plan, facts, without + _failures(records))
    crashed = bool(first_crashed) or any(told.crashed for told in facts.values())
    return Run(run_name(plan.images), manifest, records, pictures=picture_facts(plan.images), crashed=crashed)


class _Found:
    """Records by operating point, joined once they are all there: small Arrow tables take many times their bytes."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._apart: dict[str, dict[int, pa.Table]] = {}
        self._joined: dict[str, pa.Table] = {}
        self._may_change: set[str] = set()

    def add(self, shard: Shard, records: pa.Table, join: bool = True) -> None:
        """Keep or replace a shard's records; without ``join`` those of its point stay apart until they are taken."""
        apart = self._apart.setdefault(shard.label, {})
        apart[shard.pictures.start] = records
        if not join:
            self._may_change.add(shard.label)
            self._joined.pop(shard.label, None)
        elif len(apart) == self._shards and shard.label not in self._may_change:
            self._joined[shard.label] = self._join(shard.label)

    def take(self, label: str) -> pa.Table:
        """Return the records of an operating point in the order of its pictures, and forget them."""
        return self._joined.pop(label) if label in self._joined else self._join(label)

    def _join(self, label: str) -> pa.Table:
        apart = self._apart.pop(label)
        return pa.concat_tables([apart[start] for start in sorted(apart)]).combine_chunks()


def shard_pictures(size: tuple[int, int]) -> int:
    """Return how many pictures of this (height, width) in pixels make a shard."""
    return max(1, min(SHARD_PICTURES, _SHARD_PIXELS // (size[0] * size[1])))


def _facts(plan: Plan, engine: Engine) -> dict[str, CodecFacts]:
    """Ask a worker what each codec says of itself; a codec that kills its process has a problem instead."""
    waiting = {name: engine.submit(made_codec, _task(plan, point)) for name, point in plan.points.items()}
    try:
        return {name: outcome(future) for name, future in waiting.items()}
    except FacebenchError:
        raise
    except Exception as error:  # no facebench on a cluster's worker, say
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise EngineError(f"what runs the shards cannot make the codecs: {text}") from error


def _task(plan: Plan, point: OperatingPoint) -> CodecTask:
    return CodecTask(plan.registry.codecs[point.codec], point, plan.images.size, plan.device)


def _distribution(plan: Plan, what: str) -> str:
    """Return the distribution that brings "codec NAME" or "metric NAME"."""
    return plan.registry.origins[what].rpartition(" ")[0]


def _measured_by(plan: Plan) -> list[Any]:
    """Return what scores depend on beside the codec and the shard's pictures, for the shards' keys."""
    images = plan.images
    parts: list[Any] = [_RECORD_FORMAT, __version__]
    for metric in plan.metrics:
        parts += [[column.name, column.version, code_digest(metric.target)] for column in metric.columns]
        distribution = _distribution(plan, f"metric {metric.name}")
        if distribution != "facebench":  # whose libraries are in every key
            parts.append(library_versions(distribution))
    if any(metric.whole_set for metric in plan.metrics):
        parts.append([images.digest, hashlib.sha256(json.dumps(images.identities).encode()).hexdigest()])
    return parts


def _shards(plan: Plan, facts: dict[str, CodecFacts]) -> Iterator[Shard]:
    images = plan.images
    step = shard_pictures(images.size)
    measured_by = _measured_by(plan)
    scored_by = [metric.target for metric in plan.metrics]
    scored_with = [_distribution(plan, f"metric {metric.name}") for metric in plan.metrics]
    of = None
    if any(metric.whole_set for metric in plan.metrics):
        of = SetFacts(len(images), images.digest, images.identities)
    for name, point in plan.points.items():
        task = _task(plan, point)
        brought_by = _distribution(plan, f"codec {point.codec}")
        software = Software.of((task.spec.target, *scored_by), (brought_by, *scored_with))
        codec: list[Any] = [
            task.spec.version,
            point.codec,
            point.settings,
            file_settings_digest(task.spec, point),
            facts[name].weights_digest,
            code_digest(task.spec.target),
            facts[name].problem,
            library_versions(brought_by),
            plan.device,
            plan.sealed,
        ]
        if point.budget is not None:
            shares = budget.SHARES if point.downscale else budget.FULL_SIZE
            rungs = budget.ladder(task.spec, shares)
            codec.append([point.budget, point.downscale, task.spec.budget_setting, rungs, budget.VERSION])
        for start in range(0, len(images), step):
            stop = min(start + step, len(images))
            pictures = Pictures(images.images_file, images.masks_file, start, stop, of)
            limits = [
                [m.name, min(max(m.first - start, 0), stop - start)]
                for m in plan.metrics
                if isinstance(m, LimitedMetric)
            ]
            state = hashlib.sha256(
                json.dumps([*measured_by, *limits, codec, asdict(images.preprocessing), images.masker]).encode()
            )
            state.update(np.ascontiguousarray(images.hashes[start:stop]).tobytes())
            yield Shard(name, task, pictures, software, facts[name].weights_digest, state.hexdigest())


def _rows(plan: Plan, pictures: Pictures) -> Rows | None:
    """Return how a worker that lacks the files of ``pictures`` makes them; all of the set if a metric asks for it."""
    images = plan.images
    if images.recipe is None:
        return None
    start, stop = (pictures.start, pictures.stop) if pictures.of is None else (0, len(images))
    return rows_of(images.recipe, images, start, stop)


def _with_places(plan: Plan, found: list[pa.Table]) -> pd.DataFrame:
    """Join operating points in order and name each row's operating point and picture."""
    images = plan.images
    repeat = 1 if images.masks_file is None else 2
    per_point = len(images) * repeat
    specs = plan.registry.codecs
    points = list(plan.points.items())
    identities = images.identities or ("",) * len(images)

    def by_point(names: list[str]) -> pa.Array:
        return pa.array(names, pa.string()).take(np.repeat(np.arange(len(points)), per_point))

    def by_picture(names: Sequence[str]) -> pa.Array:
        return pa.array(names, pa.string()).take(positions)

    positions = np.tile(np.repeat(np.arange(len(images)), repeat), len(points))
    places = {
        "point": by_point([name for name, _ in points]),
        "codec": by_point([p.codec for _, p in points]),
        "curve": by_point([curve_label(specs[p.codec], p) for _, p in points]),
        "picture": by_picture(images.ids),
        "position": pa.array(positions),
        "identity": by_picture(identities),
    }
    measured = pa.concat_tables(found)
    found.clear()
    columns = {**places, **dict(zip(measured.column_names, measured.columns, strict=True))}
    table = pa.table(columns)
    del measured, places, columns
    records: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)  # not both at once
    return records


def _failures(records: pd.DataFrame) -> list[str]:
    """Return one line per operating point and kind of failure: how many pictures, and what the first said."""
    failed = records[~records["status"].isin([OK, OVER_BUDGET]) & (records["mask"] == MASK_NONE)]
    return [
        f"{point}: {status} for {len(rows)} pictures, first {rows['picture'].iloc[0]}: {rows['detail'].iloc[0]}"
        for (point, status), rows in failed.groupby(["point", "status"], sort=False)
    ]


def _manifest(plan: Plan, facts: dict[str, CodecFacts], problems: list[str]) -> dict[str, Any]:
    images, registry = plan.images, plan.registry
    origins = {registry.origins[f"codec {p.codec}"] for p in plan.points.values()}
    origins |= {registry.origins[f"metric {metric.name}"] for metric in plan.metrics}
    return {
        "facebench": __version__,
        "api": API_VERSION,
        "command": plan.command,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "git": git_state(),
        "machine": machine(origins),
        "image_set": {
            "name": images.name,
            "split": images.split,
            "pictures": len(images),
            "digest": images.digest,
            "preprocessing": asdict(images.preprocessing),
            "description": images.preprocessing.describe(),
            "synthetic": images.synthetic,
            "masker": images.masker if images.masks_file else "none",
            "no_mask_reason": images.no_mask_reason,
        },
        "metrics": {
            column.name: {
                "version": column.version,
                "definition": column.definition,
                "higher_is_better": column.higher_is_better,
                "unit": column.unit,
            }
            for metric in plan.metrics
            for column in metric.columns
        },
        "points": {name: _point_entry(plan, name, point, facts[name]) for name, point in plan.points.items()},
        "sealed": plan.sealed,
        "device": plan.device,
        "problems": [*registry.problems, *problems],
    }


def _point_entry(plan: Plan, name: str, point: OperatingPoint, facts: CodecFacts) -> dict[str, Any]:
    spec = plan.registry.codecs[point.codec]
    return {
        "codec": point.codec,
        "version": spec.version,
        "origin": plan.registry.origins[f"codec {point.codec}"],
        "settings": point.values(),
        "budget": point.budget,
        "downscale": point.downscale,
        "curve": curve_label(spec, point),
        "rate_setting": spec.rate_setting,
        "weights_bytes": facts.weights_bytes,
        "weights_digest": facts.weights_digest,
        "trained_on": facts.trained_on,
        "overlap": training_overlap(facts, plan.images),
        "baseline": spec.baseline,
        "lossless": spec.lossless,
        "requested": name in plan.requested or point.downscale,
        "problem": facts.problem,
    }
