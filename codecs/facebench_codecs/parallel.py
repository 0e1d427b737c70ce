"""Training in several processes, started by torchrun: each takes its share of every batch, and what is summed over
all of them is what one process would have computed, up to rounding.

The processes are those of torch.distributed's default group, which the harness makes; without one a process is
alone, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from facebench import FacebenchError, SettingError


@dataclass(frozen=True)
class Processes:
    """Process ``rank`` of ``count``. ``group`` sums tensors of the training device; None is the default group.

    Decisions and checkpoints are told over the default group (gloo, patient): the first may validate for an hour.
    """

    rank: int = 0
    count: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def started(cls, device: str) -> Processes:
        """Return this process among those that train on ``device`` ("cpu", "cuda") each; all must call it."""
        if not dist.is_available() or not dist.is_initialized():
            return ALONE
        with _peers():
            group = dist.new_group(backend="nccl") if torch.device(device).type == "cuda" else None
        return cls(dist.get_rank(), dist.get_world_size(), group)

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, tells and writes."""
        return self.rank == 0

    def check_batch(self, batch_size: int) -> None:
        """Raise :class:`facebench.SettingError` unless every process gets a picture of each batch."""
        if batch_size < self.count:
            raise SettingError(
                f"{self.count} processes for batches of {batch_size} pictures: start at most {batch_size}"
            )

    def after(self, counts: list[int]) -> list[int]:
        """Return ``counts``, in how many processes the steps before were taken, and this number if it is another."""
        return counts if counts[-1:] == [self.count] else [*counts, self.count]

    def share(self, length: int) -> slice:
        """Return this process's part of a batch of ``length``; parts differ by at most one picture."""
        return slice(self.rank * length // self.count, (self.rank + 1) * length // self.count)

    def weight(self, length: int) -> float:
        """Return what the mean over this process's part counts in the mean over a batch of ``length``."""
        part = self.share(length)
        return float(part.stop - part.start) / length

    def sum(self, values: Tensor) -> None:
        """Replace ``values``, on the training device, by their sum over all processes."""
        if self.count == 1:
            return
        with _peers():
            dist.all_reduce(values, group=self.group)

    def sum_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> float:
        """Sum the gradients over all processes; returns the sum of their losses."""
        if self.count == 1:
            return float(loss.detach())
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([*(g.reshape(-1) for g in gradients), loss.detach().reshape(1)])
        self.sum(flat)
        for gradient, summed in zip(gradients, torch.split(flat, [g.numel() for g in gradients] + [1]), strict=False):
            gradient.copy_(summed.view(gradient.shape))
        return float(flat[-1])

    def share_batch_norm(self, network: nn.Module) -> None:
        """Make the batch normalisation of ``network`` that over the whole batch; before its optimiser is made."""
        if self.count == 1:
            return
        for parent in list(network.modules()):
            for name, layer in parent.named_children():
                if type(layer) is nn.BatchNorm2d:
                    setattr(parent, name, _SharedBatchNorm(layer, self))

    def numbers_of_first(self, *values: float) -> list[float]:
        """Return the first process's ``values``."""
        if self.count == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        with _peers():
            dist.broadcast(told, 0)
        return [float(value) for value in told]

    def bytes_of_first(self, data: bytes) -> bytes:
        """Return the first process's ``data``."""
        if self.count == 1:
            return data
        told = torch.zeros(int(self.numbers_of_first(len(data))[0]), dtype=torch.uint8)
        if self.first:
            told = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        with _peers():
            dist.broadcast(told, 0)
        return told.numpy().tobytes()

    def copy_first(self, *networks: nn.Module) -> None:
        """Give all processes the parameters and buffers that the first has."""
        if self.count == 1:
            return
        for network in networks:
            for tensor in network.state_dict().values():
                told = tensor.cpu().contiguous()
                with _peers():
                    dist.broadcast(told, 0)
                tensor.copy_(told)


#: One process, without torchrun.
ALONE = Processes()


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the pictures of all processes (torch's SyncBatchNorm does not work on CPUs)."""

    def __init__(self, layer: nn.BatchNorm2d, processes: Processes) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.load_state_dict(layer.state_dict())
        self._processes = processes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.new_full((1,), x.numel() / self.num_features)
        whole = self._sum(torch.cat([x.sum((0, 2, 3)), values]))
        mean, count = whole[:-1] / whole[-1], whole[-1]
        centred = x - mean[:, None, None]
        # The mean first: the mean of squares less the squared mean would lose digits.
        variance = self._sum(centred.square().sum((0, 2, 3))) / count
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]

    def _sum(self, values: Tensor) -> Tensor:
        summed: Tensor = _Sum.apply(values, self._processes)  # type: ignore[no-untyped-call]
        return summed


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's loss depends on it, so its gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        summed = values.clone()
        processes.sum(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone()
        ctx.processes.sum(summed)
        return summed, None


@contextmanager
def _peers() -> Iterator[None]:
    """Turn what torch raises when it cannot reach another process into one line."""
    try:
        yield
    except RuntimeError as error:
        raise FacebenchError(
            f"another process of this training has ended or cannot be reached ({error}); "
            "the same command with --resume goes on from the last checkpoint"
        ) from error
