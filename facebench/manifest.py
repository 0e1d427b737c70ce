"""What every reader of a run's manifest may rely on: which entries there are, and of which kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_KINDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


@dataclass(frozen=True)
class _Entry:
    """An entry of kind ``kind``; of an object the ``fields``, and with ``each`` the shape of all that it holds."""

    kind: type[Any]
    fields: Mapping[str, _Entry] | None = None
    each: _Entry | None = None
    required: bool = True
    null: bool = False


_TEXT, _COUNT = _Entry(str), _Entry(int)
_MAYBE_TEXT, _MAYBE_COUNT = (_Entry(kind, required=False, null=True) for kind in (str, int))
_MAYBE_FLAG = _Entry(bool, required=False)
_ORIGIN = {
    "git": _Entry(dict, {"commit": _TEXT, "dirty": _MAYBE_FLAG}, required=False, null=True),
    "machine": _Entry(dict, {"cores": _MAYBE_COUNT, "packages": _Entry(dict, required=False)}),
    "command": _TEXT,
    "created": _TEXT,
}
_POINT = {
    "codec": _TEXT,
    "curve": _TEXT,
    "version": _TEXT,
    "settings": _Entry(dict),
    "rate_setting": _MAYBE_TEXT,
    "weights_bytes": _MAYBE_COUNT,
    "weights_digest": _MAYBE_TEXT,
    "budget": _MAYBE_COUNT,
    "downscale": _MAYBE_FLAG,
    "overlap": _Entry(dict, {}, each=_COUNT, required=False, null=True),
    "trained_on": _Entry(
        dict, {"image_set": _TEXT, "split": _TEXT, "data_digest": _Entry(str, null=True)}, required=False, null=True
    ),
}
_METRIC = {"version": _COUNT, "definition": _TEXT, "unit": _MAYBE_TEXT, "higher_is_better": _MAYBE_FLAG}
_PREPROCESSING = {"crop": _TEXT, "size": _COUNT, "filter": _TEXT}
_IMAGE_SET = {
    "name": _TEXT,
    "split": _TEXT,
    "digest": _TEXT,
    "pictures": _COUNT,
    "description": _TEXT,
    "preprocessing": _Entry(dict, _PREPROCESSING),
    "masker": _MAYBE_TEXT,
    "no_mask_reason": _MAYBE_TEXT,
}
_MANIFEST = _Entry(
    dict,
    {
        **_ORIGIN,
        "image_set": _Entry(dict, _IMAGE_SET),
        "metrics": _Entry(dict, each=_Entry(dict, _METRIC)),
        "points": _Entry(dict, each=_Entry(dict, _POINT)),
        "problems": _Entry(list, required=False, null=True),
        "files": _Entry(dict, each=_Entry(dict, {"sha256": _TEXT, "bytes": _COUNT}), required=False),
        "sha256": _MAYBE_TEXT,
        "runs": _Entry(list, each=_Entry(dict, {"name": _TEXT, **_ORIGIN}), required=False),
    },
)


def manifest_fault(manifest: Any) -> str:
    """Return what of ``manifest``, a value read from JSON, is missing or of another kind, in words; '' if nothing."""
    return next(_faults(manifest, _MANIFEST, "it"), "") or _unprintable(manifest)


def _unprintable(manifest: Any) -> str:
    """Return what keeps tables and pages of ``manifest`` from being written, or ''."""
    try:
        json.dumps(manifest, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # JSON can say half of a surrogate pair
        return "a text in it is no Unicode"
    except RecursionError:
        return "it is nested too deep"
    return ""


def _faults(value: Any, entry: _Entry, place: str) -> Iterator[str]:
    if value is None and entry.null:
        return
    if type(value) is not entry.kind:  # true is no number
        yield f"{place} is {_shown(value)}, not {_KINDS[entry.kind]}"
        return
    for name, field in (entry.fields or {}).items():
        if name in value:
            yield from _faults(value[name], field, _within(place, name))
        elif field.required:
            yield f"{place} has no {name}"
    if entry.each is not None:
        held: dict[Any, Any] = value if isinstance(value, dict) else dict(enumerate(value))
        for name, one in held.items():
            yield from _faults(one, entry.each, _within(place, str(name)))


def _within(place: str, name: str) -> str:
    return name if place == "it" else f"{name} of {place}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return _KINDS[type(value)]
    return "null" if value is None else repr(value)[:40]
