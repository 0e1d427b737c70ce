"""dlib's face network in torch: the same weights and the same numbers, fifteen times as fast.

dlib 20 runs dlib_face_recognition_resnet_model_v1 (King 2017; its architecture is that of dlib's example
dnn_face_recognition_ex.cpp, a ResNet with 29 convolutions) in about 55 ms a face on one core, in batches too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad, relu

from facebench_identity.models import NETWORK, model_file

#: Side of the pictures that the network takes.
SIDE = 150
#: Faces that go through the network together; more are no faster.
_BATCH = 16
#: What dlib subtracts from R, G, B before it divides by 256.
_MEAN = (122.782, 117.001, 104.298)
#: Output channels and number of residual blocks of each level; all levels but the first halve the sides.
_LEVELS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
_EMBEDDING = 128

_Convolution = tuple[Tensor, Tensor]


def describe_faces(chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return the embeddings, (N, 128), of face chips, each (150, 150, 3) uint8 RGB, as dlib computes them."""
    network = _network()
    found = np.empty((len(chips), _EMBEDDING))
    for start in range(0, len(chips), _BATCH):
        batch = np.stack(chips[start : start + _BATCH])
        found[start : start + _BATCH] = network(batch)
    return found


class _Weights:
    """Reads the parameters in a dlib file one after the other, in the order in which pictures meet the layers.

    dlib writes a tensor as the numbers 2 (its version), its four dimensions, and its values as little-endian float32.
    A number is one byte that says how many bytes follow, and those. What lies between the tensors (names, strides,
    learning rates) is skipped: the architecture is known.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._data, self._position = file, file.read_bytes(), 0

    def tensor(self, *dimensions: int) -> Tensor:
        """Return the next tensor of these four dimensions, flat; raises ValueError if there is none."""
        header = b"".join(_number(value) for value in (2, *dimensions))
        found = self._data.find(header, self._position)
        count = int(np.prod(dimensions))
        start = found + len(header)
        self._position = start + 4 * count
        if found < 0 or self._position > len(self._data):
            raise ValueError(f"{self._file} is damaged: reinstall face_recognition_models")
        return torch.from_numpy(np.frombuffer(self._data, "<f4", count, start).astype(np.float32))

    def convolution(self, before: int, after: int, side: int) -> _Convolution:
        """Return the next convolution with its affine layer: weights (after, before, side, side), biases (after,)."""
        count = after * before * side * side
        values = self.tensor(count + after, 1, 1, 1)
        gain, offset = self.tensor(2 * after, 1, 1, 1).reshape(2, after)
        weights = values[:count].reshape(after, before, side, side) * gain[:, None, None, None]
        return weights.contiguous(memory_format=torch.channels_last), values[count:] * gain + offset


def _number(value: int) -> bytes:
    length = (value.bit_length() + 7) // 8 or 1
    return bytes([length]) + value.to_bytes(length, "little")


class _Network:
    def __init__(self, file: Path) -> None:
        weights = _Weights(file)
        self._mean = torch.tensor(_MEAN)
        self._first = weights.convolution(3, 32, 7)
        self._blocks: list[tuple[int, _Convolution, _Convolution]] = []
        before = 32
        for level, (after, count) in enumerate(_LEVELS):
            for block in range(count):
                stride = 2 if level and not block else 1
                self._blocks.append(
                    (stride, weights.convolution(before, after, 3), weights.convolution(after, after, 3))
                )
                before = after
        self._last = weights.tensor(before, _EMBEDDING, 1, 1).reshape(before, _EMBEDDING)

    @torch.inference_mode()
    def __call__(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings, (N, 128), of (N, 150, 150, 3) uint8 RGB chips."""
        # Seen as (N, 3, H, W) this is channels-last, in which torch convolves fastest.
        pictures = ((torch.from_numpy(chips) - self._mean) / 256).permute(0, 3, 1, 2)
        values = max_pool2d(relu(conv2d(pictures, *self._first, stride=2)), 3, 2)
        for stride, first, second in self._blocks:
            # dlib pads a convolution only where it does not stride.
            inner = relu(conv2d(values, *first, stride=stride, padding=2 - stride))
            values = relu(_sum(avg_pool2d(values, 2) if stride == 2 else values, conv2d(inner, *second, padding=1)))
        embedding: NDArray[np.float32] = (values.mean((2, 3)) @ self._last).numpy()
        return embedding


def _sum(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum as dlib's add_prev gives it: where one tensor has no channel, row or column, it counts as zero."""
    channels, rows, columns = (max(pair) for pair in zip(one.shape[1:], other.shape[1:], strict=True))

    def full(part: Tensor) -> Tensor:
        missing = (columns - part.shape[3], rows - part.shape[2], channels - part.shape[1])
        return pad(part, [side for count in missing for side in (0, count)]) if any(missing) else part

    return full(one) + full(other)


@lru_cache
def _network() -> _Network:
    return _Network(model_file(NETWORK))
