"""ASTC (Khronos Data Format, adaptive scalable texture compression): 16 bytes per block of pixels, always."""

from __future__ import annotations

from typing import Any

import numpy as np
from astc_encoder import ASTCConfig, ASTCContext, ASTCImage, ASTCProfile, ASTCSwizzle, ASTCType
from numpy.typing import NDArray

from facebench import CodecError
from facebench_imagecodecs.file_codec import PrefixedFileCodec

_MAGIC = bytes.fromhex("13ABA15C")
_HEADER_BYTES = 16  # magic, block sides, picture sides
_BLOCK_BYTES = 16
_OPAQUE = 255


class Astc(PrefixedFileCodec):
    """ASTC, low dynamic range, by Arm's astcenc: a texture format, of fixed rate."""

    def __init__(self, size: tuple[int, int], *, block: str, effort: int, headerless: bool) -> None:
        """``block`` is the blocks' "WIDTHxHEIGHT" in pixels, ``effort`` astcenc's quality, 0 to 100 (exhaustive)."""
        across, down = (int(side) for side in block.split("x"))
        self._sides = (across, down, 1)
        self._context = ASTCContext(ASTCConfig(ASTCProfile.LDR, across, down, 1, effort))
        self._swizzle = ASTCSwizzle.from_str("RGBA")
        super().__init__(size, headerless=headerless)

    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        height, width = self.size
        rgba = np.dstack([image, np.full(self.size, _OPAQUE, np.uint8)])
        blocks = self._context.compress(ASTCImage(ASTCType.U8, width, height, data=rgba.tobytes()), self._swizzle)
        sides = b"".join(side.to_bytes(3, "little") for side in (width, height, 1))
        return _MAGIC + bytes(self._sides) + sides + bytes(blocks)

    def _decompress(self, file: bytes) -> NDArray[Any]:
        blocks = file[_HEADER_BYTES:]
        if len(blocks) != self._blocks * _BLOCK_BYTES:
            raise CodecError(f"it has {len(blocks)} bytes of blocks, not {self._blocks * _BLOCK_BYTES}")
        height, width = self.size
        texture = ASTCImage(ASTCType.U8, width, height)
        self._context.decompress(blocks, texture, self._swizzle)
        return np.frombuffer(texture.data or b"", np.uint8).reshape(height, width, 4)[..., :3].copy()

    def _prefix_length(self, blank: bytes) -> int:
        self._blocks = (len(blank) - _HEADER_BYTES) // _BLOCK_BYTES
        return _HEADER_BYTES
