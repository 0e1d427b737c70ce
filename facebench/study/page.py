"""The page of a study: its sections in order, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facebench.data.imageset import ImageSet
from facebench.paths import atomic_path
from facebench.report.text import markdown_table
from facebench.study.claim import Claim
from facebench.study.claims import judged_claims
from facebench.study.discriminator import FOLDER, discriminator_section, draw_discriminators, ends_of, read_cards
from facebench.study.evidence import Evidence
from facebench.study.identity import identity_section
from facebench.study.masked_scores import masking_section, scores_of
from facebench.study.masked_training import masked_training
from facebench.study.rates import draw_rates, rates_section
from facebench.study.tables import table_1, table_2
from facebench.study.training import draw_training, training_section

PAGE = "README.md"
#: A contact sheet of a synthetic face, if it was drawn.
SHEET = "reconstructions.png"


def write_page(evidence: Evidence, folder: Path, title: str, command: str, sheet: str | None) -> Path:
    """Write the page and its plots into ``folder``; ``command`` is the study's own.

    ``sheet`` is the command that drew :data:`SHEET`, None if it was not drawn.
    """
    draw_rates(evidence, folder)
    draw_training(evidence, folder / "training.svg")
    cards = read_cards(folder / FOLDER)
    if cards:
        draw_discriminators(cards, folder / "discriminator.svg")
    scores = scores_of(evidence)
    sections = (
        ("The paper's claims", _claims_table(judged_claims(evidence, scores, ends_of(cards)))),
        ("1. Table 1: the student paper", table_1(evidence)),
        ("2. Table 2: Toledo & Antonelo 2021", table_2(evidence)),
        ("3. Does masking in training help?", masked_training(evidence)),
        ("4. Does the MSE rise under masking, and why?", masking_section(evidence, scores)),
        ("5. All systems at all rates", rates_section(evidence)),
        ("6. Training", training_section(evidence)),
        ("7. Is it still the same person?", identity_section(evidence.identity)),
        ("8. Why is the discriminator's loss flat?", discriminator_section(cards)),
        ("9. What it looks like", _pictures(sheet is not None)),
        ("How this was made", _origin(evidence, command, sheet)),
    )
    text = "\n\n".join([f"# {title}", _introduction(evidence), *(f"## {name}\n\n{body}" for name, body in sections)])
    with atomic_path(folder / PAGE) as path:
        path.write_text(text + "\n")
    return folder / PAGE


def _introduction(evidence: Evidence) -> str:
    data = evidence.systems.run.manifest["image_set"]
    faces = "SYNTHETIC faces, not for publication" if data["synthetic"] else "real faces"
    return (
        f'What "Facial Image Reconstruction" (Killingbeck, Kim, Nguyen, Vousden) claims, and what Toledo & Antonelo '
        f"2021 found before it, measured on {data['pictures']:,} {faces}{_people_and_masks(evidence.images)} "
        f"({data['name']}, split {data['split']}, {data['description']}; digest {data['digest'][:12]}) by trained "
        "codecs whose payloads are real bytes."
    )


def _people_and_masks(images: ImageSet) -> str:
    people = f" of {len(set(images.identities)):,} people" if images.identities else ""
    if images.masks is None:
        return people
    return f"{people}, with face masks (hair and face) over {images.masks.mean():.0%} of a picture on average"


def _claims_table(claims: Sequence[Claim]) -> str:
    rows = [[claim.text, f"**{claim.verdict}**", claim.figure] for claim in claims]
    return markdown_table(["the paper says", "verdict", "measured"], rows, left=(0, 1, 2))


def _pictures(sheet: bool) -> str:
    own = "`facebench show YOUR_FACE.jpg --codecs cvae,nvae,vqvae,facet --bytes 64` draws your own."
    if not sheet:
        return f"No contact sheet was drawn. {own}"
    return (
        "A synthetic face, as no real one may be shown; such faces flatter eigenfaces. Each codec at the most bytes "
        f"that fit into 64 and into 128, which need not look best:\n\n![contact sheet]({SHEET})\n\n{own}"
    )


def _origin(evidence: Evidence, command: str, sheet: str | None) -> str:
    weights = {
        about["weights_digest"]
        for measured in evidence.runs
        for about in measured.run.manifest["points"].values()
        if about.get("weights_digest")
    }
    ran = [str(measured.run.manifest["command"]) for measured in evidence.runs] + ([sheet] if sheet else [])
    return "\n\n".join(
        (
            "This page and its plots are written by",
            f"    {command}",
            "from what it ran itself or found finished:",
            "\n".join(f"    {text}" for text in ran),
            f"Each folder's manifest has versions, the {len(weights)} digests of weights, that of the data, metric "
            "definitions and machine.",
        )
    )
