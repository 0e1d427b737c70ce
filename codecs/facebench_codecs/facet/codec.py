"""facet: a learned codec for aligned faces, made for payloads below 500 bytes.

A payload is one stream of the range coder: a marker (is it facet's own?), the mode, the rate, then the latent's
symbols, the larger ones first. It may be cut anywhere: symbols that are cut off are 0. Like any codec's, it is read
by an instance of the operating point that it was made at. A payload whose first byte
is 255 holds a WebP picture instead, for what facet cannot do better: pictures unlike faces, and large payloads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import constriction
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facebench import Codec, CodecError, UnsupportedSize
from facebench_codecs.entropy import TOTAL, StaticCoder, Table, open_payload, shortest_payload
from facebench_codecs.facet.colour import planes_to_rgb, planes_to_vector, rgb_to_planes, vector_to_planes
from facebench_codecs.facet.network import hat
from facebench_codecs.facet.tables import RATES, linear_step
from facebench_codecs.facet.webp import largest_webp, read_webp
from facebench_codecs.facet.weights import Tuned, load_tuned
from facebench_codecs.networks import pictures_to_tensor
from facebench_codecs.weights import find_weights

#: First byte of a payload that holds a WebP picture; no stream of facet's own begins with it.
_WEBP = b"\xff"
#: Modes: the networks, or the linear transform alone, which invents nothing.
_NETWORK, _LINEAR = 0, 1
#: Payloads above this are held against WebP, in bytes.
_SMALL = 500
#: Pictures of a smaller standard deviation, in grey levels, show no face.
_FLAT = 8.0
#: A picture unlike a face may take so many bytes at any rate.
_LEAST_FOR_STRANGE = 24
#: Rounding of the count of bits is forgiven when a payload is asked whether it is whole.
_SLACK = 1e-3


@dataclass(frozen=True)
class _Coded:
    """A payload, the information in it, and whether the tables' reach changed its symbols by more than one."""

    rate: int
    payload: bytes
    bits: float
    clamped: bool


class Facet(Codec):
    """A learned analysis of the picture around a PCA, quantised, range-coded, and a learned synthesis."""

    def __init__(self, size: tuple[int, int], *, rate: int, bytes: int, tune: str, weights: str) -> None:
        """``rate`` is 0 (smallest) to 63; with ``bytes`` above 0 each picture gets the largest rate that fits it."""
        super().__init__(size)
        path = find_weights("facet", size[1]) if weights == "shipped" else Path(weights)
        if path is None or size[0] != size[1]:
            raise UnsupportedSize(
                f"facet has no weights for {size[1]}x{size[0]}: run 'facebench train facet --size {size[1]}'"
            )
        self._tuned = load_tuned(path, tune)
        self._network = self._tuned.network
        side = self._network.shape.side
        if size != (side, side):
            raise UnsupportedSize(f"facet: the weights in {path} are for {side}x{side}, not {size[1]}x{size[0]}")
        self._rate, self._budget = rate, bytes
        self._rate_coders = _rate_coders(self._tuned, rate, bytes)
        books = (self._tuned.codebook, self._tuned.linear_codebook)
        self._coder = lru_cache(2 * RATES)(lambda mode, rate: books[mode].coder(rate))
        self._device = "cpu"
        self.weights_bytes = self._tuned.weights_bytes
        self.weights_digest = self._tuned.digest
        self.trained_on = self._tuned.trained_on

    def use_device(self, device: str) -> None:
        self._device = device
        self._network = deepcopy(self._tuned.network).to(device)  # instances share the loaded one

    # Batches are encoded one by one: convolutions differ in the last bit with the batch, payloads must not.
    def encode(self, image: NDArray[np.uint8]) -> bytes:
        picture = pictures_to_tensor(image[None], self._device)
        if self._budget:
            own = self._finest(picture, _NETWORK, self._budget)
        else:
            own = self._coded(picture, _NETWORK, self._rate)
        strange = own.clamped or not self._is_usual(image, picture, own)
        if self._budget:
            limit, spare = self._budget, own.rate == RATES - 1 or len(own.payload) > self._budget
        else:
            limit, spare = max(len(own.payload), _LEAST_FOR_STRANGE if strange else 0), len(own.payload) > _SMALL
        if not (strange or spare):
            return own.payload
        candidates = [own.payload, self._finest(picture, _LINEAR, limit).payload]
        if (webp := largest_webp(image, limit - len(_WEBP))) is not None:
            candidates.append(_WEBP + webp)
        fitting = [candidate for candidate in candidates if len(candidate) <= limit]
        if not fitting:
            return min(candidates, key=len)
        return min(fitting, key=lambda candidate: _squared_error(self.decode(candidate), image))

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return self.decode_batch([payload])[0]

    def decode_batch(self, payloads: Sequence[bytes]) -> NDArray[np.uint8]:
        pictures = np.empty((len(payloads), *self.size, 3), np.uint8)
        streams = []
        for index, payload in enumerate(payloads):
            if payload[:1] == _WEBP:
                pictures[index] = read_webp(payload[1:], self.size)
            else:
                streams.append((index, *self._read(payload)))
        for mode in (_NETWORK, _LINEAR):
            chosen = [(index, rate, symbols) for index, m, rate, symbols in streams if m == mode]
            if chosen:
                indices, rates, symbols = zip(*chosen, strict=True)
                pictures[list(indices)] = self._pictures(mode, rates, np.stack(symbols))
        return pictures

    def _is_usual(self, image: NDArray[np.uint8], picture: Tensor, own: _Coded) -> bool:
        """Return whether the picture is like the training faces, so that the networks do well on it."""
        if own.bits > self._tuned.codebook.usual_bits[own.rate] or image.std() < _FLAT:
            return False
        with torch.inference_mode():
            energy = self._network.linear.energy(planes_to_vector(*rgb_to_planes(picture)))
        return float(energy) <= self._tuned.usual_energy

    def _hats(self, rates: Sequence[int]) -> Tensor:
        return hat(torch.tensor([rate / (RATES - 1) for rate in rates], device=self._device))

    def _coded(self, picture: Tensor, mode: int, rate: int) -> _Coded:
        """Return one picture, (1, 3, H, W) in [0, 1], coded."""
        network, coder = self._network, self._coder(mode, rate)
        with torch.inference_mode():
            if mode == _NETWORK:
                hats = self._hats([rate])
                exact = network.analysis(picture, hats, network.linear) / network.steps(hats)
            else:
                exact = network.linear.project(planes_to_vector(*rgb_to_planes(picture))) / linear_step(rate)
        wanted = np.rint(exact[0].cpu().numpy().clip(-1e6, 1e6)).astype(np.int32)
        symbols = coder.clamp(wanted)
        encoder = constriction.stream.queue.RangeEncoder()
        bits = 0.0
        for part, values in (
            (_START, np.array([0, mode], np.int32)),
            (self._rate_coders[mode], np.array([rate], np.int32)),
            (coder, symbols),
        ):
            part.write(encoder, values)
            bits += part.ideal_bits(values)
        # So long that the reader, who counts bits, sees that nothing was cut.
        payload = shortest_payload(encoder, max(1, math.ceil((bits - _SLACK) / 8)))
        return _Coded(rate, payload, bits, clamped=int(np.abs(wanted - symbols).max()) > 1)

    def _finest(self, picture: Tensor, mode: int, limit: int) -> _Coded:
        """Return the picture at the largest rate whose payload has up to ``limit`` bytes, at rate 0 if none has.

        By bisection: sizes rise with the rate but for a byte or so.
        """
        best, low, high = self._coded(picture, mode, 0), 1, RATES - 1
        while low <= high:
            middle = (low + high) // 2
            tried = self._coded(picture, mode, middle)
            if len(tried.payload) <= limit:
                best, low = tried, middle + 1
            else:
                high = middle - 1
        return best

    def _read(self, payload: bytes) -> tuple[int, int, NDArray[np.int32]]:
        """Return the mode, the rate and the symbols of a payload that is facet's own, whole or cut."""
        if len(payload) > 4 * self._network.shape.components + 16:
            raise CodecError(f"payload of {len(payload)} bytes is too long for facet")
        decoder = open_payload(payload)
        start = _START.read(decoder)
        mode = int(start[1])
        rate = self._rate_coders[mode].read(decoder)
        spent = _START.ideal_bits(start) + self._rate_coders[mode].ideal_bits(rate)
        symbols = self._coder(mode, int(rate[0])).read(decoder, 8 * len(payload) + 2 * _SLACK - spent)
        return mode, int(rate[0]), symbols

    def _pictures(self, mode: int, rates: Sequence[int], symbols: NDArray[np.int32]) -> NDArray[np.uint8]:
        network = self._network
        latent = torch.from_numpy(symbols.astype(np.float32)).to(self._device)
        with torch.inference_mode():
            if mode == _NETWORK:
                hats = self._hats(rates)
                pictures = network.synthesis(latent * network.steps(hats), hats, network.linear)
            else:
                steps = torch.tensor([[linear_step(rate)] for rate in rates], device=self._device)
                planes = vector_to_planes(network.linear.picture_vector(latent * steps), network.shape.side)
                pictures = planes_to_rgb(*planes)
            levels = (pictures.clamp(0, 1) * 255).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _squared_error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.square(one.astype(np.float32) - other).sum())


def _rate_coders(tuned: Tuned, rate: int, budget: int) -> tuple[StaticCoder, StaticCoder]:
    """Return the coder of the rate in each mode: the network's expects the operating point's own."""
    if budget:
        sizes = tuned.codebook.typical_bits / 8
        expected = int(np.clip(np.searchsorted(sizes, budget, side="right") - 1, 0, RATES - 1))
        weights = [max(1, 1024 >> abs(r - expected)) for r in range(RATES)]
    else:
        weights = [1 << 14 if r == rate else 1 for r in range(RATES)]
    return StaticCoder([_table(weights)]), StaticCoder([_table([1] * RATES)])


def _table(weights: Sequence[int]) -> Table:
    frequencies = np.array(weights, np.int64) * TOTAL // sum(weights)
    frequencies[np.argmax(frequencies)] += TOTAL - frequencies.sum()
    return Table(0, frequencies)


#: Marker (0: facet's own) and mode.
_START = StaticCoder([_table([255, 1]), _table([63, 1])])
