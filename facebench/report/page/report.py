"""The report of a run: from its records to the HTML page, with pictures where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facebench.analysis.summary import summarise
from facebench.report.page.document import page_document, worst_at_budgets
from facebench.report.page.html import MOST_BYTES, document_json, page_html

if TYPE_CHECKING:
    from facebench.data.imageset import ImageSet
    from facebench.plugins import Registry
    from facebench.store import Run


@dataclass(frozen=True)
class Pictures:
    """What a page's pictures are made of: up to ``count`` of ``images``, by the codecs of ``registry``.

    ``terms`` is the reminder of the image set's licence that stands on the page, '' for none. ``progress`` wraps
    the labels of the operating points as they are done.
    """

    images: ImageSet
    registry: Registry
    count: int
    terms: str = ""
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda labels: labels


def report_html(run: Run, pictures: Pictures | None = None) -> tuple[str, tuple[str, ...]]:
    """Return the page on ``run`` as HTML, and what its maker must be told, one line each.

    Without ``pictures`` there is none in it, only names. With them it stays below :data:`MOST_BYTES`, unless what it
    says of the run is more already. Raises ResultsError for a damaged run.
    """
    summary = summarise(run)
    worst = worst_at_budgets(run, summary)
    document = page_document(run, summary, worst) | {"pictures": None}
    plain = page_html(document)
    taken = len(plain.encode())
    too_much = f"the page has {taken / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:g} MB that one should have: "
    notes = (f"{too_much}report fewer runs at a time, or runs of fewer operating points",) if taken > MOST_BYTES else ()
    if pictures is None:
        return plain, notes
    from facebench.report.page.pictures import embedded_pictures

    embedded = embedded_pictures(
        run,
        summary,
        worst,
        pictures.images,
        pictures.registry,
        count=pictures.count,
        room=MOST_BYTES - taken - len(document_json({"terms": pictures.terms}).encode()),
        progress=pictures.progress,
    )
    document["pictures"] = embedded.document | {"terms": pictures.terms}
    return page_html(document), notes + embedded.notes
