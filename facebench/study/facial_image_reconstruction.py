"""The study of "Facial Image Reconstruction": every system that it names, and its yardstick."""

from __future__ import annotations

from pathlib import Path

from facebench.data.imageset import ImageSet
from facebench.paths import MANIFEST
from facebench.plugins import Registry
from facebench.store import read_run
from facebench.study.evidence import Evidence, Identity, Measured
from facebench.study.page import SHEET, write_page
from facebench.study.papers import TABLE_2
from facebench.study.steps import Step

TITLE = "Facial Image Reconstruction, measured"
#: The pictures' size; their crop is the set's own, for CelebA the centre 148.
SIZE = 64

#: The steps' folders.
_SYSTEMS, _AS_PUBLISHED = "systems", "as-published"
_IDENTITY, _IDENTITY_AS_PUBLISHED = "identity", "identity-as-published"

_CLASSICAL = ("jpeg:headerless=true", "jpeg2000:headerless=true", "webp:headerless=true", "eigenfaces", "facet")
_LEARNED = ("cvae", "cvae-mask", "dcgan", "dcgan-mask", "dfcvae", "gmmvae", "nvae", "vqvae")
_MASKVAE = "maskvae:weights=" + "/".join(f"h{row.number}" for row in TABLE_2)

STEPS = (
    Step(
        _SYSTEMS,
        "every system at all its rates",
        (
            *_CLASSICAL,
            "jpeg",
            "jpeg2000",
            "webp",
            "png",
            *_LEARNED,
            "cvae:weights=paper",
            "dcgan:weights=paper",
            _MASKVAE,
        ),
        ("--sweep",),
        ("facebench-imagecodecs",),
    ),
    Step(
        _AS_PUBLISHED,
        "the operating points of the papers' tables",
        (
            "cvae:weights=flat/paper:latent=float32",
            "dcgan:weights=flat/paper:latent=float32",
            "cvae-mask:latent=float32",
            "dcgan-mask:latent=float32",
            f"{_MASKVAE}:latent=float32",
            "jpeg:quality=85",
        ),
        ("--metrics", "default,vif"),
        ("facebench-perceptual",),
    ),
    Step(
        _IDENTITY,
        "whether the person is still recognised, at three byte budgets",
        (*_CLASSICAL, *_LEARNED, "maskvae:weights=h9/h10"),
        ("--budget", "64,128,256", "--metrics", "default,identity"),
        ("facebench-imagecodecs", "facebench-identity"),
        on_request=True,
    ),
    Step(
        _IDENTITY_AS_PUBLISHED,
        "whether the person is still recognised, at operating points of the papers' tables",
        (
            "jpeg:quality=85",
            "cvae:weights=flat/paper:latent=float32",
            "dcgan:weights=flat/paper:latent=float32",
            "maskvae:weights=h9/h10:latent=float32",
        ),
        ("--metrics", "default,identity"),
        ("facebench-identity",),
        on_request=True,
    ),
)


def sheet_arguments(folder: Path) -> list[str]:
    """Return what follows ``facebench`` to draw a synthetic face as the systems leave it into ``folder``."""
    shown = ",".join((*_LEARNED, "maskvae:weights=h9", "facet", "eigenfaces", "jpeg:headerless=true"))
    return ["show", "sample:3", "--codecs", shown, "--bytes", "64,128", "--out", str(folder / SHEET)]


def write(folder: Path, images: ImageSet, registry: Registry, command: str, sheet: str | None) -> Path:
    """Write the page from the runs in ``folder``, measured on ``images``; returns its path.

    ``command`` is the study's own, ``sheet`` that of :func:`sheet_arguments`, None if nothing was drawn.
    """
    systems, as_published = (Measured(read_run(folder / name), registry) for name in (_SYSTEMS, _AS_PUBLISHED))
    identity = None
    if all((folder / name / MANIFEST).is_file() for name in (_IDENTITY, _IDENTITY_AS_PUBLISHED)):
        found = Identity(*(Measured(read_run(folder / n), registry) for n in (_IDENTITY, _IDENTITY_AS_PUBLISHED)))
        # Others may lie there, of other pictures than this command's.
        digests = {found.in_budgets.data_digest, found.as_published.data_digest}
        identity = found if digests == {systems.data_digest} else None
    evidence = Evidence(systems, as_published, identity, images, registry)
    return write_page(evidence, folder, TITLE, command, sheet)
