"""The pictures that a page embeds: encoded and decoded again, and checked against the sizes that the run recorded."""

from __future__ import annotations

import base64
import bisect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.analysis.summary import FACE, WHOLE, Summary
from facebench.analysis.worst import WorstPictures
from facebench.errors import FacebenchError
from facebench.measure import CODEC_FAULTS, checked_payload, checked_picture, describe
from facebench.operating_point import make_codec
from facebench.report.page.html import document_json
from facebench.verification.rebuild import not_installed, rebuild

if TYPE_CHECKING:
    from facebench.data.imageset import ImageSet
    from facebench.plugins import Registry
    from facebench.store import Run

#: Asks OpenCV for lossless WebP: a third smaller than PNG on faces, so that half as many pictures more fit.
_LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]


@dataclass(frozen=True)
class Embedded:
    """The ``document`` of the embedded pictures, and what the reader must be told, one line each."""

    document: dict[str, Any]
    notes: tuple[str, ...]


def embedded_pictures(
    run: Run,
    summary: Summary,
    worst: Mapping[int, tuple[WorstPictures, ...]],
    images: ImageSet,
    registry: Registry,
    *,
    count: int,
    room: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda labels: labels,
) -> Embedded:
    """Return up to ``count`` pictures of ``images`` as every curve of ``worst`` leaves them at its budgets.

    ``images`` is the set that ``run`` scored. As many pictures are taken as ``room`` bytes of JSON hold.
    ``progress`` wraps the labels of the operating points as they are done. Raises :class:`facebench.errors.DataError`
    if the prepared pictures have changed.
    """
    images.check()
    sets = [(found.curve, size, found) for size, entries in worst.items() for found in entries]
    chosen = chosen_pictures([found for _, _, found in sets], images.ids, count)
    labels = list(dict.fromkeys(found.point for _, _, found in sets))
    decoded: dict[str, list[str | None]] = {}
    notes: list[str] = []
    for label in progress(labels):
        pictures, said = _again(run, label, images.images[chosen], images.size, registry, _sizes(run, label, chosen))
        decoded[label] = [None if picture is None else _data_uri(picture) for picture in pictures]
        notes += said
    originals: list[str | None] = [_data_uri(images.images[index]) for index in chosen]
    masks = [None if images.masks is None else _data_uri(_as_picture(images.masks[index])) for index in chosen]
    notes = list(dict.fromkeys(notes))

    def first(count: int) -> Embedded:
        """Return what embeds the first ``count`` of the chosen pictures."""
        fewer = [f"{count} pictures are embedded, not {len(chosen)}: more do not fit into the page's size"]
        said = [*notes, *(fewer if count < len(chosen) else [])]
        document = {
            "pictures": [
                {"name": images.ids[index], "original": originals[place], "mask": masks[place]}
                for place, index in enumerate(chosen[:count])
            ],
            "sets": [
                {"curve": curve, "budget": size, "point": found.point, "bytes": found.bytes}
                for curve, size, found in sets
            ],
            "decoded": {
                label: {"images": decoded[label][:count], **_scores(run, summary, label, chosen[:count])}
                for label in labels
            },
            "notes": said,
        }
        return Embedded(document, tuple(said))

    def size_of(count: int) -> int:
        return len(document_json(first(count).document).encode())

    counts = range(len(chosen) + 1)
    return first(max(0, bisect.bisect_right(counts, room, key=size_of) - 1))


def chosen_pictures(worst: Iterable[WorstPictures], names: tuple[str, ...], count: int) -> list[int]:
    """Return the places in ``names`` of up to ``count`` pictures: the worst ones and evenly spaced ones in turn.

    First among the worst are those that are so for the most operating points. A beginning of the list is a
    choice of the same kind.
    """
    place = {name: index for index, name in enumerate(names)}
    weight: dict[int, float] = {}
    for found in worst:
        for rank, one in enumerate(found.pictures):
            weight[place[one.picture]] = weight.get(place[one.picture], 0) + 1 / (1 + rank)
    hardest = sorted(weight, key=lambda index: (-weight[index], index))
    half = max(1, count // 2)
    even = [int(index) for index in np.linspace(0, len(names) - 1, min(half, len(names))).round()]
    pairs = itertools.chain.from_iterable(itertools.zip_longest(hardest[:count], even))
    return list(dict.fromkeys(index for index in pairs if index is not None))[:count]


def _again(
    run: Run,
    label: str,
    originals: NDArray[np.uint8],
    size: tuple[int, int],
    registry: Registry,
    recorded: NDArray[np.float64],
) -> tuple[list[NDArray[np.uint8] | None], list[str]]:
    """Return the ``originals``, (N, H, W, 3) uint8, as the point ``label`` leaves them, None where that fails.

    ``recorded`` are the payload sizes of the run, (N,), NaN where it has none. Also returns notes.
    """
    entry = run.manifest["points"][label]
    nothing: list[NDArray[np.uint8] | None] = [None] * len(originals)
    try:
        rebuilt = rebuild(label, entry, registry)
    except FacebenchError as error:
        return nothing, [not_installed(entry, error)]
    try:
        encoder, decoder = (make_codec(rebuilt.spec, rebuilt.point, size) for _ in range(2))
    except CODEC_FAULTS as error:
        return nothing, [f"no pictures of {label}: {describe(error)}"]
    if decoder.weights_digest != entry.get("weights_digest"):
        return nothing, [f"no pictures of {label}: its weights here are not those of the run"]
    pictures, notes, different = list(nothing), list(rebuilt.differences), 0
    for index, original in enumerate(originals):
        try:
            payload, _ = checked_payload(encoder, encoder.encode(original))
            pictures[index] = checked_picture(decoder.decode(payload), size)
            different += bool(recorded[index] >= 0 and len(payload) != recorded[index])
        except CODEC_FAULTS:
            continue  # the run has recorded such failures, or a budget that is too small for this picture
    if different:
        notes.append(f"{label}: {different} of {len(originals)} payloads are not of the size that the run recorded")
    return pictures, notes


def _sizes(run: Run, label: str, chosen: list[int]) -> NDArray[np.float64]:
    rows = _rows(run, label, WHOLE, chosen)
    return np.asarray(rows["payload_bytes"].where(rows["status"] == "ok").to_numpy(np.float64))


def _scores(run: Run, summary: Summary, label: str, chosen: list[int]) -> dict[str, Any]:
    """Return of the ``chosen`` pictures the payload bytes and by mask variant and metric the recorded values."""
    whole = _rows(run, label, WHOLE, chosen)
    found: dict[str, Any] = {"bytes": whole["payload_bytes"].to_numpy(np.float64).tolist(), "values": {}}
    for mask in (WHOLE, FACE) if summary.has_masks else (WHOLE,):
        rows = whole if mask == WHOLE else _rows(run, label, mask, chosen)
        found["values"][mask] = {name: rows[name].to_numpy(np.float64).tolist() for name in summary.metrics}
    return found


def _rows(run: Run, label: str, mask: str, chosen: list[int]) -> Any:
    """Return the records of a point over the ``chosen`` pictures, in that order; missing ones are NaN."""
    rows = run.records[(run.records["point"] == label) & (run.records["mask"] == mask)]
    return rows.drop_duplicates("position").set_index("position").reindex(chosen)


def _as_picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.repeat((mask * np.uint8(255))[..., None], 3, axis=2)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    """Return (H, W, 3) uint8 RGB as a data URI of lossless WebP."""
    _, data = cv2.imencode(".webp", picture[..., ::-1], _LOSSLESS)
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
