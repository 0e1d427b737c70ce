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
COLUMNS = ("codec", "bytes", "ratio", "1-SSIM", "1-MS-SSIM", "L1", "L2", "decoder weights")


def blocks(leaderboard: str, budgets: str) -> dict[str, str]:
    """Return the text of each of README.md's marked blocks, out of the texts of the two leaderboards."""
    return {
        "equal bytes": _section(leaderboard, "### Who is better at how many bytes, over whole pictures"),
        "budgets": _table(_section(budgets.partition("## Byte budgets")[2], "### 1-SSIM over whole pictures")),
        "operating points": _operating_points(leaderboard.partition("## At equal bytes")[0]),
    }


def _section(text: str, heading: str) -> str:
    """Return what stands below ``heading``, up to the next one."""
    return re.split(r"\n#+ ", text.partition(f"{heading}\n")[2], maxsplit=1)[0].strip()


def _table(section: str) -> str:
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


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
    return cell.rstrip("¹²³⁴⁵⁶⁷⁸⁹⁰ ")


def updated(readme: str, leaderboard: str, budgets: str) -> str:
    """Return README.md's text with the blocks as the leaderboards have them."""
    for name, text in blocks(leaderboard, budgets).items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        readme = re.sub(pattern, lambda found, text=text: f"{found[1]}{text}\n{found[2]}", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    README.write_text(updated(README.read_text(), LEADERBOARD.read_text(), BUDGETS.read_text()))
