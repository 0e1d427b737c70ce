"""``facebench train`` in float64 and with a small facet: what test_parallel_training.py starts, by torchrun or not.

In float32 Adam turns the rounding of a gradient that is nearly 0 into a step of full size, and any difference between
one process and several drowns in that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import facebench_codecs.facet.train as facet_train
import torch
from facebench_codecs import training
from facebench_codecs.facet import training as facet_training
from facebench_codecs.facet.recipe import FacetRecipe, named_recipe
from facebench_codecs.training import Progress
from test_facet_training import SHAPE


def _recipe(tune: str, side: int) -> FacetRecipe:
    return replace(named_recipe(tune, 64), shape=SHAPE, steps=9, batch_size=9)


def change(set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Make training that of these tests, and its checkpoints as frequent as its validations."""
    torch.set_default_dtype(torch.float64)
    set_attribute(torch.Tensor, "float", torch.Tensor.double)  # autocast leaves float64 alone
    set_attribute(facet_train, "named_recipe", _recipe)
    set_attribute(facet_training, "EVALUATE_EVERY", 3)
    set_attribute(facet_training, "_WARM_UP", 1)
    set_attribute(training, "CHECKPOINT_SECONDS", 0.0)


class _SlowProgress(Progress):
    """Half a second of sleep a step: time to be killed in."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        time.sleep(0.5)


if __name__ == "__main__":
    from facebench.cli import main

    change(setattr)
    if folder := os.environ.get("SLOWLY"):  # ... and where to write who this is
        training.Progress = _SlowProgress  # type: ignore[misc]
        (Path(folder) / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    main()
