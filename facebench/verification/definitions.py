"""Where a metric may have no value, as its definition in the manifest says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: As :class:`facebench.measure.LimitedMetric` writes it.
_FIRST = re.compile(r"\(the first (\d+) pictures only\)")


def computed_at(about: Mapping[str, Any], position: int) -> bool:
    """Return whether the metric that ``about`` describes was computed for the picture at ``position`` of the set."""
    first = pictures_limit(about)
    return first is None or position < first


def pictures_limit(about: Mapping[str, Any]) -> int | None:
    """Return for how many pictures, from the first on, a metric was computed; None for all."""
    found = _FIRST.search(str(about.get("definition")))
    return int(found[1]) if found else None


def whole_definition(about: Mapping[str, Any]) -> str:
    """Return the metric's definition without the limit to the first pictures."""
    return _FIRST.sub("", str(about.get("definition"))).rstrip()


def may_lack(about: Mapping[str, Any]) -> bool:
    """Return whether the metric's definition tells of pictures for which it means nothing, "n/a"."""
    return "n/a" in str(about.get("definition"))
