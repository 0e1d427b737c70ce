"""VP9 and H.264 (ITU-T H.264): one key frame of a video codec, without a container, by FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import PrefixedFileCodec

av.logging.set_level(None)

_START_CODE = b"\x00\x00\x01"
_STRIDE = 64  # what FFmpeg rounds widths up to before it checks them
_NAL_IDR, _NAL_SEI = 5, 6
# Whole bytes of the frame header up to the sides' last bits. These are in the next byte: in its upper half with 4:2:0
# (profile 0), in its upper seven bits with 4:4:4 (profile 1).
_VP9_SIZE_END = 8
# Checked of that byte. What is not, with 4:4:4, max_pixels and the decoded frame's size catch.
_VP9_HIGH_NIBBLE = 0xF0


class _KeyFrame(PrefixedFileCodec):
    """A video of one picture, in BT.601 colours of full range as JPEG has them; odd sides get a pixel more."""

    _encoder: str
    _decoder: str

    def __init__(self, size: tuple[int, int], *, options: dict[str, str], chroma: str, headerless: bool) -> None:
        """``options`` are the encoder's, by FFmpeg's names; ``chroma`` is "420" or "444"."""
        self._options, self._pixels = options, f"yuv{chroma}p"
        self._coded = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        super().__init__(size, headerless=headerless)

    def _encode_frame(self, image: NDArray[np.uint8]) -> bytes:
        """Return the encoder's stream of ``image``, (height, width, 3) uint8 RGB."""
        context = _context(self._encoder, "w")
        context.height, context.width = self._coded
        context.pix_fmt, context.time_base = self._pixels, Fraction(1)
        context.color_range, context.colorspace = ColorRange.JPEG, Colorspace.ITU601
        context.options = self._options
        missing = [(0, coded - side) for coded, side in zip(self._coded, self.size, strict=True)]
        frame = av.VideoFrame.from_ndarray(np.pad(image, (*missing, (0, 0)), mode="edge"), "rgb24").reformat(
            format=self._pixels, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        frame.pts = 0
        return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))

    def _decompress(self, file: bytes) -> NDArray[Any]:
        context = _context(self._decoder, "r")
        # No frame header in the body can make the decoder allocate more than a frame of this size.
        context.options = {"max_pixels": str(self._coded[0] * -(-self._coded[1] // _STRIDE) * _STRIDE)}
        frames = [*context.decode(av.Packet(file)), *context.decode(None)]
        if len(frames) != 1 or (frames[0].height, frames[0].width) != self._coded:
            raise CodecError("it is not one frame of this size")
        picture = frames[0].reformat(format="rgb24", src_colorspace=Colorspace.ITU601, src_color_range=ColorRange.JPEG)
        pixels: NDArray[Any] = picture.to_ndarray()
        return pixels[: self.size[0], : self.size[1]].copy()


def _context(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    """Return FFmpeg's codec ``name``, on one thread, to read or to write."""
    context = av.CodecContext.create(name, mode)
    if not isinstance(context, VideoCodecContext):
        raise CodecError(f"FFmpeg's {name} is no video codec")
    context.thread_count = 1
    return context


class Vp9(_KeyFrame):
    """A VP9 key frame by libvpx, decoded by FFmpeg."""

    _encoder, _decoder = "libvpx-vp9", "vp9"

    def __init__(self, size: tuple[int, int], *, quantiser: int, chroma: str, headerless: bool) -> None:
        """``quantiser`` is libvpx's, 0 to 63; ``chroma`` "420" or "444"."""
        level = str(quantiser)
        options = {"crf": level, "qmin": level, "qmax": level, "b": "0", "deadline": "best"}
        options |= {"lag-in-frames": "0", "profile": "0" if chroma == "420" else "1"}
        super().__init__(size, options=options, chroma=chroma, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        return self._encode_frame(image)

    def _prefix_length(self, blank: bytes) -> int:
        self._size_end = blank[_VP9_SIZE_END] & _VP9_HIGH_NIBBLE
        return _VP9_SIZE_END

    def _decompress(self, file: bytes) -> NDArray[Any]:
        if file[_VP9_SIZE_END] & _VP9_HIGH_NIBBLE != self._size_end:
            raise CodecError("it is of another size")
        return super()._decompress(file)


class H264(_KeyFrame):
    """An H.264 key frame (what AVCI files hold) by x264, without the message that names the encoder."""

    _encoder, _decoder = "libx264", "h264"

    def __init__(
        self, size: tuple[int, int], *, crf: int, preset: str, tune: str, chroma: str, headerless: bool
    ) -> None:
        """``crf`` is x264's constant rate factor, 1 to 51; ``preset`` and ``tune`` are x264's."""
        options = {"crf": str(crf), "preset": preset, "tune": tune}
        super().__init__(size, options=options, chroma=chroma, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        units = [unit.rstrip(b"\x00") for unit in self._encode_frame(image).split(_START_CODE)]
        return b"".join(_START_CODE + unit for unit in units if unit and unit[0] & 31 != _NAL_SEI)

    def _prefix_length(self, blank: bytes) -> int:
        unit = blank.rfind(_START_CODE) + len(_START_CODE)
        if blank[unit] & 31 != _NAL_IDR:
            raise CodecError("x264 wrote no key frame")
        return unit + 1
