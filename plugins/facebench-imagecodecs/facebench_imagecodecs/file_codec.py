"""What most codecs here share: files whose headers depend on the settings and the picture size alone.

A codec knows these headers from a blank picture that it encodes itself. They are checked before the decoder
library sees a file, so that a damaged payload cannot make it allocate a huge picture, and with
``headerless`` they are not sent at all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench import Codec, CodecError, UnsupportedSize


class FileCodec(Codec):
    """A codec of files; a subclass says how they are made, read, and what in them is known beforehand."""

    def __init__(self, size: tuple[int, int], *, headerless: bool) -> None:
        """Make a codec for pictures of ``size`` = (height, width); call it last in a subclass's constructor.

        Raises UnsupportedSize if the library does not encode a picture of this size.
        """
        super().__init__(size)
        self._headerless = headerless
        self._learn_headers(blank_file(self._compress, size))

    @abstractmethod
    def _compress(self, image: NDArray[np.uint8]) -> bytes:
        """Return ``image``, (height, width, 3) uint8 RGB, as a file."""

    @abstractmethod
    def _decompress(self, file: bytes) -> NDArray[Any]:
        """Return the picture in ``file``; any exception means that it is damaged."""

    @abstractmethod
    def _learn_headers(self, blank: bytes) -> None:
        """Keep what ``blank``, the file of a black picture, has in common with all others."""

    @abstractmethod
    def _strip(self, file: bytes) -> bytes:
        """Return the part of ``file`` that depends on the picture; never fails, whatever ``file`` is."""

    @abstractmethod
    def _wrap(self, body: bytes) -> bytes:
        """Return the file whose stripped part is ``body``."""

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the file of ``image``, (height, width, 3) uint8 RGB, or its stripped part."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        file = self._compress(np.ascontiguousarray(image))
        body = self._strip(file)
        if not body or self._wrap(body) != file:
            raise CodecError("the encoder wrote other headers than for a blank picture")
        return body if self._headerless else file

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError."""
        body = payload if self._headerless else self._strip(payload)
        file = self._wrap(body)
        if not body or not (self._headerless or file == payload):
            raise CodecError("the payload's headers are not those of a file of these settings and size")
        return decompressed(self._decompress, file, self.size)


def blank_file(compress: Callable[[NDArray[np.uint8]], bytes], size: tuple[int, int]) -> bytes:
    """Return the file of a black picture of ``size`` = (height, width); raises UnsupportedSize if there is none."""
    try:
        return compress(np.zeros((*size, 3), np.uint8))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UnsupportedSize(f"the encoder refuses pictures of {size[1]}x{size[0]}: {reason}") from error


def decompressed(decompress: Callable[[bytes], NDArray[Any]], file: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture in ``file``, (height, width, 3) uint8 RGB; raises CodecError if it is damaged."""
    try:
        image = decompress(file)
    except Exception as error:
        raise CodecError(f"the payload is damaged: {' '.join(str(error).split())}") from error
    if image.shape != (*size, 3) or image.dtype != np.uint8:
        raise CodecError("the payload is damaged: it decodes to a picture of another shape")
    return image


class PrefixedFileCodec(FileCodec):
    """A codec of files that differ in one stretch only: all known bytes are at the start, or few at the end."""

    _suffix = b""

    @abstractmethod
    def _prefix_length(self, blank: bytes) -> int:
        """Return how many bytes of ``blank``, the file of a black picture, all files start with; raises CodecError."""

    def _learn_headers(self, blank: bytes) -> None:
        self._prefix = blank[: self._prefix_length(blank)]

    def _strip(self, file: bytes) -> bytes:
        return file[len(self._prefix) : len(file) - len(self._suffix)]

    def _wrap(self, body: bytes) -> bytes:
        return self._prefix + body + self._suffix
