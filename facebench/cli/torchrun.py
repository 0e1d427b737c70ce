"""One command in several processes that torchrun started, as torch.distributed's default group."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from facebench.errors import FacebenchError, SettingError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_ResultT = TypeVar("_ResultT")

#: The others wait while the first prepares pictures or fits tables. One that dies is noticed at once: its
#: connections close.
_PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Process:
    """Process ``rank`` of ``count``, the ``local_rank``-th of its machine; ``store`` is what all of them share."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    store: Store | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that talks to the user and writes files."""
        return self.rank == 0

    def as_first(self, name: str, value: str) -> str:
        """Return the first process's ``value``; ``name`` tells it from others."""
        if self.store is None:
            return value
        if self.first:
            self.store.set(name, value)
        return self.store.get(name).decode()

    def in_turn(self, make: Callable[[], _ResultT]) -> _ResultT:
        """Return ``make()``, which each machine's first process has finished before the others start."""
        if self.store is None or self.local_rank == 0:
            made = make()
            self.wait()
            return made
        self.wait()
        return make()

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.store is None:
            return
        from torch.distributed import barrier

        try:
            barrier()
        except RuntimeError as error:
            raise FacebenchError(f"another process has ended or cannot be reached ({error})") from error

    def is_first_to_fail(self) -> bool:
        """Whether no other process has called this."""
        try:
            return self.store is None or self.store.add("failed", 1) == 1
        except RuntimeError:
            return True


@contextlib.contextmanager
def this_process() -> Iterator[Process]:
    """Join the processes that torchrun started; without it (``WORLD_SIZE`` unset or 1) this one is alone.

    All leave together. Only the first to fail raises its error, so that the user sees it once; the others exit.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Process()
        return
    if missing := [n for n in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]:
        raise SettingError(f"WORLD_SIZE is set, {', '.join(missing)} not: start with torchrun, or unset WORLD_SIZE")
    from torch.distributed import destroy_process_group

    process = _joined()
    try:
        yield process
        process.wait()
        destroy_process_group()
    except (Exception, KeyboardInterrupt) as error:
        if not process.is_first_to_fail():
            raise SystemExit(1) from error
        raise


def _joined() -> Process:
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, count = next(rendezvous("env://"))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
        own = dist.PrefixStore("facebench", store)  # type: ignore[attr-defined]
        return Process(rank, count, int(os.environ["LOCAL_RANK"]), own)
    except (RuntimeError, ValueError) as error:
        raise SettingError(f"cannot join the processes that torchrun started ({error})") from error
