"""The tables below a leaderboard: spread over pictures, provenance of the codecs, metric definitions, machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facebench.analysis.merge import run_origins
from facebench.analysis.summary import FACE, Summary
from facebench.report.text import NONE, counted, markdown_table, number, plain

if TYPE_CHECKING:
    from facebench.store import Run


def spread_table(summary: Summary) -> str:
    """Return percentiles of the ranking metric and of the payload over pictures, the worst picture, and times."""
    metric = summary.ranked_by
    unit = str(summary.metrics[metric].get("unit") or "")
    cells = []
    for row in summary.rows:
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
    return markdown_table(headers, cells, left=(0, 5))


def provenance_table(summary: Summary, manifest: Mapping[str, Any]) -> str:
    """Return where each operating point comes from: codec version, plugin, weights, training data, settings."""
    cells = []
    for label in summary.points:
        about = manifest["points"][label]
        settings = ", ".join(f"{name}={_setting(value)}" for name, value in sorted(about.get("settings", {}).items()))
        digest = about.get("weights_digest")
        cells.append(
            [
                label,
                str(about.get("version") or NONE),
                str(about.get("origin") or NONE),
                digest[:12] if digest else NONE,
                _trained_on(about.get("trained_on")),
                settings or NONE,
            ]
        )
    headers = ["codec", "version", "brought by", "weights digest", "trained on", "settings"]
    return markdown_table(headers, cells, left=range(len(headers)))


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _trained_on(data: Mapping[str, Any] | None) -> str:
    if not data:
        return NONE
    return f"{data['image_set']} {data['split']} ({str(data['data_digest'])[:12]})"


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
