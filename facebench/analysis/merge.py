"""Several runs as one, for one leaderboard, and the refusal to rank together what is not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facebench.errors import NotComparable, ResultsError

if TYPE_CHECKING:
    import pandas as pd

    from facebench.store import Run

#: What must agree in a metric of the same name.
_METRIC_KEYS = ("version", "definition", "higher_is_better", "unit")
#: What must agree in cost.json for its figures to stand in one table, as we name it.
_COST_KEYS = {
    "definition": "by another definition",
    "device": "on another device",
    "threads": "with another number of threads",
    "image_set": "on other pictures",
}


def merge_runs(runs: Sequence[Run]) -> Run:
    """Return ``runs`` as one, in order; of a point that several runs hold, the last run's rows count.

    The merged manifest is the last run's, with all points and metrics; its ``runs`` lists where they
    came from: name, command, created, git, machine and facebench version of each run. Costs are merged by
    point too; those measured in another way or elsewhere than the last run's that has any are left out,
    which its ``problems`` say. Raises NotComparable, naming the runs and what differs, if data, mask source,
    a shared metric or a shared point's codec version or weights differ; ResultsError without any run.
    """
    if not runs:
        raise ResultsError("no run given: name at least one results folder")
    if len(runs) == 1:
        return runs[0]
    import pandas as pd

    metrics: dict[str, Any] = {}
    points: dict[str, Any] = {}
    metric_home: dict[str, Run] = {}
    point_home: dict[str, Run] = {}
    for run in runs:
        _same_data(runs[0], run)
        for name, metric in run.manifest["metrics"].items():
            if name in metrics:
                _same_metric(name, metric_home[name], run)
            metrics[name] = metric
            metric_home.setdefault(name, run)
        for label, point in run.manifest["points"].items():
            requested = bool(point.get("requested", True))
            if label in points:
                _same_point(label, point_home[label], run)
                requested = requested or points[label]["requested"]
            points[label] = {**point, "requested": requested, "run": run.name}
            point_home[label] = run
    parts = []
    for run in runs:
        winning = [label for label, home in point_home.items() if home is run]
        parts.append(run.records[run.records["point"].isin(winning)])
    cost, cost_problems = _cost(runs)
    problems = [problem for run in runs for problem in run.manifest.get("problems", [])]
    manifest = {
        **runs[-1].manifest,
        "command": "; ".join(str(run.manifest["command"]) for run in runs),
        "metrics": metrics,
        "points": points,
        "sealed": all(run.manifest.get("sealed") for run in runs),
        "problems": list(dict.fromkeys([*problems, *cost_problems])),
        "runs": [origin for run in runs for origin in run_origins(run)],
    }
    records = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    name = " + ".join(run.name for run in runs)
    return replace(runs[-1], name=name, manifest=manifest, records=records, pictures=_pictures(runs), cost=cost)


def _pictures(runs: Sequence[Run]) -> pd.DataFrame | None:
    """Return all that the runs know of their pictures, which are the same in the same order; the last run wins."""
    merged: pd.DataFrame | None = None
    for pictures in (run.pictures for run in runs if run.pictures is not None):
        merged = pictures if merged is None else merged.assign(**dict(pictures.items()))
    return merged


def _cost(runs: Sequence[Run]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the costs that the runs measured alike, the later run's where two did a point, and what was left out."""
    merged: dict[str, Any] | None = None
    home, problems = "", []
    for run in reversed(runs):
        if run.cost is None:
            continue
        if merged is None:
            merged, home = dict(run.cost), run.name
        elif difference := _cost_difference(merged, run.cost):
            problems.append(
                f"costs of run '{run.name}' are left out: measured {difference} than those of run '{home}'; run "
                "'facebench cost' on both alike"
            )
        else:
            points = {**run.cost.get("points", {}), **merged.get("points", {})}
            machine, other = merged.get("machine") or {}, run.cost.get("machine") or {}
            packages = {**other.get("packages", {}), **machine.get("packages", {})}
            command = "; ".join(str(record["command"]) for record in (run.cost, merged) if record.get("command"))
            merged |= {"command": command, "points": points, "machine": {**machine, "packages": packages}}
    return merged, problems[::-1]


def _cost_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return in words what differs in how two records of costs were measured, or ''."""
    ours, theirs = one.get("machine") or {}, other.get("machine") or {}
    if any(ours.get(key) != theirs.get(key) for key in {*ours, *theirs} - {"packages"}):
        return "on another machine"
    packages, rival = ours.get("packages") or {}, theirs.get("packages") or {}
    for name in sorted(packages.keys() & rival.keys()):  # a run lists those of its own plugins only
        if packages[name] != rival[name]:
            return f"with another {name}"
    return next((said for key, said in _COST_KEYS.items() if one.get(key) != other.get(key)), "")


def run_origins(run: Run) -> list[Mapping[str, Any]]:
    """Return where the rows of ``run`` come from: one entry per run that was merged, or the one of itself."""
    if "runs" in run.manifest:
        return list(run.manifest["runs"])
    keys = ("command", "created", "git", "machine", "facebench")
    return [{"name": run.name, **{key: run.manifest.get(key) for key in keys}}]


def _same_data(one: Run, other: Run) -> None:
    ours, theirs = one.manifest["image_set"], other.manifest["image_set"]
    if ours["digest"] != theirs["digest"]:
        raise NotComparable(
            f"runs '{one.name}' and '{other.name}' scored different data: {_data(ours)} and {_data(theirs)}; "
            "rank them apart, or rerun one on the other's data"
        )
    if ours.get("masker") != theirs.get("masker"):
        raise NotComparable(
            f"runs '{one.name}' and '{other.name}' took their face masks from '{ours.get('masker')}' and "
            f"'{theirs.get('masker')}'; rerun one with the other's"
        )


def _data(image_set: Mapping[str, Any]) -> str:
    return (
        f"{image_set['name']} {image_set['split']}, {image_set['pictures']} pictures, "
        f"{image_set['description']} (digest {image_set['digest'][:12]})"
    )


def _same_metric(name: str, one: Run, other: Run) -> None:
    ours, theirs = one.manifest["metrics"][name], other.manifest["metrics"][name]
    for key in _METRIC_KEYS:
        if ours.get(key) != theirs.get(key):
            raise NotComparable(
                f"runs '{one.name}' and '{other.name}' differ in the {key} of metric {name}: "
                f"{ours.get(key)!r} and {theirs.get(key)!r}; rerun the older one"
            )


def _same_point(label: str, one: Run, other: Run) -> None:
    ours, theirs = one.manifest["points"][label], other.manifest["points"][label]
    pairs = [
        ("codec version", ours["version"], theirs["version"]),
        ("weights", _short(ours.get("weights_digest")), _short(theirs.get("weights_digest"))),
        ("settings", ours.get("settings"), theirs.get("settings")),
        ("plugin", _distribution(ours), _distribution(theirs)),
    ]
    for what, mine, yours in pairs:
        if mine != yours:
            raise NotComparable(
                f"runs '{one.name}' and '{other.name}' both hold {label}, with different {what}: {mine} and {yours}; "
                "rerun the older one"
            )


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"


def _distribution(point: Mapping[str, Any]) -> str:
    # "facebench 0.1.0": the version of a codec is compared by itself.
    return str(point.get("origin") or "").split(" ")[0]
