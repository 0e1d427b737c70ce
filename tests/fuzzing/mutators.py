"""Mutations that keep a format's frame whole, so that more than its first check is reached."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 64, 1 << 16, 1 << 31, 1 << 63, 10**30, 0.0, -0.0, 0.5, 1e-320, 1e308,
    float("inf"), float("nan"), "", "0", "x", "x" * 300, "\ud800", "a\nb", "\x1b[2J", "../x",
    [], {}, [0], [1, 2], {"": 0},
)  # fmt: skip


def png_change(data: bytes, source: random.Random) -> bytes | None:
    """Return the PNG ``data`` with bytes changed, sometimes of the unpacked rows, and sound lengths and checksums.

    None, now and then and where it is no PNG, leaves it to others.
    """
    kind = source.random()
    if kind < 0.2:
        return None
    if kind < 0.6:
        data = bytes_change(data, source)
    chunks, position = [], 8
    while position + 12 <= len(data):
        length = min(int.from_bytes(data[position : position + 4], "big"), len(data) - position - 12)
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    if kind >= 0.6:
        packed = b"".join(body for name, body in chunks if name == b"IDAT")
        try:
            rows = bytes_change(zlib.decompressobj().decompress(packed, 1 << 16), source)
        except zlib.error:
            return None
        packed = zlib.compress(rows, source.choice([0, 1, 9]))
        cut = source.randrange(len(packed))
        changed = [(b"IDAT", packed[:cut]), (b"IDAT", packed[cut:])] if kind > 0.9 else [(b"IDAT", packed)]
        chunks = [*chunks[:1], *changed, (b"IEND", b"")]
    parts = (len(b).to_bytes(4, "big") + n + b + zlib.crc32(n + b).to_bytes(4, "big") for n, b in chunks)
    return data[:8] + b"".join(parts)


def bytes_change(data: bytes, source: random.Random) -> bytes:
    """Return ``data`` with up to four bytes replaced, or a few inserted or removed."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(changed) + 1)
        what = source.random()
        if what < 0.5 and place < len(changed):
            changed[place] = source.randrange(256)
        elif what < 0.75:
            changed[place:place] = source.randbytes(source.choice([1, 2, 4, 12]))
        else:
            del changed[place : place + source.choice([1, 2, 4, 12, 60])]
    return bytes(changed)


def json_node(data: bytes, source: random.Random) -> bytes | None:
    """Return the JSON document ``data`` with one value replaced, removed, copied or moved; None if it is no JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    try:
        for _ in range(source.randint(1, 3)):
            document = _one_change(document, source)
        return json.dumps(document, ensure_ascii=source.random() < 0.9).encode("utf-8", "surrogatepass")
    except (RecursionError, OverflowError):  # nested too deep to go through, or a number of hundreds of digits
        return None


def _one_change(document: Any, source: random.Random) -> Any:
    places = _places(document)
    holder, key = source.choice(places) if places else (None, None)
    if holder is None or source.random() < 0.02:
        document = _changed(document, source)
    elif (what := source.random()) < 0.6:
        holder[key] = _changed(holder[key], source)
    elif what < 0.75:
        del holder[key]
    elif what < 0.9:
        other, place = source.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    elif isinstance(holder, dict):
        name = source.choice(["name", "", "x" * 40, "\ud800", str(key).upper()])
        holder[name] = json.loads(json.dumps(holder[key]))
    else:
        holder += json.loads(json.dumps(holder)) * source.choice([1, 1, 1, 40])
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return (holder, key) of each value within ``document``."""
    places, unseen = [], [document]
    while unseen:
        holder = unseen.pop()
        if isinstance(holder, dict | list):
            for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
                places.append((holder, key))
                unseen.append(holder[key])
    return places


def _changed(value: Any, source: random.Random) -> Any:
    kind = source.random()
    if isinstance(value, int | float) and kind < 0.4:
        return value + source.choice([-1, 1, 0.5, value, -2 * value])
    if isinstance(value, str) and kind < 0.4:
        return value + source.choice([value, "\ud800", "0", " ", "\n", "€"])
    if kind > 0.97:
        deep: Any = value
        for _ in range(source.choice([3, 100, 900])):
            deep = [deep] if kind < 0.985 else {"a": deep}
        return deep
    return json.loads(json.dumps(source.choice(_VALUES)))
