"""Numbers, tables and footnotes as they stand in the markdown reports."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

#: Stands where there is no value.
NONE = "–"
#: Tables of more rows are folded.
LONG_TABLE = 40
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, unit: str = "") -> str:
    """Return a metric's value: two decimals for dB, else four decimals, or three significant digits below 0.01."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit == "dB":
        return f"{value:.2f}"
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.4f}"
    return f"{value:.{min(9, 2 - math.floor(math.log10(abs(value))))}f}"


def with_interval(value: float, low: float, high: float, unit: str = "") -> str:
    """Return the value with its confidence interval: ``0.3070 [0.3010, 0.3131]``."""
    if math.isnan(low) or math.isnan(value):
        return number(value, unit)
    return f"{number(value, unit)} [{number(low, unit)}, {number(high, unit)}]"


def byte_count(value: float) -> str:
    """Return a mean number of bytes: one decimal below 1,000."""
    if math.isnan(value):
        return NONE
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def weights_size(size: int) -> str:
    """Return the size of a decoder's weights, in kB or MB of a thousand."""
    if not size:
        return NONE
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def plain(value: float, decimals: int) -> str:
    """Return ``value`` with so many decimals, or a dash for NaN."""
    return NONE if math.isnan(value) else f"{value:,.{decimals}f}"


def counted(count: int, noun: str) -> str:
    """Return ``1 picture``, ``1,565 pictures``, ``2 identities``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return a GitHub table; columns numbered in ``left`` are left-aligned, the others right-aligned."""
    from tabulate import tabulate

    cells = [[_cell(text) for text in row] for row in rows]
    align = ["left" if column in left else "right" for column in range(len(headers))]
    # Every cell is text already: tabulate must not parse it as a number again.
    return str(tabulate(cells, [_cell(h) for h in headers], "github", disable_numparse=True, colalign=align))


def folded(table: str, title: str) -> str:
    """Return a markdown table of more than :data:`LONG_TABLE` rows as a <details> element that shows ``title``.

    A shorter one is returned as it is.
    """
    return table if table.count("\n") - 1 <= LONG_TABLE else folded_away(table, title)


def folded_away(text: str, title: str) -> str:
    """Return markdown as a <details> element that shows ``title``."""
    # Without the empty lines GitHub takes the text for HTML.
    return f"<details>\n<summary>{html.escape(title)}</summary>\n\n{text}\n\n</details>"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


class Footnotes:
    """Numbers footnotes in the order in which they are first needed; equal texts share a number."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        """Return the superscript that refers to ``text``."""
        if text not in self._texts:
            self._texts.append(text)
        return str(self._texts.index(text) + 1).translate(_SUPERSCRIPTS)

    def lines(self) -> list[str]:
        """Return the footnotes as lines of markdown, to stand below the table."""
        return [f"{str(n).translate(_SUPERSCRIPTS)} {text}" for n, text in enumerate(self._texts, start=1)]
