"""The generative model behind the synthetic samples: eigenfaces, a sampler of new codes, a refining GAN.

A face with its mask is described by a few coefficients of a principal component analysis of the training
faces (half size, RGB and mask jointly). New coefficients are drawn from a Gaussian fitted to the neighbours of
a training face. Their linear rendering is a blurred face; a small U-Net, trained against a critic on renderings
of real and of drawn coefficients alike, turns it into a sharp one with a mask. Starting from the rendering, the
adversarial part (Goodfellow et al. 2014; feature matching as in Larsen et al. 2016, VAE/GAN; R1 penalty as in
Mescheder et al. 2018) has only detail to learn: some twenty minutes on one processor core are enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from facebench.errors import WeightsError

SIDE = 64
#: The side at which the principal components are taken; finer detail is the refiner's.
COARSE = 32


@dataclass(frozen=True)
class GeneratorRecipe:
    """How the model is built and trained."""

    components: int = 384
    #: The mask's weight beside one colour channel in the principal component analysis.
    mask_weight: float = 0.5
    #: How many nearest training faces a drawn code's Gaussian is fitted to.
    neighbours: int = 100
    width: int = 32
    critic_width: int = 32
    steps: int = 1150
    #: The learning rate is full for two thirds of these steps, then falls towards zero at the last of them.
    rate_steps: int = 1500
    #: Half of each batch are real codes, half are drawn ones.
    batch_size: int = 32
    learning_rate: float = 8e-4
    coarse_weight: float = 10.0
    fine_weight: float = 1.0
    mask_loss_weight: float = 2.0
    feature_weight: float = 1.0
    r1_weight: float = 0.1
    r1_every: int = 16
    average_decay: float = 0.995


class EigenFaces:
    """Principal components of half-size faces with masks.

    ``mean`` (D,) and ``basis`` (K, D) are float32 with D = 4 * 32 * 32, ``scale`` (K,) the codes' standard
    deviations. Codes are whitened: one unit is one standard deviation of the training faces.
    """

    def __init__(self, mean: Tensor, basis: Tensor, scale: Tensor, mask_weight: float) -> None:
        self.mean, self.basis, self.scale, self.mask_weight = mean, basis, scale, mask_weight

    @classmethod
    def fit(cls, faces: Tensor, recipe: GeneratorRecipe, seed: int) -> EigenFaces:
        """Fit to ``faces``, (N, 4, 64, 64) uint8, and their mirror images, by randomised subspace iteration.

        Source: Halko, Martinsson & Tropp 2011, algorithm 4.4.
        """
        rows = torch.cat([_coarse_rows(faces, recipe.mask_weight), _coarse_rows(faces.flip(3), recipe.mask_weight)])
        mean = rows.mean(0)
        rows -= mean
        draw = torch.Generator().manual_seed(seed)
        subspace = torch.randn(rows.shape[1], recipe.components + 32, generator=draw)
        for _ in range(5):
            subspace = torch.linalg.qr(rows.T @ (rows @ subspace))[0]
        _, values, basis = torch.linalg.svd(rows @ subspace, full_matrices=False)
        kept = (basis @ subspace.T)[: recipe.components].contiguous()
        return cls(mean, kept, values[: recipe.components] / len(rows) ** 0.5, recipe.mask_weight)

    def encode(self, faces: Tensor) -> Tensor:
        """(N, 4, 64, 64) uint8 to (N, K) whitened codes."""
        codes: Tensor = (_coarse_rows(faces, self.mask_weight) - self.mean) @ self.basis.T / self.scale
        return codes

    def render(self, codes: Tensor) -> Tensor:
        """(N, K) codes to (N, 4, 32, 32) blurred faces with masks, about [-1, 1]."""
        rows = (codes * self.scale) @ self.basis + self.mean
        coarse = rows.view(-1, 4, COARSE, COARSE)
        return torch.cat([coarse[:, :3], coarse[:, 3:] / self.mask_weight], 1)


def _coarse_rows(faces: Tensor, mask_weight: float) -> Tensor:
    """(N, 4, 64, 64) uint8 to (N, 4 * 32 * 32) float32, the mask weighted."""
    parts = [functional.avg_pool2d(to_signed(part), 2) for part in torch.split(faces, 1024)]
    coarse = torch.cat(parts)
    coarse[:, 3] *= mask_weight
    return coarse.flatten(1)


def to_signed(faces: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]."""
    return faces.float() / 127.5 - 1


class CodeSampler:
    """Draws new codes: each from the Gaussian of the codes around a randomly chosen training face."""

    def __init__(self, codes: Tensor, scale: Tensor, neighbours: int) -> None:
        self.codes, self.neighbours = codes, neighbours
        self.spread = codes * scale  # distances in grey levels, so that pose and light count the most
        self.norms = self.spread.square().sum(1)

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        """Return (count, K) codes."""
        centres = torch.randint(len(self.codes), (count,), generator=source)
        weights = torch.randn(count, self.neighbours, generator=source)
        distances = self.norms - 2 * self.spread[centres] @ self.spread.T
        near = self.codes[distances.topk(self.neighbours, largest=False).indices]
        middle = near.mean(1)
        offsets: Tensor = torch.einsum("nm,nmk->nk", weights, near - middle[:, None]) / self.neighbours**0.5
        return middle + offsets

    def gain(self, source: torch.Generator) -> Tensor:
        """Return the factor (K,) that gives drawn codes the training faces' spread.

        Neighbours lie towards where faces are dense, so drawn codes vary less than real ones (measured: three
        quarters of the variance): the faces would be too alike, too near to training faces and too easy to compress.
        """
        drawn = torch.cat([self.draw(64, source) for _ in range(32)])
        return self.codes.std(0) / drawn.std(0)


def atypicality(codes: Tensor) -> Tensor:
    """Return how far (N, K) codes are from the mean in the components of facial features, (N,), 1 on average.

    The first components are light and background, where anything goes; the last are texture.
    """
    return codes[:, 16:128].square().mean(1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, 0.2)), 0.2))


class Refiner(nn.Module):
    """Blurred rendering (N, 4, 32, 32), code (N, K) and noise (N, 1, 64, 64) to faces (N, 4, 64, 64).

    The output is RGB in about [-1, 1] and the mask in [-1, 1] (positive on the face).
    """

    def __init__(self, recipe: GeneratorRecipe) -> None:
        super().__init__()
        width = recipe.width
        self.code = nn.Linear(recipe.components, width * 8 * 8)
        self.enter = nn.Conv2d(4 + 4, width, 3, padding=1)
        self.down1 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.middle1 = _Residual(2 * width)
        self.down2 = nn.Conv2d(2 * width, 3 * width, 4, stride=2, padding=1)
        self.deep = nn.Sequential(_Residual(4 * width), _Residual(4 * width))
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1)
        self.middle2 = _Residual(2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.shallow = _Residual(width)
        self.widen = nn.Conv2d(width, width // 2, 3, padding=1)
        self.grain = nn.Parameter(torch.full((1, width // 2, 1, 1), 0.3))
        self.leave = nn.Conv2d(width // 2, 4, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, render: Tensor, codes: Tensor, noise: Tensor) -> Tensor:
        fine = self.enter(torch.cat([render, functional.pixel_unshuffle(noise, 2)], 1))
        half = self.middle1(self.down1(functional.leaky_relu(fine, 0.2)))
        deep = self.down2(functional.leaky_relu(half, 0.2))
        deep = self.deep(torch.cat([deep, self.code(codes).view(len(codes), -1, 8, 8)], 1))
        half = self.middle2(half + self.up2(functional.leaky_relu(deep, 0.2)))
        fine = self.shallow(fine + self.up1(functional.leaky_relu(half, 0.2)))
        # The finest texture grows out of noise at full size: without it, it comes out as a regular grid.
        full = self.widen(functional.interpolate(functional.leaky_relu(fine, 0.2), scale_factor=2.0))
        detail = self.leave(functional.leaky_relu(full + self.grain * noise, 0.2))
        blurred = functional.interpolate(render, scale_factor=2.0, mode="bicubic", align_corners=False)
        return torch.cat([blurred[:, :3] + detail[:, :3], torch.tanh(2 * blurred[:, 3:] + 4 * detail[:, 3:])], 1)


class Critic(nn.Module):
    """(N, 4, 64, 64) faces with masks, in [-1, 1], to a score each (high for real), and the features before."""

    def __init__(self, recipe: GeneratorRecipe) -> None:
        super().__init__()
        width = recipe.critic_width
        widths = [4, width, 2 * width, 4 * width, 6 * width]
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.score = nn.Linear(widths[-1] * 16, 1)

    def forward(self, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        x = faces
        for stage in self.stages:
            x = functional.leaky_relu(stage(x), 0.2)
            features.append(x)
        return self.score(x.flatten(1)).squeeze(1), features


class GeneratorTraining:
    """The state of a training run: networks, their averages and optimisers, and the step reached."""

    def __init__(self, faces: NDArray[np.uint8], masks: NDArray[np.bool_], recipe: GeneratorRecipe, seed: int) -> None:
        """``faces`` (N, 64, 64, 3) uint8 RGB and ``masks`` (N, 64, 64) bool are the training set."""
        self.recipe, self.seed = recipe, seed
        channels = np.concatenate([np.asarray(faces), np.asarray(masks)[..., None] * np.uint8(255)], axis=3)
        self.faces = torch.from_numpy(np.ascontiguousarray(channels.transpose(0, 3, 1, 2)))
        self.eigen = EigenFaces.fit(self.faces, recipe, seed)
        self.codes = torch.stack([self.eigen.encode(self.faces), self.eigen.encode(self.faces.flip(3))])
        self.sampler = CodeSampler(self.codes.flatten(0, 1), self.eigen.scale, recipe.neighbours)
        torch.manual_seed(seed)
        self.refiner, self.critic = Refiner(recipe), Critic(recipe)
        self.average = Refiner(recipe)
        self.average.load_state_dict(self.refiner.state_dict())
        self.networks: dict[str, nn.Module] = {
            "refiner": self.refiner,
            "critic": self.critic,
            "average": self.average,
        }
        for network in self.networks.values():
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        betas = (0.0, 0.99)
        self.optimizers = {
            name: torch.optim.Adam(self.networks[name].parameters(), recipe.learning_rate, betas)
            for name in ("refiner", "critic")
        }
        self.step = 0
        digest = hashlib.sha256(self.faces.numpy().tobytes()).hexdigest()
        self.identity = hashlib.sha256(json.dumps([asdict(recipe), seed, digest]).encode()).hexdigest()

    def run(self, checkpoint: Path, report: Callable[[int, dict[str, float]], None], save_every: int = 50) -> None:
        """Train to the recipe's last step, continuing ``checkpoint`` if it is there; it is saved every few steps.

        ``report`` is called with the steps done and the step's losses. Raises :class:`WeightsError` if the
        checkpoint is damaged or of another recipe, seed or data.
        """
        if checkpoint.is_file():
            self.load(checkpoint)
        while self.step < self.recipe.steps:
            losses = self._train_step()
            self.step += 1
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.save(checkpoint)
            report(self.step, losses)

    def _train_step(self) -> dict[str, float]:
        recipe = self.recipe
        # All randomness of a step comes from the seed and its number: a resumed run takes the same steps.
        source = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        real, real_codes = self._real_batch(recipe.batch_size, source)
        half = recipe.batch_size // 2
        codes = torch.cat([real_codes[:half], self.sampler.draw(recipe.batch_size - half, source)])
        noise = torch.randn(len(codes), 1, SIDE, SIDE, generator=source)
        for optimizer in self.optimizers.values():
            left = 1 - self.step / recipe.rate_steps
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * min(1.0, 3 * left + 0.02)
        fake = self.refiner(self.eigen.render(codes), codes, noise)

        self.critic.requires_grad_(False)
        scores, features = self.critic(fake)
        with torch.no_grad():
            _, targets = self.critic(real[:half])
        adversarial = functional.softplus(-scores).mean()
        rebuilt, wanted = fake[:half], real[:half]
        matching = sum(
            functional.l1_loss(got[:half].mean((2, 3)), want.mean((2, 3))) + functional.l1_loss(got[:half], want)
            for got, want in zip(features, targets, strict=True)
        )
        coarse = functional.l1_loss(functional.avg_pool2d(rebuilt[:, :3], 4), functional.avg_pool2d(wanted[:, :3], 4))
        fine = functional.l1_loss(rebuilt[:, :3], wanted[:, :3])
        mask = functional.l1_loss(rebuilt[:, 3], wanted[:, 3])
        loss = (
            adversarial
            + recipe.coarse_weight * coarse
            + recipe.fine_weight * fine
            + recipe.mask_loss_weight * mask
            + recipe.feature_weight * matching / len(features)
        )
        self.optimizers["refiner"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["refiner"].step()
        decay = min(recipe.average_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.refiner.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

        self.critic.requires_grad_(True)
        real_scores, _ = self.critic(real)
        fake_scores, _ = self.critic(fake.detach())
        critic_loss = functional.softplus(-real_scores).mean() + functional.softplus(fake_scores).mean()
        if self.step % recipe.r1_every == 0:
            critic_loss = critic_loss + self._r1_penalty(real[:half])
        self.optimizers["critic"].zero_grad(set_to_none=True)
        critic_loss.backward()
        self.optimizers["critic"].step()
        parts = {
            "adversarial": adversarial,
            "coarse": coarse,
            "fine": fine,
            "mask": mask,
            "critic": critic_loss,
            "real": real_scores.mean(),
            "rebuilt": fake_scores[:half].mean(),
            "drawn": fake_scores[half:].mean(),
        }
        return {name: float(part.detach()) for name, part in parts.items()}

    def _real_batch(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        indices = torch.randint(len(self.faces), (count,), generator=source)
        mirrored = torch.randint(2, (count,), generator=source)
        faces = self.faces[indices]
        faces[mirrored == 1] = faces[mirrored == 1].flip(3)
        signed = to_signed(faces).contiguous(memory_format=torch.channels_last)
        return signed, self.codes[mirrored, indices]

    def _r1_penalty(self, real: Tensor) -> Tensor:
        inputs = real.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(inputs)[0].sum(), inputs, create_graph=True)
        penalty: Tensor = gradient.square().sum((1, 2, 3)).mean()
        return 0.5 * self.recipe.r1_weight * self.recipe.r1_every * penalty

    def generate(self, codes: Tensor, source: torch.Generator) -> NDArray[np.float32]:
        """Return faces with masks, (N, 64, 64, 4) float32 in [-1, 1], of ``codes`` (N, K), by the averaged weights."""
        with torch.no_grad():
            noise = torch.randn(len(codes), 1, SIDE, SIDE, generator=source)
            faces = self.average(self.eigen.render(codes), codes, noise).clamp(-1, 1)
        return np.asarray(faces.permute(0, 2, 3, 1).contiguous().numpy(), np.float32)

    def save(self, path: Path) -> None:
        """Write the checkpoint so that a kill leaves the one before whole."""
        tensors: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            tensors |= {f"{name}.{key}": value.contiguous() for key, value in network.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"adam-{name}.{index}.{key}": value.contiguous() for key, value in state.items()}
        temporary = path.with_name(f".{path.name}.tmp")
        save_file(tensors, temporary, metadata={"identity": self.identity, "step": str(self.step)})
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Continue from ``path``; raises :class:`WeightsError` if it is damaged or does not fit."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step = int(metadata["step"])
        except Exception as error:
            raise WeightsError(f"checkpoint {path} is damaged ({error}); remove it to start again") from error
        if metadata["identity"] != self.identity:
            raise WeightsError(f"checkpoint {path} is of another recipe, seed or data; remove it or name another")
        for name, network in self.networks.items():
            prefix = f"{name}."
            network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, optimizer in self.optimizers.items():
            states: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                owner, _, rest = key.partition(".")
                if owner == f"adam-{name}":
                    index, _, field = rest.partition(".")
                    states.setdefault(int(index), {})[field] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        self.step = step
