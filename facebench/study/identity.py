"""What happens to identity, per codec and byte budget: section 7."""

from __future__ import annotations

from facebench.analysis.summary import WHOLE, Row
from facebench.report.text import NONE, byte_count, markdown_table, number, with_interval
from facebench.study.evidence import Measured

#: Of :mod:`facebench_identity`: not verified, taken for another person, in the rank-1 sense.
ERROR, MISS = "ID-error", "ID-miss"


def matched(measured: Measured, codec: str, budget: int) -> float | None:
    """Return the share of faces that are still verified as their person at ``budget``, or None where not all fit."""
    row = _at(measured, codec, budget)
    return None if row is None else 1 - row.metrics[ERROR].mean


def _at(measured: Measured, codec: str, budget: int) -> Row | None:
    """Return the row of a curve at ``budget`` bytes, downscaled if only so every picture fits, or None."""
    rows = [
        row
        for row in measured.summary.rows
        if row.mask == WHOLE and row.budget == budget and row.plain_curve == codec and not row.failed
    ]
    return min(rows, key=lambda row: row.downscale, default=None)


def identity_section(measured: Measured | None) -> str:
    """Return the section: the share that is still matched to their person, by codec and budget."""
    if measured is None:
        return "Not measured yet: add `--identity` to the command (it needs facebench-identity)."
    curves = list(dict.fromkeys(row.plain_curve for row in measured.summary.rows if row.budget is not None))
    budgets = measured.summary.budgets
    rows = []
    for curve in curves:
        cells = [curve]
        for budget in budgets:
            row = _at(measured, curve, budget)
            if row is None:
                cells += [NONE] * 3
                continue
            error, miss = row.metrics[ERROR], row.metrics[MISS]
            cells += [
                f"{byte_count(row.bytes)}{' (downscaled)' if row.downscale else ''}",
                with_interval(1 - error.mean, 1 - error.high, 1 - error.low),
                number(1 - miss.mean),
            ]
        rows.append(cells)
    headers = ["codec"]
    for budget in budgets:
        headers += [f"bytes in {budget}", "verified [95 % CI]", "first match"]
    return "\n\n".join(
        (
            "The paper calls identifiability the property that matters most, and does not measure it. Here dlib's "
            "recogniser, which none of the codecs has seen, looks at each decoded face: is it verified as the "
            "original's person (distance below 0.6), and is, of all originals, the nearest one of the same person? "
            "Each picture gets at most so many bytes.",
            markdown_table(headers, rows),
            f"{NONE}: some picture does not fit, or failed.",
        )
    )
