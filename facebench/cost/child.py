"""What the measuring processes do: time a codec, watch its memory, count its arithmetic.

A codec's fault comes back as a :class:`Failure`, never as an exception, which might not travel between processes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from facebench import memory
from facebench.codec import Codec
from facebench.measure import CODEC_FAULTS, CodecTask, Pictures, checked_payload, checked_picture, describe
from facebench.operating_point import make_codec

ENCODE, DECODE, ENCODE_BATCH, DECODE_BATCH = "encode", "decode", "encode_batch", "decode_batch"
#: A codec that takes a batch one by one need not do all of it to show what memory it takes.
_LOOP_SECONDS = 2.0

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Failure:
    """Why a codec could not be measured, in one line."""

    problem: str


@dataclass(frozen=True)
class Facts:
    """What a codec is found to be: operations to time, weights in bytes, multiply-adds of one picture if counted."""

    operations: tuple[str, ...]
    weights_bytes: int
    encode_macs: int | None
    decode_macs: int | None


@dataclass(frozen=True)
class _Bench:
    """A codec's two instances, the pictures and their payloads."""

    encoder: Codec
    decoder: Codec
    images: NDArray[np.uint8]
    payloads: Sequence[bytes]


_benches: dict[tuple[CodecTask, Pictures], _Bench] = {}


def codec_under_test(task: CodecTask, pictures: Pictures) -> Facts | Failure:
    """Make the codec's instances, use every operation once, and return what was found."""
    try:
        bench = _bench(task, pictures)
        operations = [ENCODE, DECODE]
        # A codec that does not override a batch method takes the pictures one by one: nothing new to time.
        operations += [ENCODE_BATCH] if type(bench.encoder).encode_batch is not Codec.encode_batch else []
        operations += [DECODE_BATCH] if type(bench.decoder).decode_batch is not Codec.decode_batch else []
        image, payload = bench.images[0], bench.payloads[0]
        return Facts(
            tuple(operations),
            int(bench.decoder.weights_bytes),
            _macs(lambda: bench.encoder.encode(image)),
            _macs(lambda: bench.decoder.decode(payload)),
        )
    except CODEC_FAULTS as error:
        return Failure(describe(error))


def timings(
    task: CodecTask, pictures: Pictures, operations: Sequence[str], least_seconds: float
) -> dict[str, float] | Failure:
    """Time each operation once and return the seconds per picture.

    After one call that does not count, it is repeated over the pictures until ``least_seconds`` have passed.
    """
    try:
        bench = _bench(task, pictures)
        return {operation: _timed(bench, operation, least_seconds) for operation in operations}
    except CODEC_FAULTS as error:
        return Failure(describe(error))


def memory_growth(task: CodecTask, pictures: Pictures) -> int | Failure:
    """Return the most bytes that this process grew by to make the codec, and encode and decode the pictures.

    To be called first in a fresh process; the libraries that the codec loads count. 0 where it cannot be known.
    """
    try:
        images = np.array(pictures.images())
        before = memory.reset_peak()
        codec = _made(task)
        if type(codec).encode_batch is not Codec.encode_batch:
            payloads = codec.encode_batch(images)
        else:
            payloads = _in_time(codec.encode, images)
        if type(codec).decode_batch is not Codec.decode_batch:
            codec.decode_batch(payloads)
        else:
            _in_time(codec.decode, payloads)
        return max(0, memory.peak() - before)
    except CODEC_FAULTS as error:
        return Failure(describe(error))


def _made(task: CodecTask) -> Codec:
    codec = make_codec(task.spec, task.point, task.size)
    codec.use_device(task.device)
    return codec


def _bench(task: CodecTask, pictures: Pictures) -> _Bench:
    if (task, pictures) not in _benches:
        encoder, decoder = _made(task), _made(task)
        images = np.array(pictures.images())
        payloads = [checked_payload(encoder, payload)[0] for payload in encoder.encode_batch(images)]
        checked_picture(decoder.decode(payloads[0]), task.size)
        _benches[task, pictures] = _Bench(encoder, decoder, images, payloads)
    return _benches[task, pictures]


def _timed(bench: _Bench, operation: str, least_seconds: float) -> float:
    count = len(bench.images)
    calls: dict[str, tuple[Callable[[int], object], int]] = {
        ENCODE: (lambda index: bench.encoder.encode(bench.images[index]), 1),
        DECODE: (lambda index: bench.decoder.decode(bench.payloads[index]), 1),
        ENCODE_BATCH: (lambda index: bench.encoder.encode_batch(bench.images), count),
        DECODE_BATCH: (lambda index: bench.decoder.decode_batch(bench.payloads), count),
    }
    call, pictures = calls[operation]
    call(0)
    calls_made, start = 0, time.perf_counter()
    while True:
        call(calls_made % count)
        calls_made += 1
        seconds = time.perf_counter() - start
        if seconds >= least_seconds:
            return seconds / (calls_made * pictures)


def _in_time(function: Callable[[_Given], _Made], items: Iterable[_Given]) -> list[_Made]:
    made: list[_Made] = []
    end = time.perf_counter() + _LOOP_SECONDS
    for item in items:
        made.append(function(item))
        if time.perf_counter() > end:
            break
    return made


def _macs(operation: Callable[[], object]) -> int | None:
    """Return the multiply-adds of torch's matrix products and convolutions in ``operation``; None if there are none."""
    if "torch" not in sys.modules:
        return None
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        operation()
    return counter.get_total_flops() // 2 or None
