"""The syntax of baseline JPEG (ITU-T T.81): segments, Huffman tables and the entropy-coded scan.

Only what libjpeg writes for a colour picture with 4:2:0 chroma is read: sequential, 8 bits, one interleaved
scan of six blocks per MCU, no restart intervals. Four Huffman tables are in use, here always in the order DC
luma, AC luma, DC chroma, AC chroma.

The scan is transcoded without touching its coefficients: the code length at every bit position is looked up
for all positions at once, a short loop then walks from symbol to symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facebench import CodecError

#: Table class and identifier bytes of DHT, in our order.
_TABLE_BYTES = (0x00, 0x10, 0x01, 0x11)
#: The (DC, AC) tables of an MCU's blocks: four luma, one of each chroma.
_MCU_PLAN = ((0, 1),) * 4 + ((2, 3),) * 2
MCU_SIDE = 16
#: The most bytes that an MCU can take: six blocks of a DC and 63 AC coefficients, codes of 16 bits.
MAX_MCU_BYTES = 6 * ((16 + 11) + 63 * (16 + 10)) // 8

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_SOF0, _DHT, _SOS = 0xC0, 0xC4, 0xDA
#: Segments that may stand before the scan: DHT, DQT, COM and APPn.
_PLAIN_SEGMENTS = frozenset({_DHT, 0xDB, 0xFE, *range(0xE0, 0xF0)})

DC_SYMBOLS = tuple(range(12))
AC_SYMBOLS = (0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 11)))
#: The symbols that a baseline scan of 8-bit samples may have, per table.
LEGAL_SYMBOLS = (DC_SYMBOLS, AC_SYMBOLS, DC_SYMBOLS, AC_SYMBOLS)

# A step packs how far a symbol moves: bits in the low five, coefficients above. End-of-block and invalid codes
# move so many coefficients that the walk can tell them from a run that leaves the block.
_BITS = 5
_BITS_MASK = (1 << _BITS) - 1
_END_OF_BLOCK = 128
_INVALID = 1024


@dataclass(frozen=True)
class HuffmanTable:
    """One Huffman table as DHT has it: ``counts[i]`` codes of ``i + 1`` bits, and the symbols in code order."""

    counts: tuple[int, ...]
    symbols: tuple[int, ...]

    def __post_init__(self) -> None:
        used = sum(count << (15 - i) for i, count in enumerate(self.counts))
        # A full tree would hold a code of ones only, which JPEG forbids.
        if len(self.counts) != 16 or sum(self.counts) != len(self.symbols) or not 0 < used < 1 << 16:
            raise CodecError("the JPEG has a Huffman table that is no prefix code")

    def lengths(self) -> NDArray[np.int64]:
        """Return the code lengths in bits, in code order."""
        return np.repeat(np.arange(1, 17), self.counts)

    def by_window(self) -> NDArray[np.uint8]:
        """Return, for each value of the next 16 bits, which code it starts with, or ``len(symbols)`` for none."""
        spans = np.left_shift(1, 16 - self.lengths())
        return np.repeat(np.arange(len(self.symbols) + 1, dtype=np.uint8), np.append(spans, (1 << 16) - spans.sum()))

    def codes(self) -> NDArray[np.int64]:
        """Return the codes, right-aligned, in code order."""
        lengths = self.lengths()
        starts = np.cumsum(np.left_shift(1, 16 - lengths)) - np.left_shift(1, 16 - lengths)
        codes: NDArray[np.int64] = starts >> (16 - lengths)
        return codes

    def to_bytes(self) -> bytes:
        """Return the table as in a DHT segment, without its class and identifier."""
        return bytes(self.counts) + bytes(self.symbols)


Tables = tuple[HuffmanTable, HuffmanTable, HuffmanTable, HuffmanTable]


@dataclass(frozen=True)
class Parts:
    """A JPEG file taken apart: ``before`` and ``after`` surround its DHT segments; ``scan`` is without stuffing."""

    before: bytes
    tables: Tables
    after: bytes
    scan: bytes


@dataclass(frozen=True)
class Symbols:
    """The symbols of a scan in order, (N,) int64 each: their table, value, and the bits that follow the code.

    ``end`` is the number of scan bits that they take.
    """

    table: NDArray[np.int64]
    value: NDArray[np.int64]
    extra: NDArray[np.int64]
    end: int


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, stop) of the segments up to SOS, markers included; raises CodecError."""
    if data[:2] != SOI:
        raise CodecError("the payload is no JPEG")
    position = 2
    while True:
        head = data[position : position + 4]
        if len(head) < 4 or head[0] != 0xFF:
            raise CodecError("the JPEG's headers are damaged")
        stop = position + 2 + (head[2] << 8 | head[3])
        if stop < position + 4 or stop > len(data):
            raise CodecError("the JPEG's headers are damaged")
        yield head[1], position, stop
        if head[1] == _SOS:
            return
        position = stop


def check_size(data: bytes, size: tuple[int, int]) -> None:
    """Raise CodecError unless ``data`` is a whole baseline colour JPEG of one scan and ``size`` = (height, width).

    Reads headers only, so a file that claims a huge picture costs nothing.
    """
    frame = None
    for marker, start, stop in _segments(data):
        if marker == _SOF0 and frame is None:
            frame = data[start + 4 : stop]
        elif marker == _SOS and data[start + 4 : start + 5] == b"\3":  # one scan; of others libjpeg decodes any number
            continue
        elif marker not in _PLAIN_SEGMENTS:
            raise CodecError("the JPEG is not a plain baseline one")
    if frame is None or len(frame) < 6 or frame[0] != 8 or frame[5] != 3:
        raise CodecError("the JPEG is not a plain baseline one")
    found = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    if found != size:
        raise CodecError(f"the JPEG is {found[1]}x{found[0]}, not {size[1]}x{size[0]}")
    if not data.endswith(EOI):
        raise CodecError("the JPEG is cut short")


def take_apart(data: bytes) -> Parts:
    """Return the parts of a 4:2:0 baseline JPEG; raises CodecError on any other."""
    before, after, tables = b"", b"", dict[int, HuffmanTable]()
    stop = 2
    for marker, start, stop in _segments(data):
        if marker == _DHT:
            tables |= _read_tables(data[start + 4 : stop])
        elif tables:
            after += data[start:stop]
        else:
            before += data[start:stop]
        if marker == _SOF0 and data[start + 9 : stop] != b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01":
            raise CodecError("the JPEG is not a 4:2:0 colour one")
    if set(tables) != set(_TABLE_BYTES) or not data.endswith(EOI):
        raise CodecError("the JPEG is not a plain baseline one")
    one, two, three, four = (tables[key] for key in _TABLE_BYTES)
    scan = data[stop:-2].replace(b"\xff\x00", b"\xff")
    return Parts(SOI + before, (one, two, three, four), after, scan)


def put_together(before: bytes, tables: Tables, after: bytes, scan: bytes) -> bytes:
    """Return the JPEG file of these parts; the inverse of :func:`take_apart`."""
    body = b"".join(bytes([key]) + table.to_bytes() for key, table in zip(_TABLE_BYTES, tables, strict=True))
    dht = bytes([0xFF, _DHT]) + (2 + len(body)).to_bytes(2, "big") + body
    return before + dht + after + scan.replace(b"\xff", b"\xff\x00") + EOI


def _read_tables(body: bytes) -> dict[int, HuffmanTable]:
    tables, position = {}, 0
    while position < len(body):
        counts = tuple(body[position + 1 : position + 17])
        stop = position + 17 + sum(counts)
        tables[body[position]] = HuffmanTable(counts, tuple(body[position + 17 : stop]))
        position = stop
    return tables


def _steps(table: HuffmanTable, *, ac: bool) -> NDArray[np.int64]:
    """Return the steps of the table's codes in code order, with the step of an invalid one at the end."""
    symbols = np.array(table.symbols)
    steps = table.lengths() + (symbols & 15)
    if ac:
        coefficients = (symbols >> 4) + 1
        coefficients[symbols == 0] = _END_OF_BLOCK
        coefficients[((symbols & 15) == 0) & (symbols != 0) & (symbols != 0xF0)] = _INVALID
        steps += coefficients << _BITS
    else:
        steps[symbols > 11] = _INVALID << _BITS
    return np.append(steps, _INVALID << _BITS)


class ScanReader:
    """Reads the symbols of scans under one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._windows = [table.by_window() for table in tables]
        self._steps = [_steps(table, ac=index in (1, 3)) for index, table in enumerate(tables)]

    def read(self, scan: bytes, mcus: int) -> Symbols:
        """Return the symbols of the first ``mcus`` MCUs of ``scan``; raises CodecError if they aren't there."""
        windows = _bit_windows(scan)
        found, stride, end = self._walk(windows, 8 * len(scan), mcus)
        index = np.array(found)
        table, position = np.divmod(index, stride)
        value, length = np.empty_like(index), np.empty_like(index)
        for number, huffman in enumerate(self._tables):
            chosen = table == number
            code = self._windows[number][windows[position[chosen]]]
            value[chosen] = np.array(huffman.symbols)[code]
            length[chosen] = huffman.lengths()[code]
        extra = windows[position + length] >> (16 - (value & 15))
        return Symbols(table, value, extra, end)

    def end(self, scan: bytes, mcus: int) -> int:
        """Return the number of bits that the first ``mcus`` MCUs of ``scan`` take; raises CodecError."""
        return self._walk(_bit_windows(scan), 8 * len(scan), mcus)[2]

    def _walk(self, windows: NDArray[np.int64], bits: int, mcus: int) -> tuple[list[int], int, int]:
        """Return where symbols are, as table * stride + bit position, and stride and the end in bits."""
        # Codes that start beyond the scan are invalid: the walk stops at most one step behind its end.
        stride = bits + _BITS_MASK + 1
        table_steps: list[int] = []
        beyond = [_INVALID << _BITS] * (stride - bits)
        for code_of_window, step_of_code in zip(self._windows, self._steps, strict=True):
            table_steps += step_of_code[code_of_window[windows[:bits]]].tolist()
            table_steps += beyond
        found: list[int] = []
        append = found.append
        plan = [(dc * stride, (ac - dc) * stride, ac * stride) for dc, ac in _MCU_PLAN]
        position = 0
        for _ in range(mcus):
            for dc, to_ac, ac in plan:
                index = position + dc
                append(index)
                step = table_steps[index]
                if step > _BITS_MASK:
                    raise CodecError("the scan is damaged")
                index += to_ac + step
                coefficient = 1
                while coefficient < 64:
                    append(index)
                    step = table_steps[index]
                    index += step & _BITS_MASK
                    coefficient += step >> _BITS
                if coefficient != 64 and not _END_OF_BLOCK < coefficient < _END_OF_BLOCK + 64:
                    raise CodecError("the scan is damaged")
                position = index - ac
        if position > bits:
            raise CodecError("the scan is cut short")
        return found, stride, position


class ScanWriter:
    """Writes symbols under one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self._codes = np.zeros((4, 256), np.int64)
        self._lengths = np.zeros((4, 256), np.int64)
        for number, table in enumerate(tables):
            self._codes[number, list(table.symbols)] = table.codes()
            self._lengths[number, list(table.symbols)] = table.lengths()

    def write(self, symbols: Symbols) -> bytes:
        """Return the scan, without stuffing, padded with zero bits; all symbols must be in the tables."""
        lengths = self._lengths[symbols.table, symbols.value]
        if not lengths.all():
            raise CodecError("the Huffman tables have no code for a symbol of this picture")
        sizes = symbols.value & 15
        words = self._codes[symbols.table, symbols.value] << sizes | symbols.extra
        lengths = lengths + sizes
        ends = np.cumsum(lengths)
        shifts = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])
        bits = np.repeat(words, lengths) >> shifts & 1
        return np.packbits(bits.astype(np.uint8)).tobytes()


def _bit_windows(scan: bytes) -> NDArray[np.int64]:
    """Return the 16 bits that start at each bit of ``scan`` and a little beyond, zeros following its end."""
    data = np.frombuffer(scan + bytes(8), np.uint8).astype(np.int64)
    words = data[:-2] << 16 | data[1:-1] << 8 | data[2:]
    return (words[:, None] >> np.arange(8, 0, -1) & 0xFFFF).ravel()


def mcus_of(size: tuple[int, int]) -> int:
    """Return the number of 4:2:0 MCUs of a picture of ``size`` = (height, width)."""
    return -(-size[0] // MCU_SIDE) * -(-size[1] // MCU_SIDE)
