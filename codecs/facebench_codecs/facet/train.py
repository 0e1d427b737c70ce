"""``facebench train facet``: one tune at a time, into one weights file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facebench import SettingError, TrainingJob, WeightsError, kept_weights_dir
from facebench_codecs.checkpoint import make_room
from facebench_codecs.facet.basis import Basis, principal_components
from facebench_codecs.facet.colour import planes_to_vector, rgb_to_planes
from facebench_codecs.facet.network import Facet, Shape, hat
from facebench_codecs.facet.recipe import FacetRecipe, named_recipe
from facebench_codecs.facet.tables import RATES, USUAL, Codebook, fit_codebook, linear_step
from facebench_codecs.facet.training import CURVE_RATES, run_identity, train_facet_network
from facebench_codecs.facet.weights import (
    KIND,
    basis_tensors,
    linear_tensors,
    load_tuned,
    make_network,
    read_basis,
    tune_tensors,
)
from facebench_codecs.networks import pictures_to_tensor
from facebench_codecs.parallel import Processes
from facebench_codecs.recogniser import recogniser_for
from facebench_codecs.weights import find_weights, load_weights, save_weights

#: Pictures of each split that the tables of one rate are fitted to.
_TABLE_PICTURES = 1600


def train_facet(job: TrainingJob) -> Path:
    """Train the tune ``job.recipe`` ("ssim" unless told); returns the weights file.

    A recipe that starts from nothing fits the linear transform and begins the file anew; one that starts from
    another tune is added to the tunes of the file that holds it. A
    checkpoint lies beside the file. Of several processes (:mod:`facebench_codecs.parallel`) only the first reads
    and writes files. Raises :class:`facebench.SettingError` on a wrong option, or more processes than a batch has
    pictures.
    """
    processes = Processes.started(job.device)
    if job.loss is not None or job.epochs is not None:
        raise SettingError("facet's recipes say the loss and the steps: choose one with --recipe, leave these out")
    side = job.train.size[0]
    recipe = named_recipe(job.recipe or "ssim", side)
    out = job.out or kept_weights_dir() / f"facet-{side}.safetensors"
    checkpoint = out.with_name(f"{out.stem}-{recipe.tune}.checkpoint")
    processes.check_batch(recipe.batch_size)
    start = None
    if processes.first:
        make_room(checkpoint, job.resume)
        start = _start(recipe, _kept(out, side) if recipe.start else None, job)
    network = Facet(recipe.shape) if start is None else start.network
    processes.copy_first(network)
    features = recogniser_for(job, checkpoint, processes) if recipe.identity else None
    identity = run_identity(recipe, job.seed, job.train.digest, job.valid.digest, start.digest if start else "")

    def report(step: int, loss: float, valid: float | None, speed: float) -> None:
        figures = {"loss": loss, "images/s": speed}
        if valid is not None:
            figures["valid 1-SSIM"] = valid
        job.progress(step, recipe.steps, figures)

    done = train_facet_network(
        network,
        recipe,
        job.train.images,
        job.valid.images,
        seed=job.seed,
        device=job.device,
        checkpoint=checkpoint,
        identity=identity,
        features=features,
        time_limit=math.inf if job.minutes is None else job.minutes * 60,
        report=report,
        processes=processes,
    )
    if start is None:
        return out
    kept = start.kept
    job.log(f"stopped {done.stopped} ({done.seconds / 60:.1f} minutes); fitting the tables")
    codebook = fit_tables(done.network, job.train.images, job.valid.images, job.device)
    tensors = {} if kept is None else load_weights(kept, KIND).tensors
    tensors = {name: t for name, t in tensors.items() if not name.startswith(f"{recipe.tune}.")}
    if kept is None:
        tensors |= basis_tensors(start.basis) | linear_tensors(
            *fit_linear_tables(done.network, job.train.images, job.device)
        )
    tensors |= tune_tensors(recipe.tune, done.network, codebook)
    meta = {"kind": KIND, "side": side, "shape": asdict(recipe.shape), "trained_on": job.trained_on}
    told = {
        **job.card(),
        "recipe": asdict(recipe),
        "started_from": start.digest,
        "parameters": sum(p.numel() for p in done.network.parameters()),
        "steps": done.steps,
        "seconds": round(done.seconds),
        "stopped": done.stopped,
        "processes": done.processes,
        "curve_rates": CURVE_RATES,
        "curve": asdict(done.curve),
    }
    save_weights(out, tensors, meta, {"tunes": {**_told_tunes(kept), recipe.tune: told}})
    return out


def _kept(out: Path, side: int) -> Path:
    """Return the weights file that a tune is added to: ``out`` if it is there, else what the codec would use."""
    found = out if out.is_file() else find_weights("facet", side)
    if found is None:
        raise SettingError("this recipe starts from another tune: train that first, 'facebench train facet'")
    return found


@dataclass(frozen=True)
class _Start:
    """The linear transform, the network to train, and the file of the weights it starts from and their digest."""

    basis: Basis
    network: Facet
    kept: Path | None
    digest: str


def _start(recipe: FacetRecipe, kept: Path | None, job: TrainingJob) -> _Start:
    torch.manual_seed(job.seed)
    if kept is None:
        job.log("fitting the principal components")
        # As the weights file will hold it: what training sees is what the codec uses.
        tensors = basis_tensors(principal_components(job.train.images, recipe.shape.components))
        basis = read_basis(tensors, recipe.shape.side)
        return _Start(basis, make_network(recipe.shape, basis), None, "")
    loaded = load_weights(kept, KIND)
    shape = Shape(**loaded.meta["shape"])
    if shape != recipe.shape:
        raise WeightsError(f"{kept} is of another shape than the recipe: train its tune '{recipe.start}' again")
    basis = read_basis(loaded.tensors, shape.side)
    network = make_network(shape, basis)
    network.load_state_dict(load_tuned(kept, recipe.start).network.state_dict())
    started = {n: t for n, t in loaded.tensors.items() if n.startswith(f"{recipe.start}.")}
    digest = hashlib.sha256(b"".join(started[name].tobytes() for name in sorted(started))).hexdigest()
    return _Start(basis, network, kept, digest)


def _told_tunes(kept: Path | None) -> dict[str, Any]:
    """Return what the card beside ``kept`` tells of its tunes."""
    card = kept.with_suffix(".json") if kept is not None else None
    if card is None or not card.is_file():
        return {}
    tunes: dict[str, Any] = json.loads(card.read_text()).get("tunes", {})
    return tunes


def fit_tables(network: Facet, train: NDArray[np.uint8], valid: NDArray[np.uint8], device: str) -> Codebook:
    """Return the codebook for the symbols of both splits' pictures, (N, S, S, 3) uint8, and their mirror images."""
    return fit_codebook(
        lambda rate: np.concatenate([_symbols(network, _some(part, rate), rate, device) for part in (train, valid)])
    )


def fit_linear_tables(network: Facet, train: NDArray[np.uint8], device: str) -> tuple[Codebook, NDArray[np.float32]]:
    """Return the codebook for the bare PCA coefficients, and the energy (1,) that few training faces exceed.

    It serves pictures unlike faces: one face in ten counts with its coefficients times 2.5, one in twenty times 6.
    """
    coefficients, energies = [], []
    linear = network.linear
    with torch.inference_mode():
        for start in range(0, len(train), 200):
            batch = pictures_to_tensor(train[start : start + 200], device)
            vectors = planes_to_vector(*rgb_to_planes(batch))
            coefficients.append(linear.project(vectors).cpu().numpy())
            energies.append(linear.energy(vectors).cpu().numpy())
    values = np.concatenate(coefficients)[:: max(1, len(train) // (2 * _TABLE_PICTURES))]
    values[::10] *= 2.5
    values[1::20] *= 6
    codebook = fit_codebook(lambda rate: np.rint(values / linear_step(rate)).astype(np.int32))
    return codebook, np.quantile(np.concatenate(energies), [USUAL]).astype(np.float32)


def _some(pictures: NDArray[np.uint8], rate: int) -> NDArray[np.uint8]:
    """Return _TABLE_PICTURES of the pictures (all if there are fewer), others for each rate, half of them mirrored."""
    count = min(_TABLE_PICTURES, len(pictures))
    chosen = pictures[np.sort(np.random.default_rng(rate).choice(len(pictures), count, replace=False))]
    mirrored = chosen.copy()
    mirrored[::2] = mirrored[::2, :, ::-1]
    return mirrored


def _symbols(network: Facet, pictures: NDArray[np.uint8], rate: int, device: str) -> NDArray[np.int32]:
    found = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 200):
            batch = pictures_to_tensor(pictures[start : start + 200], device)
            hats = hat(torch.full((len(batch),), rate / (RATES - 1), device=device))
            exact = network.analysis(batch, hats, network.linear) / network.steps(hats)
            found.append(torch.round(exact).clamp(-1e6, 1e6).int().cpu().numpy())
    return np.concatenate(found)
