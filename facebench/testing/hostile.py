"""Damaged and made-up payloads that a decoder must survive; always the same ones for the same payloads."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

Damaged = Iterator[tuple[str, bytes]]

_MEGABYTE = 1 << 20


def truncated(payloads: Sequence[bytes]) -> Damaged:
    """Yield each length of a short payload's beginning, or a spread of them, and beginnings cut off."""
    for index, payload in enumerate(payloads[:2]):
        size = len(payload)
        spread = {*range(1, 9), *range(size - 8, size), *(size * part // 16 for part in range(1, 16))}
        for length in sorted(n for n in spread if 0 < n < size):
            yield f"payload {index} cut to {length} of {size} bytes", payload[:length]
        for start in sorted({1, 2, 4, size // 2} & set(range(1, size))):
            yield f"payload {index} without its first {start} bytes", payload[start:]


def bit_flipped(payloads: Sequence[bytes]) -> Damaged:
    """Yield payloads with one bit turned over: many of the first bytes (headers, lengths), some of the rest."""
    source = random.Random(2)
    for index, payload in enumerate(payloads[:2]):
        bits = range(8 * len(payload))
        chosen = {*source.sample(bits[:128], min(len(bits), 24)), *source.sample(bits, min(len(bits), 16))}
        for bit in sorted(chosen):
            damaged = bytearray(payload)
            damaged[bit // 8] ^= 1 << bit % 8
            yield f"payload {index} with bit {bit} flipped", bytes(damaged)
        for value in (0x00, 0xFF):
            for start in (0, 4, len(payload) // 2):
                damaged = bytearray(payload)
                damaged[start : start + 4] = bytes([value]) * len(damaged[start : start + 4])
                yield f"payload {index} with bytes {start} to {start + 3} set to {value:#04x}", bytes(damaged)


def made_up(payloads: Sequence[bytes]) -> Damaged:
    """Yield random bytes of several lengths, and two payloads grown together."""
    source = random.Random(3)
    usual = max(1, len(payloads[0]))
    for length in (1, 2, 3, 4, 7, 8, 12, 16, 33, 64, 256, 1024, usual, usual, usual, usual):
        yield f"{length} random bytes", source.randbytes(length)
    for value in (0x00, 0x01, 0x7F, 0x80, 0xFF):
        yield f"{usual} bytes of {value:#04x}", bytes([value]) * usual
    if len(payloads) > 1:
        half = len(payloads[0]) // 2
        yield "half of one payload and half of another", payloads[0][:half] + payloads[1][half:]


def oversized(payloads: Sequence[bytes]) -> Damaged:
    """Yield payloads with bytes too many, up to megabytes."""
    source = random.Random(4)
    payload = payloads[0]
    yield "a payload and one byte more", payload + b"\0"
    yield "a payload twice", payload + payload
    yield "a payload and a megabyte of zeros", payload + bytes(_MEGABYTE)
    yield "a megabyte of zeros", bytes(_MEGABYTE)
    yield "a megabyte of 0xff", b"\xff" * _MEGABYTE
    yield "four megabytes of random bytes", source.randbytes(4 * _MEGABYTE)


KINDS: dict[str, Callable[[Sequence[bytes]], Damaged]] = {
    "truncated payloads": truncated,
    "bit-flipped payloads": bit_flipped,
    "random payloads": made_up,
    "oversized payloads": oversized,
}
