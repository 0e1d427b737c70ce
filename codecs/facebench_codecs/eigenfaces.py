"""Eigenfaces (Turk & Pentland 1991) as a codec: PCA of the training faces, uniform quantiser, range coder.

The baseline that a learned codec must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench import (
    Codec,
    CodecError,
    SettingError,
    TrainedOn,
    TrainingJob,
    UnsupportedSize,
    WeightsError,
    kept_weights_dir,
)
from facebench_codecs.entropy import Quantiles, StaticCoder
from facebench_codecs.weights import find_weights, load_weights, save_weights

COMPONENTS = 1000
#: Where a basis of so many is larger than this, there are fewer components: at 128 pixels, 528.
_BASIS_BYTES = 26_000_000
KIND = "eigenfaces"
#: Sums of this many products of an int8 and a uint8 are exact in float32 (127 * 255 * 512 < 2**24).
_EXACT_SUM = 512


class Eigenfaces(Codec):
    """Coefficients of the picture on the principal components of the training faces, quantised and coded."""

    def __init__(self, size: tuple[int, int], *, step: float, weights: str) -> None:
        """``step`` is the quantiser step on coefficients of pictures in [0, 1]; ``weights`` "shipped" or a path."""
        super().__init__(size)
        height, width = size
        path = find_weights("eigenfaces", width) if weights == "shipped" else Path(weights)
        if path is None:
            raise UnsupportedSize(
                f"eigenfaces has no basis for {width}x{height}: run 'facebench train eigenfaces --size {width}'"
            )
        basis = _load_basis(path, path.stat().st_mtime_ns if path.is_file() else 0)
        if (basis.side, basis.side) != size:
            raise UnsupportedSize(f"the basis in {path} is for side {basis.side}, not {width}x{height}")
        self._basis = basis
        self._step = step
        self._coder = StaticCoder.for_step(basis.quantiles, step)
        self.weights_bytes = basis.weights_bytes
        self.weights_digest = basis.digest
        self.trained_on = basis.trained_on

    def symbols(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return the quantised coefficients, (N, 1000) int32, of (N, H, W, 3) uint8 pictures.

        The products are sums of integers, exact in any order: the same alone, in a batch and on any machine.
        """
        flat = images.reshape(len(images), -1)
        blocks = self._basis.integer_blocks
        pixels = np.zeros((len(images), blocks.shape[0] * _EXACT_SUM), np.float32)
        pixels[:, : flat.shape[1]] = flat
        sums = np.zeros((len(images), blocks.shape[2]))
        for part, integers in zip(np.split(pixels, len(blocks), axis=1), blocks, strict=True):
            sums += part @ integers
        coefficients = (sums - self._basis.offset) * self._basis.scale
        return self._coder.clamp(np.rint(coefficients / self._step).clip(-1e9, 1e9).astype(np.int32))

    def ideal_bits(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the ideal code length in bits, (N,), of the symbols of (N, H, W, 3) pictures under the tables."""
        return np.array([self._coder.ideal_bits(symbols) for symbols in self.symbols(images)])

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        return self.encode_batch(image[None])[0]

    def encode_batch(self, images: NDArray[np.uint8]) -> list[bytes]:
        return [self._coder.encode(symbols) for symbols in self.symbols(images)]

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return self.decode_batch([payload])[0]

    def decode_batch(self, payloads: Sequence[bytes]) -> NDArray[np.uint8]:
        symbols = np.stack([self._coder.decode(payload) for payload in payloads])
        values = symbols.astype(np.float32) * np.float32(self._step) @ self._basis.vectors + self._basis.mean
        return np.rint(values.clip(0, 1) * 255).astype(np.uint8).reshape(len(payloads), *self.size, 3)


@dataclass(frozen=True)
class _Basis:
    """The principal components, twice: as float vectors to decode with, as exact integer factors to encode with."""

    side: int
    vectors: NDArray[np.float32]
    mean: NDArray[np.float32]
    integer_blocks: NDArray[np.float32]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    quantiles: Quantiles
    weights_bytes: int
    digest: str
    trained_on: TrainedOn


@lru_cache(maxsize=2)
def _load_basis(path: Path, modified: int) -> _Basis:
    """Read the weights once for all operating points; ``modified`` tells a replaced file."""
    loaded = load_weights(path, KIND)
    try:
        integers, scale, mean = (loaded.tensors[name] for name in ("basis.int8", "basis.scale", "mean"))
        side = int(loaded.meta["side"])
        width = 3 * side**2
        if integers.dtype != np.int8 or integers.shape != (len(scale), width) or not len(scale):
            raise ValueError(f"the basis is {integers.dtype} {integers.shape}")
        for vector, length in ((scale, len(scale)), (mean, width)):
            if (vector.dtype, vector.shape) != (np.float32, (length,)) or not np.isfinite(vector).all():
                raise ValueError("the mean or the scales are not as many finite numbers")
        quantiles = Quantiles.unpack(loaded.tensors, len(scale))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"weights {path} hold no eigenfaces ({error}); train them again") from error
    return _Basis(
        side=side,
        vectors=integers.astype(np.float32) * scale[:, None],
        mean=mean,
        integer_blocks=_blocks(integers),
        offset=255 * (integers.astype(np.float64) @ mean.astype(np.float64)),
        scale=scale.astype(np.float64) / 255,
        quantiles=quantiles,
        weights_bytes=loaded.bytes_of(""),
        digest=loaded.digest,
        trained_on=loaded.trained_on,
    )


def _blocks(integers: NDArray[np.int8]) -> NDArray[np.float32]:
    """(C, D) int8 to (ceil(D / 512), 512, C) float32, the rest zero: factors of exact partial sums."""
    count, width = integers.shape
    padded = np.zeros((count, -(-width // _EXACT_SUM) * _EXACT_SUM), np.float32)
    padded[:, :width] = integers
    return np.ascontiguousarray(padded.reshape(count, -1, _EXACT_SUM).transpose(1, 2, 0))


def train_eigenfaces(job: TrainingJob) -> Path:
    """Fit the basis to the training pictures and keep it; returns the weights file.

    The tables' quantiles are fitted to training and validation pictures together. Raises
    :class:`facebench.SettingError` on options that have no meaning here.
    """
    if job.loss is not None or job.epochs is not None or job.recipe is not None:
        raise SettingError("eigenfaces has no loss, epochs or recipe to choose: leave these options out")
    import torch

    torch.manual_seed(job.seed)
    height, width = job.train.size
    count = min(COMPONENTS, _BASIS_BYTES // (3 * height * width), len(job.train) - 1)
    if count < 1:
        raise CodecError("eigenfaces needs at least two training pictures")
    job.log(f"fitting {count} components to {len(job.train)} pictures of {width}x{height}")
    values = torch.from_numpy(np.array(job.train.images)).reshape(len(job.train), -1).float().div_(255)
    mean = values.mean(dim=0)
    values -= mean
    _, _, components = torch.svd_lowrank(values, q=min(count + 100, len(job.train)), niter=4)
    basis = components[:, :count].T
    scale = basis.abs().amax(dim=1) / 127
    integers = (basis / scale[:, None]).round().to(torch.int8)
    rounded = integers.float() * scale[:, None]
    held_out = torch.from_numpy(np.array(job.valid.images)).reshape(len(job.valid), -1).float().div_(255) - mean
    quantiles = Quantiles.fit(torch.cat([values @ rounded.T, held_out @ rounded.T]).numpy())
    tensors: dict[str, NDArray[Any]] = {
        "basis.int8": integers.numpy(),
        "basis.scale": scale.numpy(),
        "mean": mean.numpy(),
        "quantiles.positions": quantiles.positions,
        "quantiles.units": quantiles.units,
    }
    out = job.out or kept_weights_dir() / f"eigenfaces-{width}.safetensors"
    left = 1 - float((held_out @ rounded.T).square().sum() / held_out.square().sum())
    meta = {"kind": KIND, "side": width, "trained_on": job.trained_on}
    save_weights(out, tensors, meta, {**job.card(), "valid_variance_left": left})
    return out
