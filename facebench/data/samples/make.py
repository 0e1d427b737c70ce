"""Makes the embedded samples, or checks them: ``python -m facebench.data.samples.make --data CELEBA --seed 0``.

Trains the generator on CelebA's train split (some twenty minutes on one core; killed and started again, it goes on from
its checkpoint), draws candidates, chooses the samples by rule and writes ``faces.png``, ``masks.png`` and
``figures.json``, the measurements against real faces, beside this file. ``--check`` only measures what is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.data import celeba, samples
from facebench.data.imageset import ImageSet
from facebench.data.preparation import prepare
from facebench.data.preprocess import Preprocessing
from facebench.data.samples.resemblance import PERCENTILES, TrainingFaces, mean_jpeg_bytes
from facebench.data.samples.selection import SelectionRules, choose, clean_mask, without_strands
from facebench.errors import DataError, FacebenchError
from facebench.metrics.structural import score as structural_score
from facebench.operating_point import label, make_codec, parse_points
from facebench.paths import atomic_path, cache_dir
from facebench.plugins import load_registry

CANDIDATES = 2048
#: How far samples may differ from real test faces.
JPEG_TOLERANCE = 0.15
CODEC_TOLERANCE = 0.20


@dataclass(frozen=True)
class Candidates:
    """Drawn faces (N, 64, 64, 3) uint8 RGB, masks (N, 64, 64) bool and how atypical they are, (N,) float32."""

    faces: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    atypicality: NDArray[np.float32]


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="CelebA's folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of the training and of the drawing.")
@click.option("--out", type=click.Path(path_type=Path), default=samples.HERE, help="Where to write; default: here.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Default: in facebench's cache.")
@click.option("--codecs", default="cvae,cvae:weights=paper", show_default=True, help="Those of the 1-SSIM comparison.")
@click.option("--check", is_flag=True, help="Only measure the samples that are there.")
def main(data: Path, seed: int, out: Path, checkpoint: Path | None, codecs: str, check: bool) -> None:
    """Make the embedded samples from CelebA, or check them."""
    try:
        train, test = (
            prepare(celeba.open_source(data, split), Preprocessing(celeba.DEFAULT_CROP)) for split in ("train", "test")
        )
        training_faces = TrainingFaces(np.asarray(train.images))
        if not check:
            default = cache_dir() / f"samples-generator-{seed}.checkpoint"
            _write(out, *_make(train, test, training_faces, seed, checkpoint or default))
        faces, masks = _read(out)
        figures = measure(faces, masks, test, training_faces, codecs)
    except FacebenchError as error:
        raise click.ClickException(str(error)) from error
    recorded = out / samples.FIGURES_FILE
    figures["seed"] = json.loads(recorded.read_text())["seed"] if check and recorded.is_file() else seed
    with atomic_path(recorded) as path:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    click.echo(json.dumps(figures, indent=1))
    failures = failed_requirements(figures)
    for failure in failures:
        click.echo(f"not met: {failure}", err=True)
    raise SystemExit(1 if failures else 0)


def _make(
    train: ImageSet, test: ImageSet, training_faces: TrainingFaces, seed: int, checkpoint: Path
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    candidates = _draw(train, seed, checkpoint)
    assert train.masks is not None
    chosen = choose(
        candidates.masks,
        candidates.atypicality,
        training_faces.distances(candidates.faces),
        training_areas=np.asarray(train.masks).mean((1, 2)),
        test_distances=training_faces.distances(np.asarray(test.images)),
        count=samples.COUNT,
        rules=SelectionRules(),
    )
    if len(chosen) < samples.COUNT:
        raise DataError(f"only {len(chosen)} of {CANDIDATES} candidates are good enough; raise CANDIDATES")
    return candidates.faces[chosen], np.stack([without_strands(mask) for mask in candidates.masks[chosen]])


def _draw(train: ImageSet, seed: int, checkpoint: Path) -> Candidates:
    """Train the generator, or continue it, and draw candidates from it."""
    import torch
    from tqdm import tqdm

    from facebench.data.samples.generator import GeneratorRecipe, GeneratorTraining, atypicality

    if train.masks is None:
        raise DataError(f"no face masks in the training set: {train.no_mask_reason}")
    recipe = GeneratorRecipe()
    training = GeneratorTraining(train.images, train.masks, recipe, seed)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=recipe.steps, unit="step") as bar:

        def report(step: int, losses: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)

        training.run(checkpoint, report)
    source = torch.Generator().manual_seed(seed)
    gain = training.sampler.gain(source)
    codes = torch.cat([training.sampler.draw(64, source) for _ in range(CANDIDATES // 64)]) * gain
    drawn = np.concatenate([training.generate(part, source) for part in codes.split(64)])
    return Candidates(
        faces=np.round((drawn[..., :3] + 1) * 127.5).astype(np.uint8),
        masks=np.stack([clean_mask(face[..., 3] > 0) for face in drawn]),
        atypicality=atypicality(codes).numpy(),
    )


def _write(out: Path, faces: NDArray[np.uint8], masks: NDArray[np.bool_]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    black_and_white = masks[..., None].astype(np.uint8) * np.uint8(255)
    for name, tiles, options in (
        (samples.FACES_FILE, faces[..., ::-1], []),
        (samples.MASKS_FILE, black_and_white, [cv2.IMWRITE_PNG_BILEVEL, 1]),
    ):
        best = [cv2.IMWRITE_PNG_COMPRESSION, 9, *options]
        _, data = cv2.imencode(".png", samples.to_sheet(np.ascontiguousarray(tiles)), best)
        with atomic_path(out / name) as path:
            path.write_bytes(data.tobytes())


def _read(out: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    sheet, masks = cv2.imread(str(out / samples.FACES_FILE)), cv2.imread(str(out / samples.MASKS_FILE), 0)
    if sheet is None or masks is None:
        raise DataError(f"no samples in {out}: run without --check first")
    faces = samples.from_sheet(np.asarray(sheet[..., ::-1], np.uint8))
    return faces, samples.from_sheet(np.asarray(masks[..., None], np.uint8))[..., 0] > 0


def measure(
    faces: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    test: ImageSet,
    training_faces: TrainingFaces,
    codec_names: str,
) -> dict[str, Any]:
    """Return what ``figures.json`` holds: the same measurements of the samples and of CelebA's test faces."""
    assert test.masks is not None
    both = {"samples": (faces, masks), "celeba test": (np.asarray(test.images), np.asarray(test.masks))}
    figures: dict[str, Any] = {"tolerances": {"jpeg": JPEG_TOLERANCE, "codec": CODEC_TOLERANCE}}
    for name, (pictures, face_masks) in both.items():
        figures[name] = {
            "pictures": len(pictures),
            "jpeg q85 bytes": round(mean_jpeg_bytes(pictures, 85), 1),
            "jpeg q20 bytes": round(mean_jpeg_bytes(pictures, 20), 1),
            "mask area": round(float(face_masks.mean()), 4),
            "nearest training face": training_faces.distances(pictures).at_percentiles(),
        }
    registry = load_registry()
    for name, (pictures, _) in both.items():
        figures[name]["codec 1-SSIM"] = {}
        for point in parse_points(codec_names, registry):
            spec = registry.codec(point.codec)
            codec = make_codec(spec, point, (samples.SIDE, samples.SIDE))
            decoded = np.stack(codec.decode_batch(codec.encode_batch(pictures)))
            dissimilarity = structural_score(pictures, decoded, None)["1-SSIM"]
            figures[name]["codec 1-SSIM"][label(spec, point)] = round(float(dissimilarity.mean()), 4)
    return figures


def failed_requirements(figures: dict[str, Any]) -> list[str]:
    """Return one line for each requirement that the measurements do not meet."""
    own, real = figures["samples"], figures["celeba test"]
    compared = [(key, own[key], real[key], JPEG_TOLERANCE) for key in ("jpeg q85 bytes", "jpeg q20 bytes")]
    for codec, value in own["codec 1-SSIM"].items():
        compared.append((f"1-SSIM of {codec}", value, real["codec 1-SSIM"][codec], CODEC_TOLERANCE))
    failures = [
        f"{what}: {value} is not within {tolerance:.0%} of {wanted}"
        for what, value, wanted, tolerance in compared
        if abs(value / wanted - 1) > tolerance
    ]
    for kind, distances in own["nearest training face"].items():
        for percentile in (f"p{p}" for p in PERCENTILES):
            limit = real["nearest training face"][kind][percentile]
            if distances[percentile] < limit:
                failures.append(
                    f"nearest training face, {kind}, {percentile}: {distances[percentile]} is below {limit}"
                )
    return failures


if __name__ == "__main__":
    main()
