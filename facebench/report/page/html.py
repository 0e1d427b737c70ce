"""One HTML file of the page's parts: its document, styles and scripts, all inline."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from importlib import resources
from typing import Any

#: Pictures may fill a page up to this, in bytes: it opens at once on a phone and can be sent by mail.
MOST_BYTES = 8_000_000

_STYLES = ("vendor/uplot/uPlot.min.css", "assets/page.css")
#: In this order: a later one uses the earlier ones.
_SCRIPTS = ("state.js", "theme.js", "summary.js", "chart.js", "leaderboard.js", "viewer.js", "details.js")


def page_html(document: dict[str, Any]) -> str:
    """Return the page that shows ``document``.

    The document goes in as JSON in which no tag can begin or end; scripts and styles are allowed by their hashes
    only, so that no text of a plugin's or a file's can become code.
    """
    styles = [_asset(name) for name in _STYLES]
    own = "\n".join(_asset(f"assets/{name}") for name in _SCRIPTS)
    licence = _asset("vendor/uplot/LICENSE")  # asks to go with every copy
    chart = f"/*!\n{licence}*/\n{_asset('vendor/uplot/uPlot.iife.min.js')}"
    scripts = [chart, f'"use strict";\n(() => {{\n{own}\n}})();\n']
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hashes(styles)}; script-src {_hashes(scripts)}"
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(f"{document['name']}: face-image codecs at equal bytes"),
        "STYLES": "".join(f"<style>{style}</style>\n" for style in styles),
        "DOCUMENT": document_json(document),
        "SCRIPTS": "".join(f"<script>{script}</script>\n" for script in scripts),
    }
    page = _asset("assets/page.html")
    before, *places = page.split("{{")
    filled = [before]
    for place in places:
        name, _, after = place.partition("}}")
        filled += [parts[name], after]
    return "".join(filled)


def document_json(document: dict[str, Any]) -> str:
    """Return ``document`` as JSON to stand in a script element: null for NaN, "Infinity" as text, no "<"."""
    text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return float(f"{value:.6g}")  # more digits than anyone reads would double the size
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(*name.split("/")).read_text("utf-8")


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
