"""Reconstruction losses, on pictures in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from facebench import SettingError


def l1(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Mean absolute error over all values (the paper's loss)."""
    return (reconstruction - picture).abs().mean()


def l2(reconstruction: Tensor, picture: Tensor) -> Tensor:
    """Mean squared error over all values."""
    return (reconstruction - picture).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2}


def named_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of that name; raises :class:`facebench.SettingError` if there is none."""
    if name not in LOSSES:
        raise SettingError(f"no loss '{name}': use one of {', '.join(LOSSES)}")
    return LOSSES[name]
