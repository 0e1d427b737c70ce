"""What a run is to do: operating points, metrics and an image set, from what the user asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from facebench.data.imageset import ImageSet
from facebench.errors import SettingError
from facebench.hookspecs import MetricSpec
from facebench.measure import OVER_BUDGET, LimitedMetric
from facebench.operating_point import OperatingPoint, label, sweep_points, with_budgets
from facebench.plugins import Registry
from facebench.store import Run

#: Stands for the metric families that a run computes without being asked.
DEFAULT_METRICS = "default"


@dataclass(frozen=True)
class Plan:
    """What a run does: points in table order, those that the user asked for, the set and what is measured on it."""

    registry: Registry
    points: dict[str, OperatingPoint]
    requested: frozenset[str]
    images: ImageSet
    metrics: tuple[MetricSpec, ...]
    device: str
    sealed: bool
    command: str


def plan_points(
    registry: Registry,
    requested: list[OperatingPoint],
    *,
    baseline: bool,
    curves: bool = True,
    budgets: tuple[int, ...] = (),
) -> dict[str, OperatingPoint]:
    """Return the requested operating points by label, then those of the baseline codecs that are not among them.

    Of a baseline codec these are its sweep if ``curves``, and its points at the ``budgets``.
    """
    points = list(requested)
    for spec in registry.codecs.values() if baseline else ():
        if spec.baseline:
            sweep = sweep_points(spec)
            points += (sweep if curves else []) + with_budgets(spec, sweep, budgets)
    return {label(registry.codecs[p.codec], p): p for p in dict.fromkeys(points)}


def plan_metrics(registry: Registry, names: str | None = None) -> tuple[MetricSpec, ...]:
    """Return the metric families in ``names``, separated by commas, each once; None means ``default``.

    The name ``default`` stands for all families that do not have to be asked for; ``identity:500`` for one of the
    first 500 pictures only. Raises UnknownName (with the nearest name), PluginError for a name that two plugins
    bring, or SettingError for a number that is none.
    """
    chosen: dict[str, MetricSpec] = {}
    for part in (names or DEFAULT_METRICS).split(","):
        name, limited, first = (text.strip() for text in part.partition(":"))
        if limited and not (first.isdecimal() and int(first)):
            raise SettingError(f"--metrics {part.strip()}: write {name}:N with N pictures, 1 or more")
        for metric in _default_metrics(registry) if name == DEFAULT_METRICS else [registry.metric(name)]:
            if limited:
                chosen[metric.name] = LimitedMetric.of(metric, int(first))
            elif name != DEFAULT_METRICS or metric.name not in chosen:  # default takes no other limit back
                chosen[metric.name] = metric
    return tuple(chosen.values())


def _default_metrics(registry: Registry) -> list[MetricSpec]:
    return [metric for metric in registry.metrics.values() if metric.default]


def with_downscaled(plan: Plan, run: Run) -> Plan:
    """Return ``plan`` with downscaling for those of its budgets that some picture of ``run`` could not keep."""
    over = set(run.records.loc[run.records["status"] == OVER_BUDGET, "point"])
    points: dict[str, OperatingPoint] = {}
    for name, point in plan.points.items():
        points[name] = point
        if name in over and not point.downscale:
            smaller = replace(point, downscale=True)
            points[label(plan.registry.codecs[point.codec], smaller)] = smaller
    return replace(plan, points=points)


def run_name(images: ImageSet) -> str:
    """Return the default name of a run's results folder, such as "celeba-64"."""
    usual = {"celeba": ("test", "centre-148"), "samples": ("all", "full"), "folder": ("all", "square")}
    split, crop = usual.get(images.name, ("", ""))
    parts = [images.name, str(images.preprocessing.size)]
    parts += [images.split] if images.split != split else []
    parts += [images.preprocessing.crop] if images.preprocessing.crop != crop else []
    return "-".join(parts)
