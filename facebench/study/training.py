"""How the weights came to be: the curves and the table of section 6."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facebench.report.plot import saved_figure
from facebench.report.text import NONE, markdown_table, number, plain
from facebench.study.evidence import Evidence
from facebench.study.masked_training import differing
from facebench.study.papers import PAPER_STEPS, TOLEDO_STEPS

_COLUMNS = 4
#: Less than this share of the loss in the last fifth of the steps is flat.
_FLAT = 0.005


def training_section(evidence: Evidence) -> str:
    """Return the section: recipe, steps, time, seed and last gain of all weights whose cards tell them."""
    rows = []
    for name, card in _in_order(evidence.cards):
        curve = card["curve"]
        gain = _last_gain(curve)
        rates = curve.get("learning_rate") or [card["recipe"]["learning_rate"]]
        rows.append(
            [
                name,
                _described(card["recipe"]),
                f"{rates[0]:.2g} to {rates[-1]:.2g}" if rates[0] != rates[-1] else f"{rates[0]:.2g}",
                f"{card['steps']:,}",
                NONE if (steps := _published_steps(name)) is None else f"{steps:,}",
                plain(card["seconds"] / 60, 0),
                str(card["seed"]),
                NONE if gain is None else f"{gain:.1%}",
                card["stopped"],
            ]
        )
    headers = ["weights", "recipe", "learning rate", "steps", "published", "minutes", "seed", "last fifth", "stopped"]
    return "\n\n".join(
        (
            "![training curves](training.svg)",
            '"Last fifth" is by how much the best validation loss fell in the last fifth of the steps; below '
            f"{_FLAT:.1%} is flat. Where the learning rate falls to nothing by schedule, it is what the end of the "
            'schedule brought. "Published" are about the steps that the papers took. All other fields of each recipe, '
            "the curve, and the digests of data and weights are in the card beside the weights file. `maskvae` without "
            "a name of weights is h1.",
            markdown_table(headers, rows, left=(0, 1, 2, 8)),
            _how_far(evidence.cards),
            _what_more_would_bring(evidence),
        )
    )


def _how_far(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which trainings ended flat, and what that is worth."""
    gains = {name: _last_gain(card["curve"]) for name, card in _in_order(cards)}
    flat = [name for name, gain in gains.items() if gain is not None and gain < _FLAT]
    return (
        f"Flat by that measure: {', '.join(flat) or 'none'}. With an adversary the loss goes up and down, so that "
        "there single entries decide. Twins and hypotheses have equal steps, as the comparison between them is what "
        "counts. Minutes were taken beside other work on two cores."
    )


def _what_more_would_bring(evidence: Evidence) -> str:
    """Return what is known of longer trainings, from codecs of which two lengths were trained, and what is not."""
    cards, told = evidence.cards, []
    for codec in ("cvae", "dcgan"):
        paper = f"{codec}:weights=paper"
        if not {codec, paper} <= cards.keys():
            continue
        short, long = (min(cards[name]["curve"]["valid"]) for name in (paper, codec))
        others = [
            name.replace("_", " ") for name in differing(evidence, codec, paper) if name not in ("steps", "epochs")
        ]
        told.append(
            f"with {cards[codec]['steps']:,} instead of {cards[paper]['steps']:,} steps the best validation loss of "
            f"{codec} "
            + (f"fell by {1 - long / short:.0%}, " if long < short else "did not fall, ")
            + f"from {number(short)} to {number(long)}"
            + (f" (they differ in {', '.join(others)} too)" if others else "")
        )
    sentences = [f"What more steps would bring: {'; '.join(told)}."] if told else []
    sentences.append(
        "A schedule that ends in a learning rate of nothing ends flat whatever its length, so a longer one may end "
        "lower."
    )
    hypotheses = [card["steps"] for name, card in cards.items() if name.startswith("maskvae")]
    if hypotheses:
        sentences.append(
            f"The hypotheses had {max(hypotheses) / TOLEDO_STEPS:.0%} of their published steps: their order may change "
            "with more, and masked and plain twins are compared at this length only."
        )
    return " ".join(sentences)


def _last_gain(curve: Mapping[str, Any]) -> float | None:
    """Return by which share the best validation loss fell in the last fifth of the steps, None without an earlier."""
    steps, valid = curve["steps"], curve["valid"]
    before = [loss for step, loss in zip(steps, valid, strict=True) if step <= 0.8 * steps[-1]]
    return 1 - min(valid) / min(before) if before and min(before) else None


def _published_steps(name: str) -> int | None:
    """Return the steps that a paper took for the codec whose weights are called ``name``, or None."""
    codec = name.split(":")[0]
    return TOLEDO_STEPS if codec == "maskvae" else PAPER_STEPS.get(codec)


def _in_order(cards: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the cards by name, h10 after h9."""
    return sorted(cards.items(), key=lambda pair: [part.zfill(3) for part in re.split(r"(\d+)", pair[0])])


def _described(recipe: Mapping[str, Any]) -> str:
    """Return what a recipe's fields say, but for sizes."""
    weight = recipe["loss_weight"]
    parts = [f"{'' if weight == 1 else f'{weight:g} x '}{recipe['loss']}"]
    if recipe.get("mask", "none") != "none":
        parts.append(f"mask {recipe['mask']}{', mask decoder' if recipe.get('mask_decoder_width') else ''}")
    if recipe["discriminator_widths"]:
        parts.append("adversary")
    if recipe.get("prior", "gaussian") != "gaussian":
        parts.append(f"prior {recipe['prior']}")
    return "; ".join([*parts, f"batch {recipe['batch_size']}"])


def draw_training(evidence: Evidence, path: Path) -> None:
    """Draw the validation losses over the steps, a panel per loss, as SVG and, beside it, PNG."""
    panels: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, card in _in_order(evidence.cards):
        recipe = card["recipe"]
        over = {"none": "", "face": ", face", "pasted": ", pasted"}[recipe.get("mask", "none")]
        panels.setdefault(f"{recipe['loss']}{over}", []).append((name, card["curve"]))
    lines = max(1, -(-len(panels) // _COLUMNS))
    with saved_figure(path, (12, 2.6 * lines)) as figure:
        every = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
        for axes, (loss, curves) in zip(every, panels.items(), strict=False):
            for name, curve in curves:
                axes.plot(curve["steps"], curve["valid"], linewidth=1.1, label=name)
            axes.set_title(f"validation loss: {loss}", fontsize=8)
            axes.set_yscale("log")
            for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                formatted(lambda value, _: f"{value:.3g}")
            axes.set_xlabel("steps")
            axes.grid(True, which="both", linewidth=0.3, color="#dddddd")
            axes.legend(fontsize=6, frameon=False)
        for axes in every[len(panels) :]:
            axes.set_axis_off()
