"""What happens to identity, per codec and byte budget: section 7."""

from __future__ import annotations

from facebench.analysis.summary import WHOLE, Row
from facebench.report.text import NONE, byte_count, markdown_table, number, with_interval
from facebench.study.evidence import Identity, Measured
from facebench.study.papers import CVAE, DCGAN, JPEG

#: Of :mod:`facebench_identity`: not verified, taken for another person, in the rank-1 sense.
ERROR, MISS = "ID-error", "ID-miss"
_HEADERS = ("verified [95 % CI]", "first match")
#: The operating point of the student paper's table by the codec that is tuned to budgets.
PAPER_POINTS = {"jpeg:headerless=true": JPEG, "cvae": CVAE, "dcgan": DCGAN}


def matched(found: Identity, codec: str) -> dict[str, float]:
    """Return the share of faces that are still verified as their person, by operating point in words.

    First that of the papers' tables if there is one, then the budgets that all pictures fit at ``codec``, which may
    come to the same bytes.
    """
    point = PAPER_POINTS.get(codec)
    rows = [None if point is None else found.as_published.row(point)]
    rows += [_at(found.in_budgets, codec, budget) for budget in found.in_budgets.summary.budgets]
    return {
        f"in {byte_count(row.bytes)} bytes{' (downscaled)' if row.downscale else ''}": 1 - row.metrics[ERROR].mean
        for row in rows
        if row is not None
    }


def _at(measured: Measured, codec: str, budget: int) -> Row | None:
    """Return the row of a curve at ``budget`` bytes, downscaled if only so every picture fits, or None."""
    rows = [
        row
        for row in measured.summary.rows
        if row.mask == WHOLE and row.budget == budget and row.plain_curve == codec and not row.failed
    ]
    return min(rows, key=lambda row: row.downscale, default=None)


def identity_section(found: Identity | None) -> str:
    """Return the section: the share that is still matched to their person, by codec and budget, and as published."""
    if found is None:
        return "Not measured yet: add `--identity` to the command (it needs facebench-identity)."
    return "\n\n".join(
        (
            "The paper calls identifiability the property that matters most, and does not measure it. Here dlib's "
            "recogniser, which none of the codecs has seen, looks at each decoded face: is it verified against its "
            "original (distance below 0.6), and is, of all originals, its own among them, the nearest one of the same "
            "person (first match)? Each picture gets at most so many bytes.",
            _in_budgets(found.in_budgets),
            f"{NONE}: not all pictures fit.",
            "At operating points of the papers' tables, the latents as float32, and at those of eigenfaces:",
            _as_published(found.as_published),
        )
    )


def _as_published(measured: Measured) -> str:
    rows = [
        [row.point, byte_count(row.bytes), *_shares(row)]
        for row in measured.summary.rows
        if row.mask == WHOLE and row.pictures and not row.failed
    ]
    return markdown_table(["operating point", "bytes", *_HEADERS], rows)


def _shares(row: Row) -> list[str]:
    error, miss = row.metrics[ERROR], row.metrics[MISS]
    return [with_interval(1 - error.mean, 1 - error.high, 1 - error.low), number(1 - miss.mean)]


def _in_budgets(measured: Measured) -> str:
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
            cells += [f"{byte_count(row.bytes)}{' (downscaled)' if row.downscale else ''}", *_shares(row)]
        rows.append(cells)
    headers = ["codec"]
    for budget in budgets:
        headers += [f"bytes in {budget}", *_HEADERS]
    return markdown_table(headers, rows)
