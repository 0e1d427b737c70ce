"""A contact sheet: one picture as several codecs leave it at equal bytes, to look at, and its table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.errors import SettingError
from facebench.report.budget_cells import Cell, Sheet, best_of
from facebench.report.text import NONE, Footnotes, markdown_table, number

#: Cells are enlarged by a whole number to at least this side in pixels.
_CELL_SIDE = 160
_MOST_PIXELS = 120_000_000
_MARGIN, _GAP, _LINE = 24, 16, 22
_TITLE_HEIGHT = 76
_SCALE, _TITLE_SCALE = 0.5, 0.72
# Colours are BGR, as OpenCV draws them.
_PAPER, _INK, _GREY, _RULE, _EMPTY, _BEST = (
    (255, 255, 255),
    (38, 32, 28),
    (120, 112, 104),
    (228, 224, 220),
    (246, 244, 242),
    (72, 110, 0),
)
_CAPTION_LINES = 2


def chosen_zoom(side: int) -> int:
    """Return the factor by which pictures of that side in pixels are enlarged."""
    return max(1, -(-_CELL_SIDE // side))


def sheet_png(sheet: Sheet, zoom: int) -> bytes:
    """Return the sheet as a PNG file: a block per picture, in it a row per budget, a column per codec."""
    layout = Layout.of(len(sheet.names), sheet.originals.shape[1], sheet.codecs, sheet.budgets, zoom)
    canvas = np.full((layout.height, layout.width, 3), _PAPER, np.uint8)
    for index in range(len(sheet.names)):
        _draw_block(canvas, sheet, index, layout)
    return bytes(cv2.imencode(".png", canvas)[1])


@dataclass(frozen=True)
class Layout:
    """Where things stand on a sheet, in pixels."""

    cell: int
    row_header: int
    headers: tuple[tuple[str, ...], ...]
    header_height: int
    block_height: int
    width: int
    height: int

    @classmethod
    def of(cls, pictures: int, side: int, codecs: Sequence[str], budgets: Sequence[int], zoom: int) -> Layout:
        """Return the layout of so many pictures; raises SettingError if the sheet would be too large."""
        cell = side * zoom
        headers = tuple(tuple(_header_lines(name, cell)) for name in ("original", *codecs))
        header_height = _LINE * max(map(len, headers)) + 8
        block = _TITLE_HEIGHT + header_height + len(budgets) * _row_height(cell)
        row_header = _GAP + max(_text_width(_budget(budget), _TITLE_SCALE, True) for budget in budgets)
        width = 2 * _MARGIN + row_header + len(headers) * (cell + _GAP) - _GAP
        height = _MARGIN + pictures * block
        if width * height > _MOST_PIXELS:
            raise SettingError(
                f"the sheet would have {width:,} x {height:,} pixels: show fewer pictures, codecs or budgets at a "
                "time, or choose a smaller --size or --zoom"
            )
        return cls(cell, row_header, headers, header_height, block, width, height)

    def left(self, column: int) -> int:
        """Return the left edge of a column; the original's is 0."""
        return _MARGIN + self.row_header + column * (self.cell + _GAP)


def _budget(budget: int) -> str:
    return f"{budget:,} B"


def _row_height(cell: int) -> int:
    return cell + _CAPTION_LINES * _LINE + _GAP


def _draw_block(canvas: NDArray[np.uint8], sheet: Sheet, index: int, layout: Layout) -> None:
    top = _MARGIN // 2 + index * layout.block_height
    room = layout.width - 2 * _MARGIN
    _write(canvas, _fitted(sheet.names[index], room, _TITLE_SCALE), _MARGIN, top + 30, scale=_TITLE_SCALE, bold=True)
    about = f"{sheet.preprocessing}; 1-SSIM: lower is better"
    _write(canvas, _fitted(about, room), _MARGIN, top + 30 + _LINE, colour=_GREY)
    top += _TITLE_HEIGHT - _MARGIN // 2
    for column, lines in enumerate(layout.headers):
        first = top + layout.header_height - 8 - _LINE * len(lines)
        for line, text in enumerate(lines):
            _write(canvas, text, layout.left(column), first + _LINE * line + 16, bold=line == 0)
    top += layout.header_height
    for budget, row in zip(sheet.budgets, sheet.cells[index], strict=True):
        cv2.line(canvas, (_MARGIN, top - 6), (layout.width - _MARGIN, top - 6), _RULE, 1)
        _write(canvas, _budget(budget), _MARGIN, top + layout.cell // 2 + 8, scale=_TITLE_SCALE, bold=True)
        _draw_picture(canvas, sheet.originals[index], layout.left(0), top, layout.cell)
        best = best_of(row)
        for column, cell in enumerate(row, start=1):
            _draw_cell(canvas, cell, layout.left(column), top, layout.cell, cell is best)
        top += _row_height(layout.cell)


def _draw_cell(canvas: NDArray[np.uint8], cell: Cell, left: int, top: int, side: int, best: bool) -> None:
    if cell.picture is None:
        cv2.rectangle(canvas, (left, top), (left + side - 1, top + side - 1), _EMPTY, cv2.FILLED)
        cv2.rectangle(canvas, (left, top), (left + side - 1, top + side - 1), _RULE, 1)
        lines = _wrapped(cell.reason, side - 16)[: side // _LINE - 1]
        first = top + (side - _LINE * len(lines)) // 2 + 16
        for line, text in enumerate(lines):
            centred = left + (side - _text_width(text, _SCALE, False)) // 2
            _write(canvas, text, centred, first + line * _LINE, colour=_GREY)
        return
    _draw_picture(canvas, cell.picture, left, top, side)
    error = f"1-SSIM {number(cell.error)}" if cell.error == cell.error else "1-SSIM n/a"
    _write(canvas, error, left, top + side + 18, colour=_BEST if best else _INK, bold=best)
    used = f"{cell.bytes:,} B{', downscaled' if cell.downscaled else ''}"
    _write(canvas, used, left, top + side + 18 + _LINE, colour=_GREY)


def _draw_picture(canvas: NDArray[np.uint8], picture: NDArray[np.uint8], left: int, top: int, side: int) -> None:
    enlarged = cv2.resize(picture, (side, side), interpolation=cv2.INTER_NEAREST)
    canvas[top : top + side, left : left + side] = enlarged[..., ::-1]


def _write(
    canvas: NDArray[np.uint8],
    text: str,
    left: int,
    base: int,
    *,
    scale: float = _SCALE,
    colour: tuple[int, int, int] = _INK,
    bold: bool = False,
) -> None:
    """Write a line that starts at ``left`` on the base line ``base``."""
    cv2.putText(canvas, text, (left, base), _font(bold), scale, colour, 1, cv2.LINE_AA)


def _font(bold: bool) -> int:
    return cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX


def _text_width(text: str, scale: float, bold: bool) -> int:
    (width, _), _ = cv2.getTextSize(text, _font(bold), scale, 1)
    return int(width)


def _header_lines(name: str, width: int) -> list[str]:
    """Return a codec's name in lines: the codec, then a setting in each, cut where one is too long."""
    return [_fitted(part, width) for part in name.split(":")]


def _fitted(text: str, width: int, scale: float = _SCALE) -> str:
    """Return ``text``, its end cut off where it is wider than ``width``."""
    if _text_width(text, scale, True) <= width:
        return text
    while text and _text_width(f"{text}...", scale, True) > width:
        text = text[:-1]
    return f"{text}..."


def _wrapped(text: str, width: int) -> list[str]:
    letters = max(8, width // max(1, _text_width("n", _SCALE, False)))
    return textwrap.wrap(text, letters)


def sheet_markdown(sheet: Sheet) -> str:
    """Return the sheet's table: at each budget each codec's 1-SSIM and bytes, the best in bold, and why others lack."""
    notes = Footnotes()
    several = len(sheet.names) > 1
    rows = []
    for name, block in zip(sheet.names, sheet.cells, strict=True):
        for budget, row in zip(sheet.budgets, block, strict=True):
            best = best_of(row)
            texts = [_cell_text(cell, cell is best, notes) for cell in row]
            rows.append([*([name] if several else []), _budget(budget), *texts])
    headers = [*(["picture"] if several else []), "at most", *sheet.codecs]
    what = "" if several else f"{sheet.names[0]}, "
    lines = [f"1-SSIM (lower is better) and bytes used; {what}{sheet.preprocessing}.", ""]
    lines.append(markdown_table(headers, rows))
    if notes.lines():
        lines += ["", "  \n".join(notes.lines())]
    return "\n".join(lines)


def _cell_text(cell: Cell, best: bool, notes: Footnotes) -> str:
    if cell.picture is None:
        short = cell.reason.startswith("smallest")
        return f"{NONE} ({cell.reason})" if short else f"{NONE}{notes.mark(cell.reason)}"
    value = f"**{number(cell.error)}**" if best else number(cell.error)
    note = ""
    if cell.downscaled:
        note = notes.mark("coded at a smaller size and enlarged again: it does not fit otherwise")
    return f"{value} ({cell.bytes:,} B){note}"
