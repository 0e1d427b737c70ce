"""The entropy-coded scan of baseline JPEG (ITU-T T.81), moved from one set of Huffman tables to another.

A JPEG file of a small picture is mostly tables. Under the example tables of the standard's annex K, which
every libjpeg has, none need be sent. Coefficients are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from facebench import CodecError

EOI = b"\xff\xd9"
_SOF0, _DHT, _SOS = 0xC0, 0xC4, 0xDA
_LUMA, _CHROMA = 0, 1
_DC, _AC = 0, 1
_COEFFICIENTS = 64
_LONGEST_CODE = 16
_END_OF_BLOCK = 0
#: Per table, by (class, identifier): the code of each symbol, as a text of 0 and 1.
Tables = dict[tuple[int, int], dict[int, str]]


@dataclass(frozen=True)
class JpegFile:
    """A baseline JPEG file in parts.

    ``head`` is all up to and with the frame header, ``tables`` what is between it and the scan header,
    ``scan_header`` the SOS segment, ``scan`` the entropy-coded bytes without stuffing and end marker.
    """

    head: bytes
    tables: bytes
    scan_header: bytes
    scan: bytes


def take_apart(file: bytes) -> JpegFile:
    """Return the parts of ``file``; raises CodecError if it is not a baseline JPEG file with one scan."""
    position, frame_end = 2, 0
    while file[position : position + 1] == b"\xff" and position + 4 <= len(file):
        kind, end = file[position + 1], position + 2 + int.from_bytes(file[position + 2 : position + 4], "big")
        if kind == _SOF0:
            frame_end = end
        if kind == _SOS and frame_end and file.endswith(EOI):
            scan = file[end : -len(EOI)].replace(b"\xff\x00", b"\xff")
            return JpegFile(file[:frame_end], file[frame_end:position], file[position:end], scan)
        position = end
    raise CodecError("the encoder wrote no baseline JPEG file")


def put_together(parts: JpegFile) -> bytes:
    """Return the file of ``parts``."""
    return parts.head + parts.tables + parts.scan_header + parts.scan.replace(b"\xff", b"\xff\x00") + EOI


def tables_of(segments: bytes) -> Tables:
    """Return the Huffman tables in ``segments``, one DHT segment after another; raises CodecError."""
    tables: Tables = {}
    position = 0
    while position < len(segments):
        end = position + 2 + int.from_bytes(segments[position + 2 : position + 4], "big")
        if segments[position] != 0xFF or segments[position + 1] != _DHT:
            raise CodecError("the encoder wrote something else than Huffman tables before the scan")
        position += 4
        while position < end:
            key = (segments[position] >> 4, segments[position] & 15)
            counts = segments[position + 1 : position + 1 + _LONGEST_CODE]
            position += 1 + _LONGEST_CODE
            tables[key] = _codes(counts, segments[position : position + sum(counts)])
            position += sum(counts)
    return tables


def _codes(counts: bytes, symbols: bytes) -> dict[int, str]:
    codes = {}
    code, place = 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[place : place + count]:
            codes[symbol] = f"{code:0{length}b}"
            code += 1
        place += count
        code <<= 1
    return codes


def transcode(parts: JpegFile, size: tuple[int, int], tables: Tables) -> bytes:
    """Return the scan of ``parts``, a picture of ``size``, under ``tables``: luma 0, chroma 1, padded with ones.

    Raises KeyError if ``tables`` lack a symbol, CodecError if the scan is not what ``parts`` say.
    """
    own = {key: {code: symbol for symbol, code in codes.items()} for key, codes in tables_of(parts.tables).items()}
    plan, mcus = _plan(parts, size)
    bits = _Bits("".join(f"{byte:08b}" for byte in parts.scan))
    written: list[str] = []
    for dc, ac, kind in plan * mcus:
        length = bits.symbol(own[_DC, dc])
        written += (tables[_DC, kind][length], bits.take(length))
        place = 1
        while place < _COEFFICIENTS:
            symbol = bits.symbol(own[_AC, ac])
            run, length = divmod(symbol, 16)
            written += (tables[_AC, kind][symbol], bits.take(length))
            place = _COEFFICIENTS if symbol == _END_OF_BLOCK else place + run + 1
    text = "".join(written)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _plan(parts: JpegFile, size: tuple[int, int]) -> tuple[list[tuple[int, int, int]], int]:
    """Return (DC table, AC table, luma or chroma) of each block of an MCU, and how many MCUs there are."""
    frame = parts.head[-9:]  # identifier, sampling factors and quantiser table of three components
    selectors = parts.scan_header[5:11]  # identifier and Huffman tables of the same
    plan, factors = [], []
    for component in range(3):
        across, down = divmod(frame[3 * component + 1], 16)
        dc, ac = divmod(selectors[2 * component + 1], 16)
        plan += [(dc, ac, _CHROMA if component else _LUMA)] * (across * down)
        factors.append((across, down))
    width, height = (8 * max(side) for side in zip(*factors, strict=True))
    return plan, -(-size[0] // height) * -(-size[1] // width)


class _Bits:
    """Reads symbols and numbers from a text of 0 and 1."""

    def __init__(self, text: str) -> None:
        self._text, self._position = text, 0

    def symbol(self, symbols: dict[str, int]) -> int:
        """Return the next symbol, of ``symbols`` by their codes; raises CodecError."""
        for end in range(self._position + 1, self._position + 1 + _LONGEST_CODE):
            symbol = symbols.get(self._text[self._position : end])
            if symbol is not None:
                self._position = end
                return symbol
        raise CodecError("the encoder wrote a scan that its Huffman tables do not fit")

    def take(self, count: int) -> str:
        """Return the next ``count`` bits."""
        self._position += count
        return self._text[self._position - count : self._position]
