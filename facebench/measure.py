"""The two tasks of a shard: encode, and decode + score. Only payloads pass from the first to the second.

These functions run in worker processes. They never raise on a codec's fault: a fault becomes the status of the
rows it spoils.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench.codec import Codec, CodecSpec
from facebench.data.prepared import prepared_rows
from facebench.data.rows import Rows, prepare_rows
from facebench.errors import FacebenchError, PluginError, UnsupportedSize
from facebench.hookspecs import MetricSpec
from facebench.operating_point import OperatingPoint, make_codec
from facebench.plugins import load_object
from facebench.whole_set import WholeSet

#: What a codec may raise and the harness survives; a codec that calls sys.exit() is at fault, not the user.
CODEC_FAULTS = (Exception, SystemExit)

OK = "ok"
ENCODE_FAILED = "encode failed"
DECODE_FAILED = "decode failed"
OVER_BUDGET = "over budget"
CRASHED = "crashed"


@dataclass(frozen=True)
class CodecTask:
    """A codec at an operating point and picture size, on a device ("cpu", "cuda")."""

    spec: CodecSpec
    point: OperatingPoint
    size: tuple[int, int]
    device: str = "cpu"


@dataclass(frozen=True)
class LimitedMetric(MetricSpec):
    """A metric family computed for the ``first`` pictures of the set only; it is NaN for the others."""

    first: int = 0

    @classmethod
    def of(cls, metric: MetricSpec, first: int) -> LimitedMetric:
        """Return ``metric`` for the ``first`` pictures; its definitions say so."""
        columns = tuple(
            replace(column, definition=f"{column.definition} (the first {first} pictures only)")
            for column in metric.columns
        )
        return cls(metric.name, metric.target, columns, metric.whole_set, metric.default, first)


@dataclass(frozen=True)
class SetFacts:
    """What metrics over the whole set need to know of it: its number of pictures, digest and identities if known."""

    count: int
    digest: str
    identities: tuple[str, ...] | None = field(repr=False)


@dataclass(frozen=True)
class Pictures:
    """Pictures ``start`` to ``stop`` of a prepared image set, by the files that hold its arrays.

    ``of`` describes the whole set; it may be None if no metric asks for it. The files begin with picture ``first``.
    """

    images_file: Path
    masks_file: Path | None
    start: int
    stop: int
    of: SetFacts | None = None
    first: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def images(self) -> NDArray[np.uint8]:
        """Return the pictures, (N, H, W, 3) uint8, memory-mapped and read-only."""
        return prepared_rows(self.images_file, self.start - self.first, self.stop - self.first)

    def masks(self) -> NDArray[np.bool_] | None:
        """Return the face masks, (N, H, W) bool, or None."""
        if self.masks_file is None:
            return None
        return prepared_rows(self.masks_file, self.start - self.first, self.stop - self.first)

    def on_this_machine(self, rows: Rows | None) -> Pictures:
        """Return these pictures by files that this machine has: the same ones, or else ``rows`` prepared here.

        Raises DataError as :func:`facebench.data.rows.prepare_rows` does.
        """
        if rows is None or (self.images_file.exists() and (self.masks_file is None or self.masks_file.exists())):
            return self
        images = prepare_rows(rows)
        return replace(self, images_file=images.images_file, masks_file=images.masks_file, first=rows.start)

    def whole_set(self, chosen: Sequence[int]) -> WholeSet:
        """Return the set that these pictures belong to, with ``chosen`` ones of them as those to score."""
        if self.of is None:
            raise ValueError("these pictures do not know their set")
        rows = self.start + np.asarray(chosen, np.int64)
        return WholeSet(prepared_rows(self.images_file, 0, self.of.count), self.of.digest, self.of.identities, rows)


@dataclass
class Encoded:
    """What the encode task gives: per picture a payload (empty where it failed), its bits, a status and a detail."""

    payloads: list[bytes]
    bits: list[int]
    statuses: list[str]
    details: list[str]
    seconds: float


@dataclass
class Scored:
    """What the decode task gives.

    ``scores`` maps each metric column to (1, N) or (2, N) float64: whole picture, and face only. A failed
    picture has NaN, as has the face where a metric means nothing there.
    """

    scores: dict[str, NDArray[np.float64]]
    statuses: list[str]
    details: list[str]
    seconds: float


@dataclass(frozen=True)
class CodecFacts:
    """What a codec instance says of itself; ``problem`` is why there is none, or ''.

    With ``wrong_size`` the reason is that the codec does not take pictures of that size, with ``crashed`` that its
    process ended.
    """

    weights_bytes: int = 0
    weights_digest: str | None = None
    trained_on: dict[str, Any] | None = None
    trained_pictures: frozenset[str] = field(default=frozenset(), repr=False)
    trained_identities: frozenset[str] = field(default=frozenset(), repr=False)
    problem: str = ""
    wrong_size: bool = False
    crashed: bool = False


class _Instances:
    """The few codec instances that a worker used last; making one may mean loading weights."""

    def __init__(self, limit: int = 3) -> None:
        self._made: OrderedDict[CodecTask, Codec] = OrderedDict()
        self._limit = limit

    def get(self, task: CodecTask) -> Codec:
        if task in self._made:
            self._made.move_to_end(task)
            return self._made[task]
        codec = make_codec(task.spec, task.point, task.size)
        codec.use_device(task.device)
        self._made[task] = codec
        if len(self._made) > self._limit:
            self._made.popitem(last=False)
        return codec


# Encoding and decoding never share an instance: a decoder has seen payloads only.
_encoders = _Instances()
_decoders = _Instances()


def describe(error: BaseException) -> str:
    """Return an exception in one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, FacebenchError) else f"{type(error).__name__}: {text}")[:200]


def codec_facts(task: CodecTask) -> CodecFacts:
    """Make a codec and return what it says of itself."""
    try:
        codec = _decoders.get(task)
        trained = codec.trained_on
        if trained is None:
            return CodecFacts(int(codec.weights_bytes), codec.weights_digest)
        told = {
            "image_set": trained.image_set,
            "split": trained.split,
            "watched": trained.watched,
            "data_digest": trained.data_digest,
        }
        return CodecFacts(int(codec.weights_bytes), codec.weights_digest, told, trained.pictures, trained.identities)
    except CODEC_FAULTS as error:
        return CodecFacts(problem=describe(error), wrong_size=isinstance(error, UnsupportedSize))


def encode_shard(task: CodecTask, pictures: Pictures) -> Encoded:
    """Encode a shard's pictures; a batch that fails is done again one by one, to find the pictures at fault."""
    count = len(pictures)
    failed = Encoded([b""] * count, [0] * count, [ENCODE_FAILED] * count, [""] * count, 0.0)
    try:
        codec = _encoders.get(task)
    except CODEC_FAULTS as error:
        failed.details = [describe(error)] * count
        return failed
    images = pictures.images()
    start = time.perf_counter()
    try:
        payloads: Sequence[Any] = codec.encode_batch(images)
        seconds = time.perf_counter() - start
        checked = [checked_payload(codec, payload) for payload in payloads]
        if len(checked) != count:
            raise ValueError(f"encode_batch gave {len(checked)} payloads for {count} pictures")
        told = [_budget_status(task.point.budget, bits) for _, bits in checked]
        statuses, details = [status for status, _ in told], [detail for _, detail in told]
        return Encoded([p for p, _ in checked], [b for _, b in checked], statuses, details, seconds)
    except CODEC_FAULTS:
        start = time.perf_counter()
        for index in range(count):
            try:
                payload, bits = checked_payload(codec, codec.encode(images[index]))
                failed.payloads[index], failed.bits[index] = payload, bits
                failed.statuses[index], failed.details[index] = _budget_status(task.point.budget, bits)
            except CODEC_FAULTS as error:
                failed.details[index] = describe(error)
        failed.seconds = time.perf_counter() - start
        return failed


def _budget_status(budget: int | None, bits: int) -> tuple[str, str]:
    """Return a payload's status and detail: a codec that says that it fits is not simply believed."""
    if budget is None or bits <= 8 * budget:
        return OK, ""
    return OVER_BUDGET, f"{bits / 8:g} bytes"


def checked_payload(codec: Codec, payload: Any) -> tuple[bytes, int]:
    """Return the payload and its bits; raises TypeError if it is not bytes, ValueError if its bits are too few."""
    if type(payload) is not bytes:  # a subclass could carry more than its bytes to the decoder
        raise TypeError(f"encode returned {type(payload).__name__}, not bytes")
    bits = int(codec.bits_per_image(payload))
    if bits < 8 * len(payload):
        raise ValueError(f"bits_per_image claims {bits} bits for a payload of {len(payload)} bytes")
    return payload, bits


def decode_shard(task: CodecTask, encoded: Encoded, pictures: Pictures, metrics: Sequence[MetricSpec]) -> Scored:
    """Decode payloads, and only then open the originals and score the pictures against them."""
    count = len(pictures)
    statuses, details = list(encoded.statuses), list(encoded.details)
    decoded = np.zeros((count, *task.size, 3), np.uint8)
    good = [index for index in range(count) if statuses[index] == OK]
    seconds = 0.0
    if good:
        seconds = _decode_into(task, encoded, decoded, good, statuses, details)
    good = [index for index in good if statuses[index] == OK]
    masks = pictures.masks()
    variants = 1 if masks is None else 2
    scores = {column.name: np.full((variants, count), np.nan) for metric in metrics for column in metric.columns}
    for metric in metrics:
        chosen = good
        if isinstance(metric, LimitedMetric):
            chosen = [index for index in good if pictures.start + index < metric.first]
        if chosen:
            rows = slice(None) if len(chosen) == count else chosen
            originals, faces = pictures.images()[rows], None if masks is None else masks[rows]
            score: Callable[..., dict[str, NDArray[np.float64]]] = load_object(metric.target)
            try:
                whole = (pictures.whole_set(chosen),) if metric.whole_set else ()
                for name, values in score(originals, decoded[rows], faces, *whole).items():
                    scores[name][: len(values), rows] = values  # the face's row stays NaN where there is none
            except FacebenchError:
                raise  # says itself what to do
            except Exception as error:
                raise PluginError(
                    f"metric '{metric.name}' failed: {describe(error)}; uninstall it or see FACEBENCH_PLUGINS"
                ) from None
    return Scored(scores, statuses, details, seconds)


def _decode_into(
    task: CodecTask,
    encoded: Encoded,
    decoded: NDArray[np.uint8],
    good: list[int],
    statuses: list[str],
    details: list[str],
) -> float:
    """Fill ``decoded`` at ``good``, mark what fails, and return the seconds it took."""
    start = time.perf_counter()
    try:
        codec = _decoders.get(task)
        start = time.perf_counter()
        try:
            batch = codec.decode_batch([encoded.payloads[index] for index in good])
            seconds = time.perf_counter() - start
            if len(batch) != len(good):
                raise ValueError(f"decode_batch gave {len(batch)} pictures for {len(good)} payloads")
            for index, picture in zip(good, batch, strict=True):
                decoded[index] = checked_picture(picture, task.size)
            return seconds
        except CODEC_FAULTS:
            start = time.perf_counter()
            for index in good:
                try:
                    decoded[index] = checked_picture(codec.decode(encoded.payloads[index]), task.size)
                except CODEC_FAULTS as error:
                    statuses[index], details[index] = DECODE_FAILED, describe(error)
    except CODEC_FAULTS as error:
        for index in good:
            statuses[index], details[index] = DECODE_FAILED, describe(error)
    return time.perf_counter() - start


def checked_picture(picture: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return what a codec's decode returned if it is (height, width, 3) uint8; raises TypeError otherwise."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape != (*size, 3):
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise TypeError(f"decode returned {what}, not uint8 {(*size, 3)}")
    return picture
