"""Learned codecs: a convolutional autoencoder whose quantised, entropy-coded latent is the payload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from facebench import Codec, CodecError, SettingError, TrainingJob, UnsupportedSize, WeightsError, kept_weights_dir
from facebench_codecs.build import build_model, coding_of
from facebench_codecs.checkpoint import make_room
from facebench_codecs.features import features_for
from facebench_codecs.losses import named_loss
from facebench_codecs.networks import LatentModel, exactly, pictures_to_tensor
from facebench_codecs.parallel import Processes
from facebench_codecs.quantiser import CODEBOOKS, TRAINING_STATE
from facebench_codecs.recipe import Recipe, named_recipe, recipes_of
from facebench_codecs.training import Faces, Progress, run_identity, train
from facebench_codecs.weights import find_weights, load_weights, read_card, save_weights

KIND = "autoencoder"
_BACKGROUND = "background"
#: Latents of trained encoders lie well within this; a float32 payload may say anything.
_LATENT_LIMIT = 1e4


class LearnedCodec(Codec):
    """The latent mean, quantised and coded as the recipe's prior says (:mod:`facebench_codecs.coding`).

    With ``latent`` "float32" the payload is the latent mean itself: 512 values, 2,048 bytes, the student
    paper's accounting.
    """

    name: ClassVar[str]

    def __init__(self, size: tuple[int, int], *, step: float, latent: str, weights: str) -> None:
        """Load ``weights``: the name of a recipe ("flat") whose weights are shipped or kept, or the path of a file."""
        super().__init__(size)
        self._path = _weights_path(self.name, weights, size)
        loaded = load_weights(self._path, KIND)
        try:
            side = loaded.meta["side"]
            if size != (side, side):
                raise UnsupportedSize(f"{self.name}: these weights are for {side}x{side}, not {size[1]}x{size[0]}")
            recipe = Recipe.from_dict(loaded.meta["recipe"])
            model = _loaded_model(recipe, size[0], loaded.tensors)
            coding = coding_of(recipe)
            self._coding = coding(recipe, size[0], loaded.tensors, step)
            self._background = _background_of(model, loaded.tensors, side)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, SettingError) as error:
            why = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{self.name}: weights '{weights}' do not fit their recipe ({why}); train them again"
            ) from error
        self._model = model.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = "cpu"
        self._shape = model.latent_shape
        self._float32 = latent == "float32"
        self.weights_bytes = loaded.bytes_of("decoder.", "mask_decoder.", _BACKGROUND, *coding.parts)
        self.weights_digest = loaded.digest
        self.trained_on = loaded.trained_on

    def training_card(self) -> Mapping[str, Any] | None:
        return read_card(self._path)

    def use_device(self, device: str) -> None:
        self._device = device
        self._model = self._model.to(device)
        if self._background is not None:
            self._background = self._background.to(device)

    def latents(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (D,) latent mean of one picture, (H, W, 3) uint8."""
        with torch.inference_mode():
            coded = exactly if self._float32 else self._coding.coded
            mean, _ = self._model.posterior(pictures_to_tensor(image[None], self._device), coded)
        return mean[0].flatten().cpu().numpy()

    def symbols(self, image: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return the (D,) integers that the payload of ``image`` codes."""
        return self._coding.symbols(self.latents(image))

    def ideal_bits(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the ideal code length in bits, (N,), of the symbols of (N, H, W, 3) pictures under the tables."""
        return np.array([self._coding.ideal_bits(self.symbols(image)) for image in images])

    # Batches are encoded one by one: convolutions differ in the last bit with the batch, payloads must not.
    def encode(self, image: NDArray[np.uint8]) -> bytes:
        if self._float32:
            return self.latents(image).astype("<f4").tobytes()
        return self._coding.encode(self.symbols(image))

    def decode(self, payload: bytes) -> NDArray[np.uint8]:
        return self.decode_batch([payload])[0]

    def decode_batch(self, payloads: Sequence[bytes]) -> NDArray[np.uint8]:
        latents = np.stack([self._latent_of(payload) for payload in payloads]).reshape(-1, *self._shape)
        with torch.inference_mode():
            values = torch.from_numpy(latents).to(self._device)
            pictures = self._model.decoder(values)
            if self._model.mask_decoder is not None:  # what such a decoder paints outside the face means nothing
                pictures = torch.lerp(self._background, pictures, torch.sigmoid(self._model.mask_decoder(values)))
            levels = (pictures * 255).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _latent_of(self, payload: bytes) -> NDArray[np.float32]:
        if not self._float32:
            return self._coding.latents(self._coding.decode(payload)[None])[0]
        if len(payload) != 4 * math.prod(self._shape):
            raise CodecError(f"payload of {len(payload)} bytes is not {math.prod(self._shape)} float32 values")
        values = np.frombuffer(payload, "<f4").astype(np.float32)
        return np.nan_to_num(values, posinf=_LATENT_LIMIT, neginf=-_LATENT_LIMIT).clip(-_LATENT_LIMIT, _LATENT_LIMIT)


class Cvae(LearnedCodec):
    """The student paper's convolutional VAE: L1 loss."""

    name = "cvae"


class CvaeMask(LearnedCodec):
    """:class:`Cvae` trained with masks: its loss is over face pixels alone."""

    name = "cvae-mask"


class Dcgan(LearnedCodec):
    """The student paper's DCGAN autoencoder: 10 x L1 and an adversarial loss."""

    name = "dcgan"


class DcganMask(LearnedCodec):
    """:class:`Dcgan` trained with masks: its L1 loss is over face pixels alone."""

    name = "dcgan-mask"


class Maskvae(LearnedCodec):
    """The VAEs of Toledo & Antonelo 2021, hypotheses 1 to 10; those trained with masks decode a mask too."""

    name = "maskvae"


class Dfcvae(LearnedCodec):
    """A VAE whose loss is a distance of deep features, after Hou et al. 2017 (DFC-VAE)."""

    name = "dfcvae"


class Gmmvae(LearnedCodec):
    """A VAE whose prior is a mixture of Gaussians, after Qian et al. 2019 (AF-VAE)."""

    name = "gmmvae"


class Nvae(LearnedCodec):
    """A VAE whose latent comes in groups from coarse to fine, after Vahdat & Kautz 2020 (NVAE)."""

    name = "nvae"

    def __init__(self, size: tuple[int, int], *, step: float, weights: str) -> None:
        super().__init__(size, step=step, latent="quantised", weights=weights)


class Vqvae(LearnedCodec):
    """A residual vector quantiser whose codes have a context prior, after van den Oord et al. 2017 (VQ-VAE)."""

    name = "vqvae"

    def __init__(self, size: tuple[int, int], *, stages: int, weights: str) -> None:
        """Code the first ``stages`` codes of each place."""
        super().__init__(size, step=stages, latent="quantised", weights=weights)


def _loaded_model(recipe: Recipe, side: int, tensors: Mapping[str, NDArray[Any]]) -> LatentModel:
    """Return the network in a weights file; raises ValueError, TypeError or RuntimeError if it is another one's."""
    parts = ("encoder.", "decoder.", "mask_decoder.", "prior.", "quantiser.")
    state = {name: torch.from_numpy(t) for name, t in tensors.items() if name.startswith(parts)}
    # Without memory of its own: a damaged recipe may name a network of any size.
    with torch.device("meta"):
        model = build_model(recipe, side).eval()
    for name, tensor in model.state_dict().items():
        if name in state and state[name].dtype != tensor.dtype:
            if (state[name].dtype, tensor.dtype) != (torch.float16, torch.float32):
                raise ValueError(f"{name} is {state[name].dtype}")
            state[name] = state[name].float()
        elif name in TRAINING_STATE:
            state[name] = torch.zeros(()).expand(tensor.shape)
    model.load_state_dict(state, assign=True)
    return model


def _background_of(model: LatentModel, tensors: Mapping[str, NDArray[Any]], side: int) -> torch.Tensor | None:
    """Return what is shown outside the face, (3, S, S) in [0, 1]; None where there is no mask decoder."""
    if model.mask_decoder is None:
        return None
    background = tensors[_BACKGROUND]
    if (background.dtype, background.shape) != (np.uint8, (side, side, 3)):
        raise ValueError(f"the background is {background.dtype} {background.shape}")
    return pictures_to_tensor(background[None], "cpu")[0]


def _weights_path(codec: str, weights: str, size: tuple[int, int]) -> Path:
    if weights.endswith(".safetensors"):
        return Path(weights)
    found = find_weights(f"{codec}-{weights}", size[1])
    if found is not None:
        return found
    if find_weights(f"{codec}-{weights}", 64) is None:
        recipes = recipes_of(codec)
        if weights in recipes:
            raise WeightsError(
                f"{codec} comes without weights '{weights}': run 'facebench train {codec} --recipe {weights}'"
            )
        known = [name for name in recipes if find_weights(f"{codec}-{name}", 64)]
        use = f"{', '.join(known)} or " if known else ""
        raise WeightsError(f"{codec} has no weights '{weights}': use {use}the path of a .safetensors file")
    raise UnsupportedSize(
        f"{codec} has no weights for {size[1]}x{size[0]}: run 'facebench train {codec} --size {size[1]}'"
    )


def train_learned(job: TrainingJob) -> Path:
    """Train ``job.codec`` by ``job.recipe``, or its first one, and write its weights; returns their path.

    A checkpoint lies beside the weights file. Of several processes (:mod:`facebench_codecs.parallel`) only the
    first writes. Raises :class:`facebench.SettingError` on a wrong option, a size that its backbone cannot have,
    more processes than a batch has pictures, or a checkpoint that is there when ``job.resume`` is not set.
    """
    processes = Processes.started(job.device)
    known = recipes_of(job.codec)
    if job.recipe and job.recipe not in known:
        raise SettingError(f"no recipe '{job.recipe}' of {job.codec}: use one of {', '.join(known)}")
    name = f"{job.codec}-{job.recipe or next(iter(known), 'flat')}"
    recipe = named_recipe(name)
    if job.loss is not None:
        named_loss(job.loss)
        recipe = replace(recipe, loss=job.loss)
    if job.epochs is not None:
        recipe = replace(recipe, epochs=job.epochs, steps=None)
    side = job.train.size[0]
    coding = coding_of(recipe)
    try:
        with torch.device("meta"):
            build_model(recipe, side)
    except ValueError as error:
        raise SettingError(f"{job.codec} at size {side}: {error}") from error
    faces, validation = (Faces(s.images, s.masks if recipe.needs_masks else None) for s in (job.train, job.valid))
    if recipe.needs_masks and (faces.masks is None or validation.masks is None):
        raise SettingError(f"{name} trains with face masks, and these pictures have none: see 'facebench data'")
    if len(job.train) < recipe.batch_size:
        raise SettingError(
            f"{job.codec} trains in batches of {recipe.batch_size}; {len(job.train)} pictures are too few"
        )
    processes.check_batch(recipe.batch_size)
    if recipe.quantiser == "residual-vq" and processes.count > 1:
        raise SettingError(f"{name} trains in one process: its codebooks follow the vectors that it sees")
    out = job.out or kept_weights_dir() / f"{name}-{side}.safetensors"
    checkpoint = out.with_suffix(".checkpoint")
    if processes.first:
        make_room(checkpoint, job.resume)

    def report(step: Progress) -> None:
        figures = {"loss": step.loss, "images/s": step.pictures_per_second}
        if step.valid is not None:
            figures["valid"] = step.valid
        job.progress(step.step, step.total_steps, figures)

    done = train(
        recipe,
        faces,
        validation,
        features=features_for(recipe, job, checkpoint, processes),
        seed=job.seed,
        device=job.device,
        checkpoint=checkpoint,
        identity=run_identity(recipe, job.seed, job.train.digest, job.valid.digest),
        time_limit=math.inf if job.minutes is None else job.minutes * 60,
        report=report,
        processes=processes,
    )
    if not processes.first:
        return out
    job.log(f"stopped {done.stopped} ({done.steps} steps, {done.seconds / 60:.1f} minutes)")
    tensors = _in_half_precision(done.model)
    job.log("fitting the tables that its payloads are coded with")  # minutes, for nvae's
    tensors |= coding.fit(done.model, [job.train.images, job.valid.images], job.device)
    if faces.masks is not None and recipe.mask_decoder_width:
        tensors[_BACKGROUND] = _mean_background(faces.pictures, faces.masks)
    meta = {"kind": KIND, "side": side, "recipe": asdict(recipe), "trained_on": job.trained_on}
    card = {
        **job.card(),
        "parameters": sum(p.numel() for p in done.model.parameters()),
        "steps": done.steps,
        "seconds": round(done.seconds),
        "stopped": done.stopped,
        "processes": done.processes,
        "curve": asdict(done.curve),
    }
    save_weights(out, tensors, meta, card)
    return out


def _in_half_precision(model: LatentModel) -> dict[str, NDArray[Any]]:
    """Round ``model`` to float16, but for codebooks and what is too large, and return its tensors so.

    Those of training alone are left out.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in TRAINING_STATE}
    largest = torch.finfo(torch.float16).max
    half = {
        name
        for name, tensor in state.items()
        if tensor.is_floating_point() and name != CODEBOOKS and bool((tensor.abs() <= largest).all())
    }
    model.load_state_dict({name: state[name].half().float() for name in half}, strict=False)
    return {
        name: (tensor.half() if name in half else tensor).cpu().contiguous().numpy() for name, tensor in state.items()
    }


def _mean_background(pictures: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the mean of (N, S, S, 3) pictures outside their masks, (S, S, 3); in whole where that is nowhere."""
    outside, count = np.zeros(pictures.shape[1:]), np.zeros(pictures.shape[1:3])
    for picture, mask in zip(pictures, masks, strict=True):
        outside += picture * ~mask[..., None]
        count += ~mask
    mean = outside.sum((0, 1)) / max(count.sum(), 1)
    # A few pictures are no mean: where there are fewer, the mean of all such pixels comes in.
    return np.rint((outside + 20 * mean) / (count[..., None] + 20)).astype(np.uint8)
