"""What the harness itself brings through its own entry point: image sets, metrics and a masker."""

from __future__ import annotations

from collections.abc import Iterable

from facebench.hookspecs import ImageSetSpec, MaskerSpec, MetricSpec, hookimpl
from facebench.masks import parser
from facebench.masks.spec import WeightedMaskerSpec
from facebench.metrics import METRICS

FACEBENCH_API = 1

#: CelebA's terms, as 'facebench data' and every celeba table repeat them.
CELEBA_TERMS = (
    "CelebA is obtained from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html under its terms: non-commercial "
    "research only, no redistribution"
)


@hookimpl
def facebench_image_sets() -> Iterable[ImageSetSpec]:
    """Return the built-in image sets."""
    return (
        ImageSetSpec(
            "samples",
            "facebench.data.samples:open_source",
            ("all",),
            "synthetic faces that come with facebench; for trying things out, not for publication",
            "made by facebench from a generative model; no picture of a real person",
        ),
        ImageSetSpec(
            "celeba",
            "facebench.data.celeba:open_source",
            ("test", "valid", "train", "official-test", "official-valid", "official-train", "all"),
            "CelebA, aligned; facebench's own split by identity unless --split official-... Needs "
            "img_align_celeba.zip; list_eval_partition.txt for the official splits; identity_CelebA.txt for "
            "identities beyond its own split",
            CELEBA_TERMS,
        ),
        ImageSetSpec(
            "folder",
            "facebench.data.folder:open_source",
            ("all",),
            "any folder of pictures: --data folder:PATH or folder:URL",
            "the pictures are yours: their terms are yours to know",
        ),
    )


@hookimpl
def facebench_metrics() -> Iterable[MetricSpec]:
    """Return the built-in metrics."""
    return METRICS


@hookimpl
def facebench_maskers() -> Iterable[MaskerSpec]:
    """Return the built-in masker, the default for image sets without face masks."""
    return (
        WeightedMaskerSpec(
            parser.NAME,
            "facebench.masks.parser.masker:face_masks",
            parser.VERSION,
            "a small network that finds face and hair in pictures framed like CelebA's",
            weights="facebench.masks.parser:weights.safetensors",
        ),
    )
