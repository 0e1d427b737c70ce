"""A CompressAI model as a codec: its compress() and decompress(), real bytes, nothing beside the payload."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from facebench import Codec, CodecError
from facebench_compressai.framing import pack, unpack

with warnings.catch_warnings():  # on import CompressAI calls what a newer torch deprecates
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.ops import compute_padding

    from facebench_compressai.weights import checkpoint_file, decoder_bytes, load_model, zoo_file

# Zero bytes put behind a string. CompressAI's rANS decoder reads 32-bit words from memory without looking where the
# string ends, and runs on if it is damaged (its issue 300). Among zeros, a value takes at most its symbol and, escaped,
# 16 groups of 4 bits that count 15 x 16 more: 34 words. Once its state is 0, which it stays, each group takes a word:
# those that the value at hand still has to read, at most 15 for each group of the string.
_ZEROS_PER_VALUE = 34 * 4
_ZEROS_PER_BYTE = 2 * 15 * 4
_ZEROS = 2048
# No intact string is longer: a table entry takes 16 bits, an escaped 32-bit value 40 more.
_BYTES_PER_VALUE = 8


@contextmanager
def _computing_alike() -> Iterator[None]:
    """Compute on one thread: the last bits of a convolution, hence now and then a symbol, change with their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


class CompressAi(Codec):
    """One model with one set of weights; always on the CPU, on one thread and one picture at a time.

    Its probabilities come out of floating-point convolutions, whose last bits change with device, threads and batch:
    encoder and decoder have to compute alike.
    """

    def __init__(
        self, size: tuple[int, int], *, model: str, quality: int, metric: str, checkpoint: str, download: bool
    ) -> None:
        """Load the weights; raises CodecError or :class:`facebench.WeightsError`, and fetches only on ``download``."""
        super().__init__(size)
        if checkpoint:
            file = checkpoint_file(checkpoint, quality)
        else:
            file = zoo_file(model, metric, quality, download=download)
        self._model = load_model(model, file.path)
        self.weights_bytes = decoder_bytes(self._model)
        self.weights_digest = file.digest
        self.trained_on = file.trained_on
        self._pad, self._crop = compute_padding(*size, min_div=self._model.downsampling_factor)
        blank = self._padded(np.zeros((*size, 3), np.uint8))
        with _computing_alike():
            self._values = self._model.g_a(blank).numel()
            compressed = self._model.compress(blank)
        self._strings = len(compressed["strings"])
        self._shape = compressed["shape"]

    def _padded(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Return (1, 3, H', W') float32 in [0, 1], padded by zeros to what the model can halve often enough."""
        planes = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)
        return functional.pad(planes[None], self._pad)

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the strings of ``image``, (H, W, 3) uint8 RGB, as one payload."""
        if image.shape != (*self.size, 3):
            raise CodecError(f"the picture's shape is {image.shape}, not {(*self.size, 3)}")
        with _computing_alike():
            compressed = self._model.compress(self._padded(image))
        if tuple(compressed["shape"]) != tuple(self._shape):
            raise CodecError("the model made a latent of another shape than for a black picture")
        return pack([string for (string,) in compressed["strings"]])

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (H, W, 3) uint8 RGB; raises CodecError if the payload is not of whole strings.

        A payload that is, but was damaged, gives some picture.
        """
        if len(payload) > self._strings * (_BYTES_PER_VALUE * self._values + 64):
            raise CodecError(f"a payload of {len(payload):,} bytes is longer than any of this model at this size")
        strings = [[self._guarded(string)] for string in unpack(payload, self._strings)]
        with _computing_alike():
            planes = self._model.decompress(strings, self._shape)["x_hat"]
            picture = functional.pad(planes, self._crop)[0].nan_to_num(0).clamp(0, 1)
            levels = (picture * 255).round().to(torch.uint8)
        return levels.permute(1, 2, 0).contiguous().numpy()

    def _guarded(self, string: bytes) -> bytes:
        """Return ``string`` with zeros behind it, so many that the decoder cannot leave them."""
        return string + bytes(_ZEROS_PER_VALUE * self._values + _ZEROS_PER_BYTE * len(string) + _ZEROS)

    def use_device(self, device: str) -> None:
        """Stay on the CPU: what one device encodes another may not decode."""
