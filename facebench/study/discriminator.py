"""Why the paper's discriminator has a flat loss, and what changes when it has not: section 8."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facebench.errors import ResultsError
from facebench.report.plot import saved_figure
from facebench.report.text import NONE, markdown_table, number, plain

#: Below the study's folder: the cards of short trainings that differ from the first in one thing each.
FOLDER = "discriminator"
_BASE = "discriminator"
#: What differs from the first, by the recipe's name.
RECIPES = {
    _BASE: "as the paper's (learning rate 0.0005 for both, cross-entropy)",
    f"{_BASE}-fast": "four times the discriminator's rate",
    f"{_BASE}-slow": "a fifth of the discriminator's rate",
    f"{_BASE}-smoothed": "smoothed labels",
    f"{_BASE}-hinge": "hinge loss",
    f"{_BASE}-spectral": "spectral norm",
    f"{_BASE}-hinge-spectral": "hinge loss and spectral norm",
    f"{_BASE}-255": "it sees pictures on [0, 255]",
    f"{_BASE}-loss255": "reconstruction loss on [0, 255]",
    f"{_BASE}-unweighted": "reconstruction loss not weighted by ten",
}
#: Share of pictures that a discriminator tells from which on it has learned something.
LEARNED = 0.75
#: Entries at the end of a curve whose mean counts.
_LAST = 3

Cards = Mapping[str, Mapping[str, Any]]


def read_cards(folder: Path) -> Cards:
    """Return the cards in ``folder`` by the names of their recipes, the base first; none where there is no folder.

    Raises ResultsError if one cannot be read, or the base is not among them.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            card = json.loads(file.read_text())
            found[file.stem] = {name: card[name] for name in ("recipe", "curve", "steps", "seed", "command")}
            _ends(found[file.stem])
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise ResultsError(f"{file} is no card of facebench train ({error}): remove it, or train again") from error
    if found and _BASE not in found:
        raise ResultsError(f"{folder} lacks {_BASE}.json, which the others are held against: train that recipe too")
    return dict(sorted(found.items(), key=lambda pair: pair[0] != _BASE))


def training_commands() -> list[str]:
    """Return the commands whose cards :func:`read_cards` reads, of weights that serve for nothing else."""
    out = f"results/facial-image-reconstruction/{FOLDER}"
    return [
        f"facebench train dcgan --recipe {name} --data PATH_TO_CELEBA --out {out}/{name}.safetensors"
        for name in RECIPES
    ]


def discriminator_section(cards: Cards) -> str:
    """Return the section: what each change makes of the discriminator and of the reconstruction."""
    if not cards:
        commands = "\n".join(f"    {command}" for command in training_commands())
        return f"Not measured yet. The trainings that this needs, eight minutes each, are:\n\n{commands}"
    base = cards[_BASE]["recipe"]
    rows = []
    for name, card in cards.items():
        recipe, ends = card["recipe"], _ends(card)
        changed = [f"{field} {value}" for field, value in recipe.items() if value != base.get(field)]
        rows.append(
            [
                what_differs(name),
                f"`{name}`",
                ", ".join(changed) or NONE,
                plain(ends["discriminator"], 3),
                f"{plain(100 * ends['accuracy'], 1)} %",
                number(ends["valid"]),
            ]
        )
    steps = {card["steps"] for card in cards.values()}
    headers = ["what differs", "recipe", "fields", "discriminator's loss", "pictures it tells apart", "validation L1"]
    return "\n\n".join(
        (
            "![discriminators](discriminator.svg)",
            "The paper's open question. A discriminator that cannot tell decoded pictures from real ones has a "
            f"cross-entropy of ln 2 = {math.log(2):.3f} (a hinge loss of 1) and tells half of them. Short trainings "
            f"of dcgan, {' or '.join(f'{count:,}' for count in sorted(steps))} steps each from the same seed; means "
            "of the last entries of their curves.",
            markdown_table(headers, rows, left=(0, 1, 2)),
            _answer(cards),
            f"Each is `facebench train dcgan --recipe RECIPE`; its card is in `{FOLDER}/`.",
        )
    )


def _answer(cards: Cards) -> str:
    """Return what the trainings say of the flat loss, as far as it follows from where they ended."""
    ends = ends_of(cards)
    base = ends[_BASE]
    told = {name: found for name, found in ends.items() if found["accuracy"] >= LEARNED}
    if base["accuracy"] >= LEARNED:
        return f"Here the paper's own setting is not flat: its discriminator tells {base['accuracy']:.0%}."
    first = cards[_BASE]["curve"]["accuracy"][0]
    cause = (
        "so it can learn; the decoder gets past it, and the loss rises to that of chance and stays there"
        if first >= LEARNED
        else "it has learned next to nothing, and its loss is that of chance"
    )
    text = f"With the paper's setting it tells {first:.0%} at first and {base['accuracy']:.0%} at the end: {cause}."
    if not told:
        return f"{text} Nothing that was tried made it tell {LEARNED:.0%}."
    names = "; ".join(f"{what_differs(name)} ({found['accuracy']:.0%})" for name, found in told.items())
    return f"{text} On the mean of its last {_LAST} entries it tells {LEARNED:.0%} and more with: {names}."


def what_differs(name: str) -> str:
    """Return in words what the training by the recipe ``name`` differs in from the first."""
    return RECIPES.get(name, name)


def ends_of(cards: Cards) -> dict[str, dict[str, float]]:
    """Return where each training ended, by the name of its recipe: see :func:`_ends`."""
    return {name: _ends(card) for name, card in cards.items()}


def _ends(card: Mapping[str, Any]) -> dict[str, float]:
    """Return the means of the last entries of ``discriminator``, ``accuracy`` and ``valid``, this on [0, 1]."""
    last = {name: card["curve"][name][-_LAST:] for name in ("discriminator", "accuracy", "valid")}
    means = {name: sum(values) / len(values) for name, values in last.items()}
    scale = 255 if "@255" in card["recipe"]["loss"] else 1
    return {**means, "valid": means["valid"] / scale}


def draw_discriminators(cards: Cards, path: Path) -> None:
    """Draw losses and accuracies of the discriminators over the steps, as SVG and, beside it, PNG."""
    with saved_figure(path, (13.5, 4)) as figure:
        left, right = figure.subplots(1, 2)
        for name, card in cards.items():
            curve = card["curve"]
            style = {"linewidth": 2.2, "color": "black"} if name == _BASE else {"linewidth": 1.1}
            label = "as the paper's" if name == _BASE else what_differs(name)
            left.plot(curve["steps"], curve["discriminator"], label=label, **style)
            right.plot(curve["steps"], [100 * share for share in curve["accuracy"]], **style)
        for chance in (math.log(2), 1):
            left.axhline(chance, color="grey", linewidth=0.8, linestyle=":")
        right.axhline(50, color="grey", linewidth=0.8, linestyle=":")
        left.set_ylabel("discriminator's loss (dotted: chance, of a hinge 1)")
        right.set_ylabel("pictures it tells apart, % (dotted: chance)")
        for axes in (left, right):
            axes.set_xlabel("steps")
            axes.grid(True, linewidth=0.3, color="#dddddd")
        figure.legend(loc="outside right center", fontsize=7, frameon=False)
