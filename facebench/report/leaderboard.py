"""The leaderboard of a run: what ``facebench run`` and ``facebench leaderboard`` print and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facebench.analysis.summary import summarise
from facebench.report.bd_rate import bd_rate_section
from facebench.report.budgets import budgets_sections
from facebench.report.cost import break_even_section, cost_section
from facebench.report.details import badges, metrics_table, origin_lines, provenance_table, spread_table
from facebench.report.equal_bytes import equal_bytes_sections, other_metrics_section
from facebench.report.frame import leaderboard_csv, leaderboard_frame, leaderboard_json
from facebench.report.standings import standings
from facebench.report.text import counted
from facebench.report.views import view_named

if TYPE_CHECKING:
    from facebench.store import Run

__all__ = ["leaderboard_csv", "leaderboard_frame", "leaderboard_json", "leaderboard_markdown"]


def leaderboard_markdown(run: Run, *, view: str = "default") -> str:
    """Return the leaderboard of ``run`` as a markdown document.

    ``view`` is "default", or "paper" for the student paper's scaled l1 and l2. Raises SettingError for
    another view and ResultsError for a damaged run.
    """
    chosen = view_named(view)
    summary, manifest = summarise(run), run.manifest
    points = manifest["points"]
    paragraphs = [f"# facebench leaderboard: {run.name}", badges(summary, manifest), *data_lines(manifest)]
    if chosen.note:
        paragraphs.append(chosen.note)
    if summary.points:
        paragraphs += standings(summary, manifest, chosen)
        paragraphs += ["## At equal bytes", *equal_bytes_sections(summary, points)]
        paragraphs += other_metrics_section(summary, points)
        paragraphs += bd_rate_section(summary)
        paragraphs += break_even_section(summary)
    paragraphs += budgets_sections(summary, points)
    paragraphs += cost_section(summary, run)
    if "runs" not in manifest:  # a table of several runs stands in no folder
        paragraphs.append(
            "Which groups of faces fare worse, and each codec's worst pictures: groups.md in the run's folder."
        )
    if summary.points:
        paragraphs += ["## Spread over pictures", spread_table(summary)]
    paragraphs += ["## Provenance", provenance_table(summary, manifest), *_problems(manifest)]
    paragraphs += ["## Metrics", metrics_table(summary.metrics)]
    paragraphs += ["## How this was measured", *origin_lines(run)]
    return "\n\n".join(paragraphs) + "\n"


def data_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Return the line that says what was scored, and the warning if the faces are synthetic."""
    data = manifest["image_set"]
    sealed = "; every payload was decoded in a fresh process (--sealed)" if manifest.get("sealed") else ""
    lines = [
        f"Data: {data['name']}, split {data['split']}, {counted(data['pictures'], 'picture')}, {data['description']}; "
        f"data digest {data['digest'][:12]}{sealed}."
    ]
    if data.get("synthetic"):
        lines.append(
            "**These are synthetic faces, not photographs: the figures below show that things work. For real figures, "
            "run `facebench run ... --data PATH_TO_CELEBA`.**"
        )
    return lines


def _problems(manifest: Mapping[str, Any]) -> list[str]:
    problems = manifest.get("problems") or []
    return ["Problems met:", "\n".join(f"- {problem}" for problem in problems)] if problems else []
