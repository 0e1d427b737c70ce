"""Eigenfaces (Turk & Pentland 1991) as a codec: PCA of the training faces, uniform quantiser, range coder.

The baseline that a learned codec must beat. The PCA is that of the faces and of their mirror images (Kirby &
Sirovich 1990), so that each component is even or odd: its own mirror image, or the negative of it. Its left half is
enough to store. Half a picture is ``D = 3 * side * ceil(side / 2)`` values, row by row; of an odd width, both halves
have the middle column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from torch import Tensor

COMPONENTS = 1000
#: Where so many take more bytes than this, there are fewer components: at 128 pixels, 528.
_BASIS_BYTES = 13_000_000
KIND = "eigenfaces"
#: Sums of this many products of an int8 and an integer of at most 255 are exact in float32 (128 * 255 * 512 < 2**24).
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
        coefficients = np.empty((len(images), self._coder.dimensions))
        for part in (self._basis.even, self._basis.odd):
            coefficients[:, part.places] = part.coefficients(images)
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
        values = symbols.astype(np.float32) * np.float32(self._step)
        even, odd = (values[:, part.places] @ part.vectors for part in (self._basis.even, self._basis.odd))
        even += self._basis.mean
        height, width = self.size
        left, right = (
            np.rint(half.clip(0, 1) * 255).astype(np.uint8).reshape(len(payloads), height, -1, 3)
            for half in (even + odd, even - odd)
        )
        return np.concatenate([left, right[:, :, width // 2 - 1 :: -1]], axis=2)


@dataclass(frozen=True)
class _Part:
    """The even or the odd components' left halves: floats to decode with, exact integer factors to encode with.

    ``places`` (M,) are theirs among all components.
    """

    is_odd: bool
    places: NDArray[np.intp]
    vectors: NDArray[np.float32]
    integer_blocks: NDArray[np.float32]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def coefficients(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the coefficients, (N, M), of (N, H, W, 3) pictures."""
        folded = _folded(images, self.is_odd)
        if not self.is_odd:
            folded -= 255  # at most 255 from zero, as differences are
        blocks = self.integer_blocks
        values = np.zeros((len(images), blocks.shape[0] * _EXACT_SUM), np.float32)
        values[:, : folded.shape[1]] = folded
        sums = np.zeros((len(images), blocks.shape[2]))
        for part, integers in zip(np.split(values, len(blocks), axis=1), blocks, strict=True):
            sums += part @ integers
        return (sums - self.offset) * self.scale


@dataclass(frozen=True)
class _Basis:
    """The principal components and the left half of the mean, (D,)."""

    side: int
    even: _Part
    odd: _Part
    mean: NDArray[np.float32]
    quantiles: Quantiles
    weights_bytes: int
    digest: str
    trained_on: TrainedOn


@lru_cache(maxsize=2)
def _load_basis(path: Path, modified: int) -> _Basis:
    """Read the weights once for all operating points; ``modified`` tells a replaced file."""
    loaded = load_weights(path, KIND)
    try:
        names = ("basis.int8", "basis.scale", "basis.odd", "mean")
        integers, scale, odd, mean = (loaded.tensors[name] for name in names)
        side = int(loaded.meta["side"])
        width = 3 * side * -(-side // 2)
        if integers.dtype != np.int8 or integers.shape != (len(scale), width) or not len(scale) or side < 1:
            raise ValueError(f"the basis is {integers.dtype} {integers.shape}")
        for vector, length in ((scale, len(scale)), (mean, width)):
            if (vector.dtype, vector.shape) != (np.float32, (length,)) or not np.isfinite(vector).all():
                raise ValueError("the mean or the scales are not as many finite numbers")
        if (odd.dtype, odd.shape) != (np.uint8, (len(scale),)) or odd.max() > 1:
            raise ValueError("which components are odd is not told by as many zeros and ones")
        quantiles = Quantiles.unpack(loaded.tensors, len(scale))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"weights {path} hold no eigenfaces ({error}); train them again") from error
    # The mean as folded pictures are: an even one is less 255 (see _Part.coefficients), an odd one zero.
    centre = 255 * (mean.astype(np.float64) * _shares(side) - 1)
    return _Basis(
        side=side,
        even=_part(integers, scale, odd == 0, centre),
        odd=_part(integers, scale, odd == 1, None),
        mean=mean,
        quantiles=quantiles,
        weights_bytes=loaded.bytes_of(""),
        digest=loaded.digest,
        trained_on=loaded.trained_on,
    )


def _part(
    integers: NDArray[np.int8],
    scale: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    centre: NDArray[np.float64] | None,
) -> _Part:
    """Return the ``chosen`` ones; the even ones have a ``centre``, (D,), which is taken off what they multiply."""
    integers, scale = integers[chosen], scale[chosen]
    return _Part(
        is_odd=centre is None,
        places=np.flatnonzero(chosen),
        vectors=integers.astype(np.float32) * scale[:, None],
        integer_blocks=_blocks(integers),
        offset=np.zeros(len(scale)) if centre is None else integers.astype(np.float64) @ centre,
        scale=scale.astype(np.float64) / 255,
    )


def _blocks(integers: NDArray[np.int8]) -> NDArray[np.float32]:
    """(M, D) int8 to (ceil(D / 512), 512, M) float32, the rest zero: factors of exact partial sums."""
    count, width = integers.shape
    padded = np.zeros((count, -(-width // _EXACT_SUM) * _EXACT_SUM), np.float32)
    padded[:, :width] = integers
    return np.ascontiguousarray(padded.reshape(count, -1, _EXACT_SUM).transpose(1, 2, 0))


def _shares(side: int) -> NDArray[np.float32]:
    """Return how many values of a picture each one of its half stands for, (D,): 2, in a middle column 1."""
    shares = np.full((side, -(-side // 2), 3), 2, np.float32)
    if side % 2:
        shares[:, -1] = 1
    return shares.ravel()


def _folded(images: NDArray[np.uint8], is_odd: bool) -> NDArray[np.int16]:
    """Return the left halves of (N, S, S, 3) pictures plus, or minus, the mirrored right halves, (N, D)."""
    side = images.shape[2]
    left, mirrored = (part[:, :, : -(-side // 2)].astype(np.int16) for part in (images, images[:, :, ::-1]))
    folded = left - mirrored if is_odd else left + mirrored
    if side % 2:
        folded[:, :, -1] //= 2  # one column, folded onto itself
    return folded.reshape(len(images), -1)


def train_eigenfaces(job: TrainingJob) -> Path:
    """Fit the basis to the training pictures and keep it; returns the weights file.

    The tables' quantiles are fitted to training and validation pictures together, and all is fitted to their mirror
    images as well. Raises :class:`facebench.SettingError` on options that have no meaning here.
    """
    if job.loss is not None or job.epochs is not None or job.recipe is not None:
        raise SettingError("eigenfaces has no loss, epochs or recipe to choose: leave these options out")
    import torch

    torch.manual_seed(job.seed)
    height, width = job.train.size
    shares = torch.from_numpy(_shares(width))
    count = min(COMPONENTS, _BASIS_BYTES // len(shares), len(job.train) - 1, 3 * height * width)
    if count < 1:
        raise CodecError("eigenfaces needs at least two training pictures")
    job.log(f"fitting {count} components to {len(job.train)} pictures of {width}x{height} and their mirror images")
    # Even and odd parts of pictures are orthogonal. Divided by the root of the shares, lengths are whole pictures'.
    values, held_out = (
        [torch.from_numpy(_folded(np.array(part.images), is_odd)).float().div_(255) for is_odd in (False, True)]
        for part in (job.train, job.valid)
    )
    mean = values[0].mean(dim=0)
    for parts in (values, held_out):
        parts[0] -= mean
        for part in parts:
            part /= shares.sqrt()
    vectors, odd = _principal(values, count)
    halves = vectors / shares.sqrt()
    scale = halves.abs().amax(dim=1) / 127
    integers = (halves / scale[:, None]).round().to(torch.int8)
    rounded = integers.float() * scale[:, None] * shares.sqrt()
    kept = _projected(held_out, rounded, odd)
    known = torch.cat([_projected(values, rounded, odd), kept])
    quantiles = Quantiles.fit(torch.cat([known, torch.where(odd, -known, known)]).numpy())
    tensors: dict[str, NDArray[Any]] = {
        "basis.int8": integers.numpy(),
        "basis.scale": scale.numpy(),
        "basis.odd": odd.to(torch.uint8).numpy(),
        "mean": (mean / shares).numpy(),
        "quantiles.positions": quantiles.positions,
        "quantiles.units": quantiles.units,
    }
    out = job.out or kept_weights_dir() / f"eigenfaces-{width}.safetensors"
    left = 1 - float(kept.square().sum() / sum(part.square().sum() for part in held_out))
    meta = {"kind": KIND, "side": width, "trained_on": job.trained_on}
    save_weights(out, tensors, meta, {**job.card(), "valid_variance_left": left})
    return out


def _principal(values: Sequence[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` components of largest variance, (C, D) of unit length, and which of them are odd, (C,) bool.

    ``values`` are the pictures' even and odd parts, both (N, D).
    """
    import torch

    found = [torch.svd_lowrank(part, q=min(count + 100, *part.shape), niter=4) for part in values]
    order = torch.cat([singular for _, singular, _ in found]).argsort(descending=True, stable=True)[:count]
    return torch.cat([vectors.T for _, _, vectors in found])[order], order >= len(found[0][1])


def _projected(values: Sequence[Tensor], vectors: Tensor, odd: Tensor) -> Tensor:
    """Return the coefficients, (N, C), of pictures whose even and odd parts are ``values``, both (N, D)."""
    even_and_odd = [part @ vectors.T for part in values]
    return even_and_odd[1].where(odd, even_and_odd[0])
