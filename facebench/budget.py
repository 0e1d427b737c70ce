"""A byte budget: per picture, the best setting of a codec whose payload fits; smaller pictures where none does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.codec import Codec, CodecSpec, SettingValue
from facebench.errors import CodecError, UnsupportedSize

#: Raise when the ladder of settings or the way of choosing changes.
VERSION = 3
#: Sides of the coded picture as shares of the picture's own, with and without downscaling.
FULL_SIZE = (1.0,)
SHARES = (1.0, 0.75, 0.5, 0.25)
#: No side of a coded picture is shorter, in pixels.
SMALLEST_SIDE = 8
# One byte names setting and share; the ladder of a real-valued setting has so many rungs.
_RUNGS = 256
_REAL_RUNGS = 64
# Rungs tried, from the lowest, until one fits: bytes need not grow at every step.
_LOWEST = 8
# Codec instances kept at a time: a learned one may hold tens of megabytes.
_INSTANCES = 12


def ladder(spec: CodecSpec, shares: Sequence[float]) -> tuple[SettingValue | None, ...]:
    """Return the values of the rate setting that a budget chooses from, from the fewest bytes to the most.

    All values of an integer setting, evenly thinned out to what one byte can name; 64 values of a real one in
    geometric progression over the codec's own sweep; else the sweep. ``(None,)`` for a codec without a rate.
    """
    setting = spec.setting(spec.rate_setting) if spec.rate_setting else None
    if setting is None or not spec.sweep:
        return (None,)
    most = _RUNGS // len(shares)
    values: list[SettingValue] = list(spec.sweep)
    if setting.kind is int and setting.low is not None and setting.high is not None:
        low, high = int(setting.low), int(setting.high)
        values = [int(value) for value in np.unique(np.linspace(low, high, min(most, high - low + 1)).round())]
    elif setting.kind is float and min(map(float, spec.sweep)) > 0 and len(set(spec.sweep)) > 1:
        least, largest = min(map(float, spec.sweep)), max(map(float, spec.sweep))
        # Few digits, so that a value can be written down again.
        steps = (float(f"{value:.4g}") for value in np.geomspace(least, largest, min(most, _REAL_RUNGS)))
        values = list(dict.fromkeys(min(max(step, least), largest) for step in steps))
    if values != list(spec.sweep) and float(spec.sweep[0]) > float(spec.sweep[-1]):
        values.reverse()
    kept = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round())
    return tuple(values[int(index)] for index in kept)


@dataclass(frozen=True)
class _Rung:
    """A value of the rate setting, and the share of its own size at which a picture is coded."""

    value: SettingValue | None
    share: float


class BudgetCodec(Codec):
    """A codec that spends at most ``budget`` bytes on a picture, where it can.

    Per picture and share, bisection finds the highest rung of the ladder whose payload fits, from the first of the
    lowest eight that does. Bytes are taken to grow along the ladder: where they do not, a higher rung may be missed,
    but what is chosen always fits. A rung at which the codec raises CodecError does not fit. Of several shares the
    one whose decoded picture has the smallest squared error is taken. The payload starts with one byte that names
    setting and share, if there is a choice; it is part of the budget. A picture that fits nowhere gets the smallest
    payload that was tried: the harness sees that it is over budget. A codec with a ``budget_setting`` of its own is
    given there what the first byte leaves of the budget.
    """

    def __init__(
        self,
        size: tuple[int, int],
        spec: CodecSpec,
        budget: int,
        downscale: bool,
        make: Callable[[dict[str, SettingValue], tuple[int, int]], Codec],
    ) -> None:
        """``make(settings, size)`` makes the codec of ``spec``, given the settings to change.

        Raises what ``make`` does, and UnsupportedSize if ``downscale`` and the codec takes no smaller picture.
        """
        super().__init__(size)
        self._spec, self._budget, self._make = spec, budget, make
        self._device = "cpu"
        self._instances: OrderedDict[_Rung, Codec] = OrderedDict()
        shares = SHARES if downscale else FULL_SIZE
        if spec.budget_setting:
            self._values: tuple[SettingValue | None, ...] = (None,)
        else:
            self._values = ladder(spec, shares)
        # What downscales has two shares at least, or is refused below.
        self._header = downscale or len(self._values) > 1
        plain = self._codec(_Rung(self._values[0], 1.0))
        self.weights_bytes, self.weights_digest = plain.weights_bytes, plain.weights_digest
        self.trained_on = plain.trained_on
        self._shares = [share for share in shares if share == 1 or self._works_at(share)]
        if downscale and len(self._shares) == 1:
            raise UnsupportedSize(f"{spec.name} takes no picture smaller than {size[1]}x{size[0]}")

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """Return the payload of ``image``, (height, width, 3) uint8 RGB."""
        return self.encode_batch(image[np.newaxis])[0]

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8 RGB; raises CodecError."""
        rung, rest = self._opened(payload)
        return self._enlarged(self._codec(rung).decode(rest), rung)

    def bits_per_image(self, payload: bytes) -> int:
        """Return the bits of the first byte and what the codec counts for the rest."""
        rung, rest = self._opened(payload)
        return 8 * (len(payload) - len(rest)) + self._codec(rung).bits_per_image(rest)

    def encode_batch(self, images: NDArray[np.uint8]) -> list[bytes]:
        """Return the payloads of ``images``, (N, height, width, 3); raises CodecError if one has none at any rung."""
        by_share = [self._fitting(images, share) for share in self._shares]
        return [self._best(image, payloads) for image, *payloads in zip(images, *by_share, strict=True)]

    def _best(self, image: NDArray[np.uint8], found: Sequence[bytes | CodecError]) -> bytes:
        """Return the payload of the smallest squared error that fits, or the smallest if none does."""
        payloads = [payload for payload in found if isinstance(payload, bytes)]
        if not payloads:
            raise next(error for error in found if isinstance(error, CodecError))
        fitting = [payload for payload in payloads if self._fits(payload)]
        if not fitting:
            return min(payloads, key=len)
        return fitting[0] if len(fitting) == 1 else min(fitting, key=lambda payload: self._error(image, payload))

    def _error(self, image: NDArray[np.uint8], payload: bytes) -> float:
        return float(np.square(self.decode(payload).astype(np.float32) - image).mean())

    def decode_batch(self, payloads: Sequence[bytes]) -> list[NDArray[np.uint8]]:
        """Return the pictures of ``payloads``."""
        opened = [self._opened(payload) for payload in payloads]
        groups: dict[_Rung, list[int]] = {}
        for index, (rung, _) in enumerate(opened):
            groups.setdefault(rung, []).append(index)
        pictures: dict[int, NDArray[np.uint8]] = {}
        for rung, indices in groups.items():
            decoded = self._codec(rung).decode_batch([opened[index][1] for index in indices])
            pictures |= {i: self._enlarged(picture, rung) for i, picture in zip(indices, decoded, strict=True)}
        return [pictures[index] for index in range(len(payloads))]

    def use_device(self, device: str) -> None:
        """Move the codec at all its settings to a torch device."""
        self._device = device
        for codec in self._instances.values():
            codec.use_device(device)

    def _codec(self, rung: _Rung) -> Codec:
        if rung in self._instances:
            self._instances.move_to_end(rung)
            return self._instances[rung]
        changed: dict[str, SettingValue] = {}
        if self._spec.budget_setting:
            # Not 0, which may mean no limit; nothing fits into that anyway.
            changed[self._spec.budget_setting] = max(self._budget - int(self._header), 1)
        elif self._spec.rate_setting and rung.value is not None:
            changed[self._spec.rate_setting] = rung.value
        codec = self._make(changed, self._coded_size(rung.share))
        codec.use_device(self._device)
        self._instances[rung] = codec
        if len(self._instances) > _INSTANCES:
            self._instances.popitem(last=False)
        return codec

    def _works_at(self, share: float) -> bool:
        if self._coded_size(share) == self.size:
            return False
        try:
            self._codec(_Rung(self._values[0], share))
        except UnsupportedSize:
            return False
        return True

    def _coded_size(self, share: float) -> tuple[int, int]:
        if share == 1:
            return self.size
        height, width = (min(side, max(SMALLEST_SIDE, round(side * share))) for side in self.size)
        return height, width

    def _fitting(self, images: NDArray[np.uint8], share: float) -> list[bytes | CodecError]:
        """Return for each picture the highest rung's payload that fits, else the smallest tried, else the error."""
        size = self._coded_size(share)
        if size != self.size:
            images = np.stack([cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in images])
        found = self._encoded(images, self._values[0], share)
        # Rung low[i] fits picture i, rung high[i] does not or is past the end; next to each other where all is tried.
        low = np.zeros(len(images), np.int64)
        high = np.where([self._fits(payload) for payload in found], len(self._values), 1)
        for rung in range(1, min(_LOWEST, len(self._values))):
            indices = np.flatnonzero(high == 1)
            for index, payload in zip(indices, self._encoded(images[indices], self._values[rung], share), strict=True):
                if self._fits(payload):
                    found[index], low[index], high[index] = payload, rung, len(self._values)
                elif isinstance(payload, bytes):
                    kept = found[index]
                    found[index] = min(payload, kept, key=len) if isinstance(kept, bytes) else payload
        while (open_ := high - low > 1).any():
            middle = (low + high) // 2
            for rung in np.unique(middle[open_]):
                indices = np.flatnonzero(open_ & (middle == rung))
                for index, payload in zip(
                    indices, self._encoded(images[indices], self._values[rung], share), strict=True
                ):
                    if self._fits(payload):
                        found[index], low[index] = payload, rung
                    else:
                        high[index] = rung
        return found

    def _encoded(self, images: NDArray[np.uint8], value: SettingValue | None, share: float) -> list[bytes | CodecError]:
        """Return the payload of each picture, or what the codec raised for it."""
        first = b""
        if self._header:
            first = bytes([self._shares.index(share) * len(self._values) + self._values.index(value)])
        if not len(images):
            return []
        codec = self._codec(_Rung(value, share))
        try:
            return [first + payload for payload in codec.encode_batch(images)]
        except CodecError as error:
            if len(images) == 1:
                return [error]
        return [payload for image in images for payload in self._encoded(image[np.newaxis], value, share)]

    def _fits(self, payload: bytes | CodecError) -> bool:
        return isinstance(payload, bytes) and self.bits_per_image(payload) <= 8 * self._budget

    def _opened(self, payload: bytes) -> tuple[_Rung, bytes]:
        if not self._header:
            return _Rung(self._values[0], 1.0), payload
        share, value = divmod(payload[0] if payload else _RUNGS, len(self._values))
        if share >= len(self._shares):
            raise CodecError("the payload's first byte names no setting")
        return _Rung(self._values[value], self._shares[share]), payload[1:]

    def _enlarged(self, picture: NDArray[np.uint8], rung: _Rung) -> NDArray[np.uint8]:
        size = self._coded_size(rung.share)
        if size == self.size:
            return picture
        if picture.shape != (*size, 3) or picture.dtype != np.uint8:
            raise CodecError(f"{self._spec.name} decoded to another picture than {size[1]}x{size[0]}")
        return np.asarray(cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
