"""A run's records condensed to one row per operating point and mask variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.bootstrap import (
    RESAMPLES,
    cluster_codes,
    cluster_sums,
    percentile_interval,
    resampled_means,
)
from facebench.analysis.curves import Curve, CurvePoint, make_curve
from facebench.analysis.equal_bytes import Resampled, value_at
from facebench.errors import ResultsError
from facebench.measure import OVER_BUDGET
from facebench.operating_point import BUDGET_MARK

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

WHOLE, FACE = "none", "face"
#: What points are ranked by where a run has it; else the run's first metric.
RANKED_BY = "1-SSIM"


@dataclass(frozen=True)
class Spread:
    """5th, 50th and 95th percentile of a quantity over pictures, its worst value, and that picture's name."""

    p5: float
    p50: float
    p95: float
    worst: float
    worst_picture: str


@dataclass(frozen=True)
class MetricSummary:
    """A metric over the pictures of a row: mean, 95 % confidence interval of the mean (NaN if undefined), spread.

    ``cost`` is the mean of bits / 8 of the pictures that have a value, which need not be all of the row's;
    ``clusters`` the number of people that these are of (pictures where unknown), None if nothing was resampled.
    """

    mean: float
    low: float
    high: float
    spread: Spread
    cost: float
    clusters: int | None = None


@dataclass(frozen=True)
class Row:
    """One operating point, over whole pictures (``mask`` "none") or the face only ("face").

    Means are over the pictures that did not fail. ``bytes`` is the mean payload, ``ratio`` the raw 24-bit size
    divided by it (a ratio of means, not a mean of ratios), ``payload`` its spread, the worst being the
    largest. ``cost`` is the mean of bits / 8: more than ``bytes`` where the codec declares side information;
    ``bpp``, curves and the baseline go by it. ``baseline`` gives for each metric the baseline's value at
    ``cost`` bytes, None outside its curve. ``failures`` counts pictures by error kind. Times are means per
    picture in milliseconds. ``budget`` is the bytes that each picture was to fit into, or None; then the codec's
    rate is no setting of the point, and the row lies on no curve.
    """

    point: str
    codec: str
    curve: str
    mask: str
    pictures: int
    failures: Mapping[str, int]
    bytes: float
    cost: float
    bpp: float
    ratio: float
    payload: Spread
    encode_ms: float
    decode_ms: float
    weights_bytes: int
    metrics: Mapping[str, MetricSummary]
    baseline: Mapping[str, float | None] = field(default_factory=dict)
    budget: int | None = None
    downscale: bool = False

    @property
    def plain_curve(self) -> str:
        """The name of the codec's own curve with these settings, be the rate chosen by a budget or not."""
        return self.curve if self.budget is None else self.curve.partition(BUDGET_MARK)[0]

    @property
    def failed(self) -> int:
        """The number of pictures that failed, or did not fit the budget."""
        return sum(self.failures.values())

    @property
    def over_budget(self) -> int:
        """The number of pictures whose payloads are larger than the budget."""
        return self.failures.get(OVER_BUDGET, 0)

    @property
    def faults(self) -> Mapping[str, int]:
        """The failures that are no matter of the budget."""
        return {kind: count for kind, count in self.failures.items() if kind != OVER_BUDGET}


@dataclass(frozen=True)
class Summary:
    """All rows of a run, whole-picture rows and face rows of a point next to each other, in the run's order.

    ``metrics`` maps each metric's name to its manifest entry; ``baseline_curve`` is the name of the curve that
    the others are held against, or None.
    """

    rows: tuple[Row, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    has_masks: bool
    baseline_curve: str | None
    resampled: Mapping[tuple[str, str, str], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def ranked_by(self) -> str:
        """The metric that points are ranked by."""
        return RANKED_BY if RANKED_BY in self.metrics else next(iter(self.metrics))

    def higher_is_better(self, metric: str) -> bool:
        """Return whether larger values of ``metric`` are better."""
        return bool(self.metrics[metric].get("higher_is_better", False))

    @property
    def points(self) -> list[str]:
        """The labels of the operating points without a budget, in the run's order."""
        return [row.point for row in self.rows if row.mask == WHOLE and row.budget is None]

    @property
    def budgets(self) -> list[int]:
        """The budgets in bytes that the run has points for, ascending."""
        return sorted({row.budget for row in self.rows if row.budget is not None})

    def row(self, point: str, mask: str = WHOLE) -> Row | None:
        """Return the row of that point and mask variant, or None."""
        return self._by_place.get((point, mask))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], Row]:
        return {(row.point, row.mask): row for row in self.rows}

    def curves(self, metric: str, mask: str = WHOLE) -> dict[str, Curve]:
        """Return the rate-distortion curves in ``metric`` by name, in the run's order, without budgets' points."""
        points: dict[str, list[CurvePoint]] = {}
        codecs = {}
        for row in self.rows:
            if row.mask == mask and row.budget is None:
                codecs[row.curve] = row.codec
                found = row.metrics[metric]
                points.setdefault(row.curve, []).append(CurvePoint(row.point, found.cost, found.mean, row.failed))
        higher = self.higher_is_better(metric)
        return {name: make_curve(name, codecs[name], on, higher_is_better=higher) for name, on in points.items()}

    def resampled_curve(self, curve: Curve, metric: str, mask: str = WHOLE) -> Resampled:
        """Return ``curve`` in each bootstrap resample, for intervals of differences between curves."""
        labels = [point.label for point in curve.points]
        return Resampled(
            np.stack([self.resampled[label, mask, _cost_of(metric)] for label in labels], axis=1),
            np.stack([self.resampled[label, mask, metric] for label in labels], axis=1),
        )

    def clusters(self, points: Iterable[str], metric: str, mask: str = WHOLE) -> int | None:
        """Return the fewest people (pictures where unknown) that ``metric`` of one of ``points`` is a mean over."""
        counts = (self.row(point, mask).metrics[metric].clusters for point in points)  # type: ignore[union-attr]
        return min((count for count in counts if count is not None), default=None)


#: Summaries of runs that are still there, by their resamples: a command may write one run as several texts.
_made: WeakKeyDictionary[Run, dict[int, Summary]] = WeakKeyDictionary()


def summarise(run: Run, *, resamples: int = RESAMPLES) -> Summary:
    """Return the summary of ``run``; without confidence intervals if ``resamples`` is 0.

    Raises ResultsError if the records name a point that the manifest lacks.
    """
    made = _made.setdefault(run, {})
    if resamples not in made:
        made[resamples] = _summarised(run, resamples)
    return made[resamples]


def _summarised(run: Run, resamples: int) -> Summary:
    records, manifest = run.records, run.manifest
    if strangers := set(records["point"].unique()) - set(manifest["points"]):
        raise ResultsError(
            f"run '{run.name}': its manifest lacks the point '{min(strangers)}' of its records; rerun it"
        )
    metrics = {name: manifest["metrics"][name] for name in records.columns if name in manifest["metrics"]}
    if not metrics:
        raise ResultsError(f"run '{run.name}' has no metric in its records; rerun it")
    groups: dict[Any, NDArray[np.int64]] = records.groupby(["point", "mask"], sort=False, observed=True).indices
    has_masks = any(mask == FACE for _, mask in groups)
    columns = _Columns.of(records, list(metrics))
    nothing = np.array([], dtype=np.int64)
    rows = []
    # In the order of the records: a manifest's keys may have been sorted when it was written.
    for point in dict.fromkeys([*records["point"].unique(), *manifest["points"]]):
        about = manifest["points"][point]
        for mask in (WHOLE, FACE) if has_masks else (WHOLE,):
            index = groups.get((point, mask), nothing)
            rows.append(_row(columns, index, point, about, mask, manifest["image_set"], metrics))
    resampled: dict[tuple[str, str, str], NDArray[np.float64]] = {}
    if resamples:
        resampled, clusters = _resampled(columns, groups, resamples)
        rows = [_with_intervals(row, resampled, clusters) for row in rows]
    summary = Summary(tuple(rows), metrics, has_masks, baseline_curve_name(manifest), resampled)
    return replace(summary, rows=_with_baseline(summary))


def baseline_curve_name(manifest: Mapping[str, Any]) -> str | None:
    """Return the curve that others are held against: a baseline codec's with default settings, else its first."""
    curves = [
        (about["codec"], about["curve"])
        for about in manifest["points"].values()
        if about.get("baseline") and about.get("budget") is None
    ]
    plain = [curve for codec, curve in curves if curve == codec]
    return next(iter(plain or [curve for _, curve in curves]), None)


@dataclass(frozen=True)
class _Columns:
    """The records as plain arrays, (rows,) each."""

    ok: NDArray[np.bool_]
    status: pd.Series
    picture: pd.Series
    payload: NDArray[np.float64]
    cost: NDArray[np.float64]
    encode: NDArray[np.float64]
    decode: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
    clusters: NDArray[np.int64]
    cluster_count: int

    @classmethod
    def of(cls, records: pd.DataFrame, metrics: list[str]) -> _Columns:
        import pandas as pd

        def floats(name: str) -> NDArray[np.float64]:
            return np.asarray(records[name].to_numpy(dtype=np.float64, na_value=np.nan))

        # Texts stay in the frame, and are told apart by codes: a million Python strings are not made.
        people, names = pd.factorize(records["identity"])
        unknown = np.flatnonzero(names == "")
        people = np.where(np.isin(people, unknown), -1, people).astype(np.int64)
        clusters, count = cluster_codes(people, records["position"].to_numpy(dtype=np.int64))
        return cls(
            ok=np.asarray((records["status"] == "ok").to_numpy(dtype=bool)),
            status=records["status"],
            picture=records["picture"],
            payload=floats("payload_bytes"),
            cost=floats("bits") / 8,
            encode=floats("encode_seconds"),
            decode=floats("decode_seconds"),
            metrics={name: floats(name) for name in metrics},
            clusters=clusters,
            cluster_count=count,
        )


def _row(
    columns: _Columns,
    index: NDArray[np.int64],
    point: str,
    about: Mapping[str, Any],
    mask: str,
    image_set: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
) -> Row:
    ok = index[columns.ok[index]]
    failures = {
        str(kind): int(count)
        for kind, count in sorted(columns.status.iloc[index[~columns.ok[index]]].value_counts().items())
        if count  # a categorical column counts absent kinds too
    }
    missing = int(image_set["pictures"]) - len(index)
    if missing > 0:
        failures["missing"] = missing
    side = int(image_set["preprocessing"]["size"])
    payload, cost = _mean(columns.payload[ok]), _mean(columns.cost[ok])
    return Row(
        point=point,
        codec=about["codec"],
        curve=about["curve"],
        mask=mask,
        pictures=len(ok),
        failures=failures,
        bytes=payload,
        cost=cost,
        bpp=8 * cost / side**2,
        ratio=3 * side**2 / payload if payload else float("nan"),
        payload=_spread(columns.payload[ok], columns.picture, ok, higher_is_better=False),
        encode_ms=1000 * _mean(columns.encode[ok]),
        decode_ms=1000 * _mean(columns.decode[ok]),
        weights_bytes=int(about.get("weights_bytes") or 0),
        metrics={
            name: _metric(columns, name, ok, higher_is_better=bool(metrics[name].get("higher_is_better")))
            for name in columns.metrics
        },
        budget=about.get("budget"),
        downscale=bool(about.get("downscale", False)),
    )


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _metric(columns: _Columns, name: str, ok: NDArray[np.int64], *, higher_is_better: bool) -> MetricSummary:
    nan, values = float("nan"), columns.metrics[name][ok]
    spread = _spread(values, columns.picture, ok, higher_is_better=higher_is_better)
    return MetricSummary(_mean(values), nan, nan, spread, cost=_mean(np.where(np.isnan(values), nan, columns.cost[ok])))


def _spread(
    values: NDArray[np.float64], pictures: pd.Series, index: NDArray[np.int64], *, higher_is_better: bool
) -> Spread:
    """Return the spread of ``values``, those of the rows ``index`` of the records, whose ``pictures`` are named."""
    there = ~np.isnan(values)
    values, index = values[there], index[there]
    nan = float("nan")
    if not values.size:
        return Spread(nan, nan, nan, nan, "")
    # "Lower" where some are infinite (a ratio to nothing): interpolating between infinities is undefined.
    method: Literal["linear", "lower"] = "linear" if np.isfinite(values).all() else "lower"
    p5, p50, p95 = (float(value) for value in np.percentile(values, [5, 50, 95], method=method))
    worst = int(values.argmin() if higher_is_better else values.argmax())
    return Spread(p5, p50, p95, float(values[worst]), str(pictures.iloc[index[worst]]))


def _cost_of(metric: str) -> str:
    """Return the name of a resampled quantity: the cost of the pictures that have a value of ``metric``."""
    return f"cost in bytes: {metric}"


def _resampled(
    columns: _Columns, groups: Mapping[Any, NDArray[np.int64]], resamples: int
) -> tuple[dict[tuple[str, str, str], NDArray[np.float64]], dict[tuple[str, str, str], int]]:
    """Return the resampled means by (point, mask, metric or :func:`_cost_of` it), (resamples,) each, of the same draws.

    And by (point, mask, metric) the number of clusters with a value.
    """
    keys, sums, counts = [], [], []
    for (point, mask), index in groups.items():
        ok = index[columns.ok[index]]
        for name, values in columns.metrics.items():
            cost = np.where(np.isnan(values[ok]), np.nan, columns.cost[ok])
            for quantity, of_quantity in ((name, values[ok]), (_cost_of(name), cost)):
                total, count = cluster_sums(of_quantity, columns.clusters[ok], columns.cluster_count)
                keys.append((str(point), str(mask), quantity))
                sums.append(total)
                counts.append(count)
    if not keys or columns.cluster_count < 2:
        return {}, {}
    means = resampled_means(np.stack(sums, axis=1), np.stack(counts, axis=1), resamples=resamples)
    clusters = {key: int(np.count_nonzero(count)) for key, count in zip(keys, counts, strict=True)}
    return {key: means[:, column] for column, key in enumerate(keys)}, clusters


def _with_intervals(
    row: Row,
    resampled: Mapping[tuple[str, str, str], NDArray[np.float64]],
    clusters: Mapping[tuple[str, str, str], int],
) -> Row:
    names = [name for name in row.metrics if clusters.get((row.point, row.mask, name), 0) > 1]
    if not names:
        return row
    stacked = np.stack([resampled[row.point, row.mask, name] for name in names], axis=1)
    changed = {
        name: replace(row.metrics[name], low=float(low), high=float(high), clusters=clusters[row.point, row.mask, name])
        for name, low, high in zip(names, *percentile_interval(stacked), strict=True)
    }
    return replace(row, metrics={**row.metrics, **changed})


def _with_baseline(summary: Summary) -> tuple[Row, ...]:
    if summary.baseline_curve is None:
        return summary.rows
    curves = {
        (name, mask): summary.curves(name, mask).get(summary.baseline_curve)
        for name in summary.metrics
        for mask in (WHOLE, FACE)
    }

    def at_same_bytes(row: Row, metric: str) -> float | None:
        curve = curves[metric, row.mask]
        if curve is None or not row.pictures or row.budget is not None:
            return None
        return value_at(curve, row.metrics[metric].cost).value

    return tuple(
        replace(row, baseline={name: at_same_bytes(row, name) for name in summary.metrics}) for row in summary.rows
    )
