"""facet's weights file: one linear transform, and for each tune both networks, the steps and the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facebench import SettingError, TrainedOn, WeightsError
from facebench_codecs.facet.basis import Basis
from facebench_codecs.facet.network import Facet, Shape
from facebench_codecs.facet.packing import pack, pack_rows, unpack, unpack_rows
from facebench_codecs.facet.tables import Codebook
from facebench_codecs.weights import load_weights

KIND = "facet"
_LINEAR = "linear."


@dataclass(frozen=True)
class Tuned:
    """What a codec of one tune works with: networks and their tables, those of the bare linear transform, and the
    energy (Linear.energy) that few training faces exceed."""

    network: Facet
    codebook: Codebook
    linear_codebook: Codebook
    usual_energy: float
    weights_bytes: int
    digest: str
    trained_on: TrainedOn


def tune_tensors(tune: str, network: Facet, codebook: Codebook) -> dict[str, NDArray[Any]]:
    """Return the tensors of one tune for a weights file."""
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(_LINEAR)}
    return pack(state, f"{tune}.") | codebook.pack(f"{tune}.tables.")


def basis_tensors(basis: Basis) -> dict[str, NDArray[Any]]:
    """Return the linear transform's tensors for a weights file."""
    return {
        **pack_rows(basis.halves, f"{_LINEAR}halves"),
        f"{_LINEAR}odd": basis.odd.astype(np.uint8),
        f"{_LINEAR}mean": basis.mean,
        f"{_LINEAR}deviation": basis.deviation,
    }


def linear_tensors(codebook: Codebook, usual_energy: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the tables of bare PCA coefficients and the usual energy (1,) for a weights file."""
    return codebook.pack(f"{_LINEAR}tables.") | {f"{_LINEAR}usual_energy": usual_energy}


def read_basis(tensors: Mapping[str, NDArray[Any]], side: int) -> Basis:
    """Return the linear transform as :func:`basis_tensors` stored it."""
    return Basis(
        unpack_rows(tensors, f"{_LINEAR}halves"),
        tensors[f"{_LINEAR}odd"].astype(bool),
        tensors[f"{_LINEAR}mean"],
        tensors[f"{_LINEAR}deviation"],
        side,
    )


def make_network(shape: Shape, basis: Basis) -> Facet:
    """Return an untrained network around ``basis``."""
    network = Facet(shape)
    for name, values in _linear_state(basis).items():
        network.get_buffer(name).copy_(values)
    return network


def _linear_state(basis: Basis) -> dict[str, torch.Tensor]:
    """Return the linear transform's entries in a network's state."""
    values = {"basis": basis.vectors(), "mean": basis.whole_mean(), "deviation": basis.deviation}
    return {f"{_LINEAR}{name}": torch.from_numpy(value).float() for name, value in values.items()}


def load_tuned(path: Path, tune: str) -> Tuned:
    """Read one tune of ``path``; raises WeightsError on a damaged file, SettingError where it has no such tune."""
    return _load(path, tune, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _load(path: Path, tune: str, modified: int) -> Tuned:
    """Read the weights once for all operating points; ``modified`` tells a replaced file."""
    loaded = load_weights(path, KIND)
    tunes = sorted({name.partition(".")[0] for name in loaded.tensors} - {_LINEAR.rstrip(".")})
    if tune not in tunes:
        raise SettingError(f"facet has no tune={tune} in {path.name}: use {' or '.join(tunes)}")
    try:
        shape = Shape(**loaded.meta["shape"])
        shape.check(len(loaded.tensors))
        basis = read_basis(loaded.tensors, shape.side)
        tables = f"{tune}.tables."
        own = {name: t for name, t in loaded.tensors.items() if name.startswith(f"{tune}.")}
        state = {name: t for name, t in own.items() if not name.startswith(tables)}
        # Without memory of its own: a damaged description may name networks of any size.
        with torch.device("meta"):
            network = Facet(shape)
        network.load_state_dict(unpack(state, f"{tune}.") | _linear_state(basis), assign=True)
        if any(not np.isfinite(t).all() for t in loaded.tensors.values()):
            raise ValueError("a tensor holds numbers that are none")
        codebook = Codebook.unpack(own, tables, shape.components)
        linear_codebook = Codebook.unpack(loaded.tensors, f"{_LINEAR}tables.", shape.components)
        usual_energy = float(loaded.tensors[f"{_LINEAR}usual_energy"][0])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights {path} do not hold a facet codec ({why}); train them again") from error
    network.eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder = (_LINEAR, f"{tune}.synthesis.", f"{tune}.log_step", tables)
    size = loaded.bytes_of(*decoder)
    return Tuned(network, codebook, linear_codebook, usual_energy, size, loaded.digest, loaded.trained_on)
