"""Copies the tables that README.md shows out of results/celeba-64/leaderboard.md: python results/readme_tables.py."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEADERBOARD = ROOT / "results" / "celeba-64" / "leaderboard.md"
README = ROOT / "README.md"
#: The operating points whose rows README.md shows.
SHOWN = ("facet:rate=14", "cvae:step=3", "dcgan:step=3", "jpeg:quality=85", "eigenfaces:step=1", "webp:quality=10")


def blocks(leaderboard: str) -> dict[str, str]:
    """Return the text of each of README.md's marked blocks, made of whole lines of the leaderboard."""
    whole = leaderboard.partition("### 1-SSIM over whole pictures")[2].partition("###")[0]
    lines = whole.splitlines()
    main = [line for line in leaderboard.partition("## At equal bytes")[0].splitlines() if line.startswith("|")]
    names = {name for point in SHOWN for name in (point, f"{point}+Mask")}
    rows = [line for line in main[2:] if _name(line) in names and line.count("|") == main[0].count("|")]
    return {
        "equal bytes": "\n".join(line for line in lines if line.startswith("|")),
        "verdicts": "\n".join(line for line in lines if line.startswith("- ")),
        "operating points": "\n".join([*main[:2], *rows]),
    }


def _name(row: str) -> str:
    return row.split("|")[2].strip().rstrip("¹²³⁴⁵⁶⁷⁸⁹⁰ ")


def updated(readme: str, leaderboard: str) -> str:
    """Return README.md's text with the blocks as the leaderboard has them."""
    for name, text in blocks(leaderboard).items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        readme = re.sub(pattern, lambda found, text=text: f"{found[1]}{text}\n{found[2]}", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    README.write_text(updated(README.read_text(), LEADERBOARD.read_text()))
