"""How the latent of a hierarchical VAE becomes a payload: group by group, each encoded as the decoder will see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facebench_codecs.coding import Coding, Tensors, latent_statistics, noise_of, rounded
from facebench_codecs.conditional import ConditionalPrior
from facebench_codecs.entropy import check_length, open_payload, shortest_payload
from facebench_codecs.hierarchical import HierarchicalAutoencoder, latent_groups
from facebench_codecs.recipe import Recipe


class HierarchicalCoding(Coding[HierarchicalAutoencoder]):
    """The latent, divided by its own noise and the step, rounded, under the tables of a conditional prior.

    A latent value is its distance from what the network expects. That expectation is a floating-point number; it moves
    the picture that is decoded, never the meaning of a byte.
    """

    parts = ("latent.", "quantiles.", "context.")

    @classmethod
    def fit(
        cls, model: HierarchicalAutoencoder, sets: Sequence[NDArray[np.uint8]], device: str
    ) -> dict[str, NDArray[Any]]:
        _, noise = latent_statistics(model, sets, device)

        def values_at(step: float) -> NDArray[np.float32]:
            steps = torch.from_numpy(noise * np.float32(step)).to(device)

            def coded(first: int, values: Tensor) -> Tensor:
                unit = steps[first : first + values.shape[1]]
                return (values / unit).round() * unit

            values, _ = latent_statistics(model, sets, device, coded)
            return values / noise

        return {"latent.scale": noise, **ConditionalPrior.fit(model.groups, values_at)}

    def __init__(self, recipe: Recipe, side: int, tensors: Tensors, step: float) -> None:
        groups = latent_groups(recipe, side)
        self._steps = noise_of(tensors, groups[-1].values.stop) * np.float32(step)
        self._prior = ConditionalPrior(groups, tensors, step)

    def coded(self, first: int, values: Tensor) -> Tensor:
        steps = self._steps[first : first + values.shape[1]]
        near = self._prior.clamp(rounded(values.cpu().numpy(), steps), first)
        return torch.from_numpy(near.astype(np.float32) * steps).to(values)

    def symbols(self, latent: NDArray[np.float32]) -> NDArray[np.int32]:
        return self._prior.clamp(rounded(latent, self._steps))

    def latents(self, symbols: NDArray[np.int32]) -> NDArray[np.float32]:
        return symbols.astype(np.float32) * self._steps

    def encode(self, symbols: NDArray[np.int32]) -> bytes:
        encoder = constriction.stream.queue.RangeEncoder()
        self._prior.write(encoder, symbols)
        return shortest_payload(encoder)

    def decode(self, payload: bytes) -> NDArray[np.int32]:
        check_length(payload, self._prior.dimensions)
        return self._prior.read(open_payload(payload))

    def ideal_bits(self, symbols: NDArray[np.int32]) -> float:
        return self._prior.ideal_bits(symbols)
