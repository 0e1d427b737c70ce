"""``facebench train``: fit a codec's weights to an image set."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from facebench.cli.options import (
    command_line,
    data_options,
    note,
    picture_progress,
    prepare_with_progress,
    quiet_option,
    registry_with_notes,
)
from facebench.cli.torchrun import Process, this_process

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facebench.codec import TrainingImages
    from facebench.data.choose import DataOptions
    from facebench.data.imageset import ImageSet
    from facebench.plugins import Registry

#: Of a set without a validation split, every tenth picture is held out.
_HOLD_OUT = 10


@click.command("train")
@click.argument("codec")
@data_options
@click.option(
    "--recipe", help="Named recipe, such as paper or mse: see codecs/README.md.  [default: the codec's first]"
)
@click.option("--loss", help="Reconstruction loss: l1, or a sum such as ssim+4*l1.  [default: the recipe's]")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training pictures.  [default: the recipe's]")
@click.option("--minutes", type=float, help="Stop after this much training time.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint.")
@click.option("--out", type=click.Path(path_type=Path), help="Weights file to write (.safetensors).")
@click.option("--device", help="cpu or cuda.  [default: cuda where there is one]")
@quiet_option
def train_command(
    codec: str,
    data: str | None,
    split: str | None,
    crop: str | None,
    size: int,
    filter: str,
    recipe: str | None,
    loss: str | None,
    epochs: int | None,
    minutes: float | None,
    seed: int,
    resume: bool,
    out: Path | None,
    device: str | None,
    quiet: bool,
) -> None:
    """Train CODEC (cvae, dcgan, facet, eigenfaces, ...) on the train split, watched on the valid split.

    Kill it at any time: --resume continues from the last checkpoint to the same curve. On several GPUs and machines:
    torchrun ... -m facebench train CODEC ..., see codecs/README.md.
    """
    from facebench.codec import TrainingJob
    from facebench.data.choose import DataOptions
    from facebench.data.set_recipe import ANNOTATION
    from facebench.errors import SettingError
    from facebench.plugins import load_object

    with this_process() as process:
        quiet = quiet or not process.first
        registry = registry_with_notes(quiet)
        spec = registry.codec(codec)
        if spec.trainer is None:
            raise SettingError(f"codec '{codec}' has nothing to train")
        if process.count > 1 and not spec.parallel_training:
            raise SettingError(f"{codec} trains in one process: run 'facebench train {codec}' without torchrun")
        if out is not None and out.suffix != ".safetensors":
            raise SettingError(f"--out {out}: a weights file ends in .safetensors")
        chosen_device = _choose_device(device, process)
        options = DataOptions(data, split, crop, size, filter, ANNOTATION)  # others are made if they are asked for
        train, valid = _training_sets(options, registry, quiet, process)
        progress = _ProgressBar(codec, quiet)
        job = TrainingJob(
            codec=codec,
            train=cast("TrainingImages", train),  # whose masks may be read, not set
            valid=cast("TrainingImages", valid),
            seed=seed,
            device=chosen_device,
            command=command_line(),
            trained_on=_trained_on(train.prepared, valid.prepared),
            out=out,
            recipe=recipe,
            loss=loss,
            epochs=epochs,
            minutes=minutes,
            resume=resume,
            log=lambda line: note(line, quiet),
            progress=progress,
        )
        path = load_object(spec.trainer)(job)
        progress.close()
        note(f"weights written to {path}; use them as '{codec}:weights={path}'", quiet)


class _TrainingPictures:
    """What a trainer sees of a prepared set; masks that do not come with it are made when they are asked for.

    Most codecs need none. ``digest`` is that of the prepared set, whether or not they are asked for.
    """

    def __init__(self, prepared: ImageSet, make: Callable[[], NDArray[np.bool_] | None]) -> None:
        self.prepared, self._make = prepared, make
        self.images, self.identities = prepared.images, prepared.identities
        self.digest, self.size = prepared.digest, prepared.size

    def __len__(self) -> int:
        return len(self.prepared)

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """The face masks, (N, height, width) bool."""
        return self._make() if self.prepared.masks is None else self.prepared.masks


def _training_sets(
    options: DataOptions, registry: Registry, quiet: bool, process: Process
) -> tuple[_TrainingPictures, _TrainingPictures]:
    """Return the training and the validation pictures; on each machine one process prepares them for the others."""
    from facebench.errors import DataError

    train, valid = process.in_turn(lambda: _checked_sets(options, registry, quiet))
    digests = f"{train.digest} {valid.digest}"
    if process.as_first("digests", digests) != digests:
        raise DataError(f"the pictures of {platform.node()} are not those of the first machine: their digests differ")
    return train, valid


def _checked_sets(options: DataOptions, registry: Registry, quiet: bool) -> tuple[_TrainingPictures, _TrainingPictures]:
    """Return the pictures, whole: training reads them often, and so past the checks."""
    train, valid = _prepared_sets(options, registry, quiet)
    train.prepared.check()
    valid.prepared.check()
    return train, valid


def _prepared_sets(
    options: DataOptions, registry: Registry, quiet: bool
) -> tuple[_TrainingPictures, _TrainingPictures]:
    from facebench.data.choose import with_default_masks
    from facebench.data.named import named_set
    from facebench.errors import DataError

    def masked(images: ImageSet) -> ImageSet:
        note(f"{images.no_mask_reason}: the face parser makes the masks", quiet)
        return with_default_masks(images, registry, partial(picture_progress, quiet=quiet))

    splits = named_set(options.data, registry)[0].splits
    if options.split is None and {"train", "valid"} <= set(splits):
        train, valid = (prepare_with_progress(options, registry, quiet, split=split) for split in ("train", "valid"))
        return (
            _TrainingPictures(train, lambda: masked(train).masks),
            _TrainingPictures(valid, lambda: masked(valid).masks),
        )
    whole = prepare_with_progress(options, registry, quiet)
    if whole.synthetic:
        note("training on synthetic samples is for trying things out; real weights need --data PATH_TO_CELEBA", quiet)
    if len(whole) < 2 * _HOLD_OUT:
        raise DataError(f"{len(whole)} pictures are too few to train on: give at least {2 * _HOLD_OUT}")
    train, valid = whole.cut(_HOLD_OUT)
    cut_masked = cache(lambda: masked(whole).cut(_HOLD_OUT))  # masks are kept by pictures of the whole set
    return (
        _TrainingPictures(train, lambda: cut_masked()[0].masks),
        _TrainingPictures(valid, lambda: cut_masked()[1].masks),
    )


def _trained_on(train: ImageSet, valid: ImageSet) -> dict[str, Any]:
    """Return what weights tell of their data; pictures are listed unless facebench's split list has them."""
    told: dict[str, Any] = {"image_set": train.name, "split": train.split, "data_digest": train.digest}
    if (train.name, train.split) == ("celeba", "train"):
        told["watched"] = valid.split
    else:
        told["pictures"] = [*train.ids, *valid.ids]
        told["identities"] = sorted({*(train.identities or ()), *(valid.identities or ())})
    return told


def _choose_device(device: str | None, process: Process) -> str:
    """Return ``device``, or cuda where there is one; of several processes, each takes the GPU of its LOCAL_RANK."""
    import torch

    from facebench.errors import SettingError

    chosen = process.as_first("device", device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        parsed = torch.device(chosen)
    except RuntimeError:
        raise SettingError(f"--device {chosen}: no such device; use cpu or cuda") from None
    if parsed.type != "cuda":
        return chosen
    if not torch.cuda.is_available():
        raise SettingError(f"--device {chosen}: torch finds no GPU here; leave it out, or install torch for CUDA")
    if process.count > 1:
        if parsed.index is not None:
            raise SettingError(f"--device {chosen}: torchrun's processes take a GPU each; write --device cuda")
        if process.local_rank >= (count := torch.cuda.device_count()):
            raise SettingError(f"{platform.node()} has GPUs for {count} processes: start --nproc-per-node {count}")
        torch.cuda.set_device(process.local_rank)
    return chosen


class _ProgressBar:
    """Shows steps, loss, validation loss and images/s on standard error."""

    def __init__(self, codec: str, quiet: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=f"training {codec}", unit="step", disable=quiet, delay=0.1)
        self._shown: dict[str, float] = {}

    def __call__(self, step: int, total: int | None, figures: dict[str, float]) -> None:
        if total is not None:
            self._bar.total = total
        if self._bar.n == 0 and step > 1:
            self._bar.initial = step - 1
        self._shown |= figures
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in self._shown.items()}, refresh=False)
        self._bar.update(step - self._bar.n)

    def close(self) -> None:
        self._bar.close()
