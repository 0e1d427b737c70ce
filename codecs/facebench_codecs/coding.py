"""How the latents of a model become payloads: integers under static tables, fitted after training.

No floating-point number decides how a byte is read: tables are made of integers (:mod:`facebench_codecs.entropy`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import constriction
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facebench import CodecError
from facebench_codecs.entropy import (
    FAMILY,
    TOTAL,
    Quantiles,
    StaticCoder,
    Table,
    check_length,
    frequencies_of,
    open_payload,
    shortest_payload,
)
from facebench_codecs.networks import Autoencoder, Coded, LatentModel, exactly, pictures_to_tensor
from facebench_codecs.recipe import Recipe

Tensors = Mapping[str, NDArray[Any]]
#: The network whose latent is coded.
Model = TypeVar("Model", bound=LatentModel)


class Coding(ABC, Generic[Model]):
    """The quantiser and entropy coder of one model at one quantiser step."""

    #: Beginnings of the names of its tensors in a weights file.
    parts: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def fit(cls, model: Model, sets: Sequence[NDArray[np.uint8]], device: str) -> dict[str, NDArray[Any]]:
        """Return its tensors, fitted to sets of (N, S, S, 3) pictures."""

    @abstractmethod
    def __init__(self, recipe: Recipe, side: int, tensors: Tensors, step: float) -> None:
        """Raises KeyError or ValueError if ``tensors`` are not those of ``recipe`` for pictures of ``side`` pixels."""

    def coded(self, first: int, values: Tensor) -> Tensor:
        """Be the :data:`facebench_codecs.networks.Coded` of this coding."""
        return values

    @abstractmethod
    def symbols(self, latent: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the integers that stand for the (D,) mean of a latent."""

    @abstractmethod
    def latents(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the (N, D) latents that rows of symbols stand for."""

    @abstractmethod
    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        """Return the payload of one row of symbols."""

    @abstractmethod
    def decode(self, payload: bytes) -> NDArray[np.int32]:
        """Return the symbols of ``payload``; raises CodecError if it cannot be one."""

    @abstractmethod
    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        """Return the ideal code length in bits of one row of symbols."""


class StaticCoding(Coding[LatentModel]):
    """The latent mean, divided by the latent's own noise and the step, rounded; one table per dimension."""

    parts = ("latent.", "quantiles.")

    @classmethod
    def fit(cls, model: LatentModel, sets: Sequence[NDArray[np.uint8]], device: str) -> dict[str, NDArray[Any]]:
        means, scale = latent_statistics(model, sets, device)
        quantiles = Quantiles.fit(means / scale)
        return {
            "latent.scale": scale,
            "quantiles.positions": quantiles.positions,
            "quantiles.units": quantiles.units,
        }

    def __init__(self, recipe: Recipe, side: int, tensors: Tensors, step: float) -> None:
        noise = noise_of(tensors, math.prod(recipe.latent_shape))
        self._coder = StaticCoder.for_step(Quantiles.unpack(tensors, len(noise)), step)
        self._steps = noise * np.float32(step)

    def symbols(self, latent: NDArray[np.float32]) -> NDArray[np.int32]:
        return self._coder.clamp(rounded(latent, self._steps))

    def latents(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        return symbols.astype(np.float32) * self._steps

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        return self._coder.encode(symbols)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        return self._coder.decode(payload)

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        return self._coder.ideal_bits(symbols)


class MixtureCoding(Coding[Autoencoder]):
    """As :class:`StaticCoding`, under the tables of that component of a mixture that makes the payload shortest.

    After Qian et al. 2019 (AF-VAE): the prior is a mixture of Gaussians learned with the model. The payload begins with
    the component; symbols are the component's number and then those of the latent.
    """

    parts = ("latent.", "mixture.")

    @classmethod
    def fit(cls, model: Autoencoder, sets: Sequence[NDArray[np.uint8]], device: str) -> dict[str, NDArray[Any]]:
        means, scale = latent_statistics(model, sets, device)
        assert model.prior is not None
        with torch.inference_mode():
            component = model.prior.responsible(torch.from_numpy(means).to(device)).cpu().numpy()
        count = model.prior.components
        quantiles = [
            # A component that almost no face is of takes the tables of all: it is hardly ever chosen.
            Quantiles.fit((means[component == k] if (component == k).sum() >= _FEW else means) / scale)
            for k in range(count)
        ]
        return {
            "latent.scale": scale,
            "mixture.faces": np.bincount(component, minlength=count).astype(np.int64),
            "mixture.positions": np.concatenate([q.positions for q in quantiles]),
            "mixture.units": np.concatenate([q.units for q in quantiles]),
        }

    def __init__(self, recipe: Recipe, side: int, tensors: Tensors, step: float) -> None:
        noise = noise_of(tensors, math.prod(recipe.latent_shape))
        count, dimensions = recipe.components, len(noise)
        faces = tensors["mixture.faces"]
        if (faces.dtype, faces.shape) != (np.int64, (count,)) or faces.min() < 0 or faces.max() > 1 << 40:
            raise ValueError("the mixture's numbers of faces are damaged")
        names = {"quantiles.positions": tensors["mixture.positions"], "quantiles.units": tensors["mixture.units"]}
        every = Quantiles.unpack(names, count * dimensions)
        self._components = [
            StaticCoder.for_step(Quantiles(every.positions[rows], every.units[rows]), step)
            for rows in (slice(k * dimensions, (k + 1) * dimensions) for k in range(count))
        ]
        self._choice = StaticCoder([Table(0, frequencies_of(faces + 1))])
        self._steps = noise * np.float32(step)

    def symbols(self, latent: NDArray[np.float32]) -> NDArray[np.int32]:
        near = rounded(latent, self._steps)
        rows = [np.concatenate([[k], coder.clamp(near)]).astype(np.int32) for k, coder in enumerate(self._components)]
        # What a component cannot code it clamps: that must not make it the cheapest.
        lost = [float(np.abs(row[1:] - near).sum()) for row in rows]
        return min(zip(lost, map(self.ideal_bits, rows), rows, strict=True), key=lambda found: found[:2])[2]

    def latents(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        return symbols[:, 1:].astype(np.float32) * self._steps

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        encoder = constriction.stream.queue.RangeEncoder()
        self._choice.write(encoder, symbols[:1])
        self._components[symbols[0]].write(encoder, symbols[1:])
        return shortest_payload(encoder)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        check_length(payload, self._components[0].dimensions)
        decoder = open_payload(payload)
        choice = self._choice.read(decoder)
        return np.concatenate([choice, self._components[choice[0]].read(decoder)])

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        return self._choice.ideal_bits(symbols[:1]) + self._components[symbols[0]].ideal_bits(symbols[1:])


class ContextCoding(Coding[Autoencoder]):
    """The codes of the first stages of a residual quantiser, each under the table of its place and context.

    The context of a code is the group of the one before it: in the first stage its neighbour to the left (above, in the
    first column), in others the stage before at the same place. Codes are grouped by their vectors when the prior is
    fitted; a table counts how often each code was seen there, and in all contexts of its place.
    """

    parts = ("quantiser.codebooks", "context.")

    @classmethod
    def fit(cls, model: Autoencoder, sets: Sequence[NDArray[np.uint8]], device: str) -> dict[str, NDArray[Any]]:
        assert model.quantiser is not None
        stages, codes, _ = model.quantiser.codebooks.shape
        books = model.quantiser.codebooks.cpu().numpy()
        means, _ = latent_statistics(model, sets, device)
        indices = _nearest(books, means)
        places = indices.shape[2]
        groups = np.stack([_groups_of(book) for book in books])
        side = math.isqrt(places)
        tables = np.zeros((stages, places, _GROUPS + 1, codes), np.uint16)
        for stage in range(stages):
            for place in range(places):
                context = _context(indices, groups, stage, place, side)
                everywhere = np.bincount(indices[:, stage, place], minlength=codes)
                tables[stage, place, _GROUPS] = _shares(everywhere + everywhere.mean() * _PRIOR_OF_ALL)
                for group in range(_GROUPS):
                    seen = np.bincount(indices[context == group, stage, place], minlength=codes)
                    prior = tables[stage, place, _GROUPS] / tables[stage, place, _GROUPS].sum()
                    tables[stage, place, group] = _shares(seen + _PRIOR_OF_PLACE * prior)
        return {"context.groups": groups, "context.tables": tables}

    def __init__(self, recipe: Recipe, side: int, tensors: Tensors, step: float) -> None:
        """``step`` is the number of stages that are coded."""
        self._stages = min(int(step), recipe.stages)
        self._side = recipe.latent_side
        places = self._side**2
        books, groups, tables = (tensors[n] for n in ("quantiser.codebooks", "context.groups", "context.tables"))
        shape = (recipe.stages, recipe.codes, recipe.latent_channels)
        if (books.dtype, books.shape) != (np.float32, shape) or not np.isfinite(books).all():
            raise ValueError(f"the codebooks are {books.dtype} {books.shape}, or not finite")
        if (groups.dtype, groups.shape) != (np.uint8, shape[:2]) or groups.max() >= _GROUPS:
            raise ValueError(f"the groups of codes are {groups.dtype} {groups.shape}")
        if (tables.dtype, tables.shape) != (np.uint16, (recipe.stages, places, _GROUPS + 1, recipe.codes)):
            raise ValueError(f"the tables of codes are {tables.dtype} {tables.shape}")
        if tables.min() < 1:
            raise ValueError("a code has no share in a table")
        self._books, self._groups = books, groups
        used = tables[: self._stages].astype(np.int64)
        frequencies = np.stack([frequencies_of(table) for table in used.reshape(-1, recipe.codes)])
        self._probabilities = (frequencies.reshape(used.shape) / TOTAL).astype(np.float32)
        self._bits = -np.log2(self._probabilities.astype(np.float64))

    def symbols(self, latent: NDArray[np.float32]) -> NDArray[np.int32]:
        return _nearest(self._books[: self._stages], latent[None]).reshape(-1).astype(np.int32)

    def latents(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        indices = symbols.reshape(len(symbols), self._stages, -1)
        total = np.zeros((len(symbols), indices.shape[2], self._books.shape[2]), np.float32)
        for stage in range(self._stages):
            total += self._books[stage][indices[:, stage]]
        return total.transpose(0, 2, 1).reshape(len(symbols), -1)

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        encoder = constriction.stream.queue.RangeEncoder()
        indices = symbols.reshape(1, self._stages, -1).astype(np.int64)
        for stage, places in self._runs():
            rows = self._rows(indices, stage, places)
            encoder.encode(np.ascontiguousarray(indices[0, stage, places]).astype(np.int32), FAMILY, rows)
        return shortest_payload(encoder)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        check_length(payload, self._stages * self._side**2)
        decoder = open_payload(payload)
        indices = np.zeros((1, self._stages, self._side**2), np.int64)
        for stage, places in self._runs():
            try:
                indices[0, stage, places] = decoder.decode(FAMILY, self._rows(indices, stage, places))
            except (AssertionError, ValueError) as error:
                raise CodecError("payload is damaged: it ends in no valid code") from error
        return indices.reshape(-1).astype(np.int32)

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        indices = symbols.reshape(1, self._stages, -1).astype(np.int64)
        total = 0.0
        for stage in range(self._stages):
            for place in range(indices.shape[2]):
                group = _context(indices, self._groups, stage, place, self._side)[0]
                total += self._bits[stage, place, group, indices[0, stage, place]]
        return total

    def _runs(self) -> list[tuple[int, NDArray[np.intp]]]:
        """Return the stages and places whose contexts are known at the same time, in the order of coding."""
        grid = np.arange(self._side**2).reshape(self._side, self._side)
        rows_first = [(0, grid[row : row + 1, 0]) for row in range(self._side)]
        columns = [(0, grid[:, column]) for column in range(1, self._side)]
        return rows_first + columns + [(stage, grid.reshape(-1)) for stage in range(1, self._stages)]

    def _rows(self, indices: NDArray[np.int64], stage: int, places: NDArray[np.intp]) -> NDArray[np.float32]:
        groups = [_context(indices, self._groups, stage, int(place), self._side)[0] for place in places]
        return np.ascontiguousarray(self._probabilities[stage, places, groups])


#: Groups of codes that a context tells apart; the table after theirs is that of a place without a context.
_GROUPS = 8
#: What is known beforehand counts as so many codes seen: each code's own share, and the place's table.
_PRIOR_OF_ALL, _PRIOR_OF_PLACE = 0.1, 100.0
_SHARES_SUM = 1 << 15


def _nearest(books: NDArray[np.float32], latents: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the codes of (N, D) latents, (N, stages, places): each stage codes what the stages before have left."""
    left = latents.reshape(len(latents), books.shape[2], -1).transpose(0, 2, 1).copy()
    found = []
    for book in books:
        chosen = ((book**2).sum(1) - 2 * left @ book.T).argmin(2)
        left -= book[chosen]
        found.append(chosen)
    return np.stack(found, 1)


def _context(
    indices: NDArray[np.int64], groups: NDArray[np.uint8], stage: int, place: int, side: int
) -> NDArray[np.int64]:
    """Return the context of a code in each of (N, stages, places) ``indices``, (N,)."""
    if stage:
        return groups[stage - 1][indices[:, stage - 1, place]].astype(np.int64)
    if place == 0:
        return np.full(len(indices), _GROUPS)
    before = place - 1 if place % side else place - side
    return groups[0][indices[:, 0, before]].astype(np.int64)


def _groups_of(book: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the group of each of (K, C) vectors: by the signs of their first principal components, (K,) uint8."""
    centred = book - book.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    scores = centred @ directions[: _GROUPS.bit_length() - 1].T
    bits = (scores > np.median(scores, axis=0)).astype(np.uint8)
    return np.asarray((bits << np.arange(bits.shape[1], dtype=np.uint8)).sum(1), np.uint8)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return whole numbers in proportion to ``weights``, at least 1 and about 2**15 in all."""
    return np.maximum(np.rint(weights / weights.sum() * _SHARES_SUM), 1).astype(np.uint16)


#: Faces that a component of a mixture needs for tables of its own.
_FEW = 100


def latent_statistics(
    model: LatentModel, sets: Sequence[NDArray[np.uint8]], device: str, coded: Coded = exactly
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the latent means, (N, D), and the mean posterior standard deviation of each dimension, (D,)."""
    means, deviations = [], []
    with torch.inference_mode():
        for images in sets:
            for start in range(0, len(images), 256):
                mean, log_variance = model.posterior(pictures_to_tensor(images[start : start + 256], device), coded)
                means.append(mean.flatten(1).cpu().numpy())
                deviations.append((0.5 * log_variance).exp().flatten(1).cpu().numpy())
    return np.concatenate(means), np.concatenate(deviations).mean(axis=0)


def noise_of(tensors: Tensors, dimensions: int) -> NDArray[np.float32]:
    """Return the noise of so many latent values, (D,), from a weights file; raises ValueError on anything else."""
    noise = tensors["latent.scale"]
    if (noise.dtype, noise.shape) != (np.float32, (dimensions,)) or not (np.isfinite(noise) & (noise > 0)).all():
        raise ValueError(f"the latent's noise is {noise.dtype} {noise.shape}, or not finite and positive")
    return noise


def rounded(latent: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return (..., D) latents in whole ``steps``, (D,)."""
    return np.asarray(np.rint(latent / steps).clip(-1e9, 1e9), np.int32)
