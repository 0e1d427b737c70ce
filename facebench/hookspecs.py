"""The hooks that a plugin may implement, and the cheap specs that they return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

from facebench.codec import CodecSpec

#: Version of the plugin contract. A plugin module may state the one it was written for in
#: ``FACEBENCH_API``; another one than this is refused by name.
API_VERSION = 1

hookspec = pluggy.HookspecMarker("facebench")
hookimpl = pluggy.HookimplMarker("facebench")


@dataclass(frozen=True)
class MetricColumn:
    """One number of a metric: its name in tables, definition, version and direction.

    Raise ``version`` whenever the definition changes: rows of different versions are never ranked together.
    ``unit`` says how the value is to be read ("dB", "bytes").
    """

    name: str
    version: int
    definition: str
    higher_is_better: bool = False
    unit: str = ""


@dataclass(frozen=True)
class MetricSpec:
    """A family of metrics computed together.

    ``target`` ("module:function") is a function ``score(originals, decoded, masks)``: two uint8 arrays
    (N, H, W, 3), and a bool array (N, H, W) or None. It returns a dict from each column's name to a
    float64 array: (2, N) when there are masks, over the whole picture and over the face only; (1, N) when there
    are none, or when the column means nothing over the face only, whose rows are then NaN.

    With ``whole_set`` there is a fourth argument, a :class:`facebench.WholeSet`: all originals of the run.
    ``default`` says whether it is computed without being asked for; set it False if it is slow.
    """

    name: str
    target: str
    columns: tuple[MetricColumn, ...]
    whole_set: bool = False
    default: bool = True


@dataclass(frozen=True)
class ImageSetSpec:
    """An image set; ``target`` ("module:function") is ``open_source(place, split)``.

    ``place`` is what the user wrote after ``NAME:``: a :class:`pathlib.Path`, a URL as str
    (:func:`facebench.data.storage.open_place` opens both), or None. It returns a
    :class:`facebench.data.source.PictureSource`. ``splits`` lists the split names, the first
    the default; ``terms`` says in one line where the pictures come from and under which terms.
    """

    name: str
    target: str
    splits: tuple[str, ...]
    help: str = ""
    terms: str = ""


@dataclass(frozen=True)
class MaskerSpec:
    """A masker; ``target`` ("module:function") maps (N, H, W, 3) uint8 pictures to (N, H, W) bool face masks."""

    name: str
    target: str
    version: int = 1
    help: str = ""


@hookspec
def facebench_codecs() -> Iterable[CodecSpec]:  # type: ignore[empty-body]
    """Return the codecs that this plugin brings."""


@hookspec
def facebench_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Return the metric families that this plugin brings."""


@hookspec
def facebench_image_sets() -> Iterable[ImageSetSpec]:  # type: ignore[empty-body]
    """Return the image sets that this plugin brings."""


@hookspec
def facebench_maskers() -> Iterable[MaskerSpec]:  # type: ignore[empty-body]
    """Return the face maskers that this plugin brings."""
