"""The strings of an entropy coder as one payload: lengths of all but the first, then the strings, none twice.

A length is the number of 32-bit words, which is what CompressAI's rANS coder writes, as unsigned LEB128: one byte up
to 508 bytes. The first string takes what is left, so a model of one string adds nothing. The latent's shape is not
sent: it follows from the picture size, which a codec is made with.
"""

from __future__ import annotations

from collections.abc import Sequence

from facebench import CodecError

#: CompressAI's coder ends each string with its state, two words.
SHORTEST = 8
_WORD = 4
_LONGEST_LENGTH = 4  # bytes of a length: strings of up to a gigabyte


def pack(strings: Sequence[bytes]) -> bytes:
    """Return the payload of ``strings``; raises CodecError if one is not what the coder writes."""
    if any(len(string) % _WORD or len(string) < SHORTEST for string in strings):
        raise CodecError("the entropy coder wrote a string that is not of whole words")
    return b"".join([*(_leb128(len(string) // _WORD) for string in strings[1:]), *strings[1:], strings[0]])


def unpack(payload: bytes, count: int) -> list[bytes]:
    """Return the ``count`` strings of ``payload``; raises CodecError if they do not fill it exactly."""
    lengths, place = [], 0
    for _ in range(count - 1):
        words, place = _read_leb128(payload, place)
        lengths.append(words * _WORD)
    strings = []
    for length in lengths:
        strings.append(payload[place : place + length])
        place += length
    strings.insert(0, payload[place:])
    if place > len(payload) or any(len(string) % _WORD or len(string) < SHORTEST for string in strings):
        raise CodecError(f"a payload of {len(payload)} bytes is not {count} strings of the lengths that it states")
    return strings


def _leb128(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low]) if not rest else bytes([low | 128]) + _leb128(rest)


def _read_leb128(payload: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(payload[place : place + _LONGEST_LENGTH]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, place + index + 1
    raise CodecError("the payload ends within, or has a too long, length of a string")
