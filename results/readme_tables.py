"""Copies the tables that README.md shows out of the published leaderboards: python results/readme_tables.py."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEADERBOARD = ROOT / "results" / "celeba-64" / "leaderboard.md"
BUDGETS = ROOT / "results" / "celeba-64-budgets" / "leaderboard.md"
README = ROOT / "README.md"
#: The operating points whose rows README.md shows, and the columns.
SHOWN = ("facet:rate=14", "cvae:step=3", "dcgan:step=3", "jpeg:quality=85", "eigenfaces:step=1", "webp:quality=10")
#: The codecs whose budgets it shows.
BUDGETED = ("facet", "eigenfaces", "cvae", "jpeg", "webp", "avif", "heic", "vp9")
COLUMNS = ("codec", "bytes", "ratio", "1-SSIM", "1-MS-SSIM", "L1", "L2", "decoder weights")
_MARKS = "[¹²³⁴⁵⁶⁷⁸⁹⁰]"


def blocks(leaderboard: str, budgets: str) -> dict[str, str]:
    """Return the text of each of README.md's marked blocks, out of the texts of the two leaderboards."""
    return {
        "equal bytes": re.sub(
            _MARKS, "", _table(leaderboard, "### Who is better at how many bytes, over whole pictures")
        ),
        "budgets": _of_codecs(_table(budgets.partition("## Byte budgets")[2], "### 1-SSIM over whole pictures")),
        "operating points": _operating_points(leaderboard.partition("## At equal bytes")[0]),
    }


def _table(text: str, heading: str) -> str:
    """Return the table below ``heading``."""
    section = re.split(r"\n#+ ", text.partition(f"{heading}\n")[2], maxsplit=1)[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def _of_codecs(table: str) -> str:
    header, rule, *rows = table.splitlines()
    return "\n".join([header, rule, *(row for row in rows if re.split(r"[\s:+]", row[2:])[0] in BUDGETED)])


def _operating_points(standings: str) -> str:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in standings.splitlines() if line[:1] == "|"]
    header = rows[0]
    chosen = [next(i for i, name in enumerate(header) if name.split(" [")[0] == column) for column in COLUMNS]
    names = {name for point in SHOWN for name in (point, f"{point}+Mask")}
    shown = [row for row in rows if len(row) == len(header) and _name(row[header.index("codec")]) in names]
    lines = [[header[i] for i in chosen], ["---"] * len(chosen), *([_name(row[i]) for i in chosen] for row in shown)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(cell: str) -> str:
    """Return a cell without the marks of its footnotes."""
    return re.sub(_MARKS, "", cell).strip()


def updated(readme: str, leaderboard: str, budgets: str) -> str:
    """Return README.md's text with the blocks as the leaderboards have them."""
    for name, text in blocks(leaderboard, budgets).items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        readme = re.sub(pattern, lambda found, text=text: f"{found[1]}{text}\n{found[2]}", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    README.write_text(updated(README.read_text(), LEADERBOARD.read_text(), BUDGETS.read_text()))
