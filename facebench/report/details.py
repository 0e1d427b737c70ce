"""The tables below a leaderboard: spread over pictures, provenance of the codecs, metric definitions, machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facebench.analysis.merge import run_origins
from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.report.text import NONE, counted, folded, markdown_table, number, plain

if TYPE_CHECKING:
    from facebench.store import Run


def spread_table(summary: Summary) -> str:
    """Return percentiles of the ranking metric and of the payload over pictures, the worst picture, and times."""
    metric = summary.ranked_by
    unit = str(summary.metrics[metric].get("unit") or "")
    cells = []
    for row in (row for row in summary.rows if row.budget is None):
        spread, payload = row.metrics[metric].spread, row.payload
        quality = [number(value, unit) for value in (spread.p5, spread.p50, spread.p95, spread.worst)]
        cells.append([row.point + ("+Mask" if row.mask == FACE else ""), *quality, spread.worst_picture or NONE])
        if row.mask == FACE:
            cells[-1] += [""] * 6  # payload and times are those of the row above
        else:
            sizes = [plain(value, 0) for value in (payload.p5, payload.p50, payload.p95, payload.worst)]
            cells[-1] += [*sizes, plain(row.encode_ms, 3), plain(row.decode_ms, 3)]
    headers = ["codec", *(f"{metric} {p}" for p in ("5 %", "50 %", "95 %", "worst")), "worst picture"]
    headers += ["payload 5 %", "50 %", "95 %", "largest", "encode ms", "decode ms"]
    return folded(
        markdown_table(headers, cells, left=(0, 5)),
        f"{counted(len(summary.points), 'operating point')}: percentiles over pictures, the worst picture, times",
    )


def provenance_table(summary: Summary, manifest: Mapping[str, Any]) -> str:
    """Return where the operating points come from: codec version, plugin, weights, training data, settings.

    Points of one curve share a row if version, plugin and training data agree. Where they have weights or settings of
    their own, all stand there, in the order of the points.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for label in dict.fromkeys(row.point for row in summary.rows):
        about = manifest["points"][label]
        version, origin = (str(about.get(key) or NONE) for key in ("version", "origin"))
        group = (about["curve"], version, origin, trained_on(about.get("trained_on")) or NONE)
        groups.setdefault(group, []).append(about)
    cells: list[list[str]] = []
    for (curve, *key), points in groups.items():
        digests = dict.fromkeys(digest[:12] for about in points if (digest := about.get("weights_digest")))
        settings = _settings([about.get("settings", {}) for about in points])
        cells.append([curve, str(len(points)), *key, " ".join(digests) or NONE, settings])
    headers = ["curve", "points", "version", "brought by", "trained on", "weights digest", "settings"]
    return markdown_table(headers, cells, left=(0, *range(2, len(headers))))


def _settings(points: Sequence[Mapping[str, Any]]) -> str:
    names = sorted({name for settings in points for name in settings})
    values = {name: dict.fromkeys(_setting(s[name]) for s in points if name in s) for name in names}
    return ", ".join(f"{name}={'/'.join(told)}" for name, told in values.items()) or NONE


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def trained_on(data: Mapping[str, Any] | None) -> str:
    """Return what weights were trained on, and by which command where that is known; '' for a codec without."""
    if not data:
        return ""
    by = f" by `{data['command']}`" if data.get("command") else ""
    return f"{data['image_set']} {data['split']} ({str(data['data_digest'])[:12]}){by}"


def metrics_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return each metric's version, direction and definition."""
    cells = [
        [
            name,
            str(about["version"]),
            "higher" if about.get("higher_is_better") else "lower",
            str(about.get("unit") or NONE),
            str(about["definition"]),
        ]
        for name, about in metrics.items()
    ]
    return markdown_table(["metric", "version", "better", "unit", "definition"], cells, left=range(5))


def badges(summary: Summary, manifest: Mapping[str, Any]) -> str:
    """Return the line below a leaderboard's title: how much was measured, and what speaks for or against it."""
    data, rows = manifest["image_set"], [row for row in summary.rows if row.mask == WHOLE]
    curves = {row.curve for row in rows if row.budget is None}
    leaking = sum(any((manifest["points"][row.point].get("overlap") or {}).values()) for row in rows)
    failed = sum(bool(row.faults) for row in rows)
    facts = [
        "**SYNTHETIC faces**" if data.get("synthetic") else "**real faces**",
        counted(data["pictures"], "picture"),
        f"{counted(len({row.codec for row in rows}), 'codec')}, {counted(len(curves), 'curve')}, "
        f"{counted(len(rows), 'operating point')}",
        f"face masks: {data.get('masker') or 'yes'}" if summary.has_masks else "no face masks",
        f"**{counted(leaking, 'point')} trained on scored faces**" if leaking else "no training on these faces known",
        f"**{counted(failed, 'point')} with failed pictures**" if failed else "no picture failed",
        "sealed" if manifest.get("sealed") else "not sealed",
        _commits([origin.get("git") for origin in manifest.get("runs") or [manifest]]),
    ]
    return " · ".join(facts)


def _commits(states: Sequence[Mapping[str, Any] | None]) -> str:
    if not all(states):
        return "**commit unknown**"
    dirty = any(state.get("dirty") for state in states if state)
    commits = ", ".join(dict.fromkeys(str(state["commit"])[:12] for state in states if state))
    return f"**uncommitted changes on {commits}**" if dirty else f"clean commit {commits}"


def origin_lines(run: Run) -> list[str]:
    """Return when, where, by which command and which code the rows were measured: one block per run."""
    blocks = []
    for origin in run_origins(run):
        machine, git = origin.get("machine") or {}, origin.get("git")
        packages = ", ".join(f"{name} {version}" for name, version in sorted(machine.get("packages", {}).items()))
        code = f"facebench {origin.get('facebench')}"
        if git:
            code += f", commit {str(git['commit'])[:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
        lines = [
            f"- run: {origin['name']}, {origin.get('created')}",
            f"- code: {code}",
            f"- machine: {machine.get('cpu')}, {counted(machine.get('cores') or 0, 'core')}, {machine.get('os')}, "
            f"Python {machine.get('python')}",
            f"- packages: {packages or NONE}",
            f"- command: `{origin.get('command')}`",
        ]
        blocks.append("\n".join(lines))
    return blocks
