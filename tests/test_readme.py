"""README.md is true: its commands exist, its tables are the published ones, CI runs its test command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from facebench.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "codecs/README.md", "results/README.md", "plugins/README.md")


def documented_commands() -> list[str]:
    found = []
    for page in PAGES:
        for line in (ROOT / page).read_text().splitlines():
            match = re.match(r" {4,}(?:[A-Z_]+=\S+ )?(facebench .*)", line)
            if match:
                found.append(re.split(r"\s{2,}|\s#\s|\s>\s", match[1])[0])
    return found


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command_parses(command: str) -> None:
    name, *rest = [word for word in shlex.split(command)[1:] if not word.startswith("[")]
    if name.startswith("-"):
        return  # an option of the group itself: --no-plugins
    subcommand = cli.get_command(click.Context(cli), name)
    assert subcommand is not None
    try:
        subcommand.make_context(name, rest)
    except click.UsageError as error:
        pytest.fail(f"{command}: {error.format_message()}")


def test_the_two_commands_are_one_line_each_and_ci_runs_the_second() -> None:
    for name in ("run", "test"):
        block = re.search(rf"<!-- {name} command -->\n```\n(.*?)\n```", README, re.DOTALL)
        assert block is not None
        assert "\n" not in block[1]
    script = (ROOT / ".ci" / "run").read_text()
    extract = next(line for line in script.splitlines() if line.startswith("command=$("))
    printed = subprocess.run(
        ["bash", "-c", f'{extract}; printf %s "$command"'], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert printed == block[1]


def test_the_tables_are_those_of_the_published_leaderboard() -> None:
    sys.path.insert(0, str(ROOT / "results"))
    from readme_tables import BUDGETS, LEADERBOARD, updated

    assert updated(README, LEADERBOARD.read_text(), BUDGETS.read_text()) == README
    assert README.count("| eigenfaces") >= 2


def test_published_runs_are_complete_and_of_real_faces() -> None:
    published = re.findall(r"^\| `([\w-]+)/`", (ROOT / "results" / "README.md").read_text(), re.MULTILINE)
    assert published
    for folder in (ROOT / "results" / name for name in published):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["image_set"]["name"] == "celeba"
        assert not manifest["image_set"]["synthetic"]
        assert manifest["git"] is not None and not manifest["git"]["dirty"]
        assert any(point["baseline"] for point in manifest["points"].values())
        for label, point in manifest["points"].items():
            assert point["overlap"] == {"pictures": 0, "identities": 0}, label
            assert not point["problem"], label
        text = (folder / "leaderboard.md").read_text()
        assert manifest["image_set"]["digest"][:12] in text


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            if not target.startswith("http"):
                assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def _codec_of(name: str, card: dict[str, Any]) -> str:
    """Return the codec whose weights are called ``name``: the first word, unless their recipe names it."""
    return str(card.get("recipe", {}).get("codec", name.partition("-")[0]))


def test_the_published_weights_digests_are_those_of_the_shipped_weights() -> None:
    cards = (ROOT / "codecs" / "facebench_codecs" / "weights").glob("*-64.json")
    manifest = json.loads((ROOT / "results" / "celeba-64" / "manifest.json").read_text())
    trained = ("cvae", "dcgan", "eigenfaces", "facet")
    shipped = {
        told["sha256"] for card in cards if _codec_of(card.stem, told := json.loads(card.read_text())) in trained
    }
    points = [point for point in manifest["points"].values() if point["codec"] in trained]
    used = {point["weights_digest"] for point in points}
    assert used == shipped
