"""What a study measures: commands of facebench that anyone can run by themselves."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One ``facebench run`` of a study; ``name`` is that of its results folder, ``what`` says what it is for.

    ``options`` are those of the run beside ``codecs``; ``plugins`` are packages that it needs. A step ``on_request`` is
    not part of the study's default.
    """

    name: str
    what: str
    codecs: tuple[str, ...]
    options: tuple[str, ...]
    plugins: tuple[str, ...]
    on_request: bool = False

    def with_lpips(self) -> Step:
        """Return the step with LPIPS among its metrics, where it has VIF too: the papers' tables name both."""
        return replace(self, options=tuple(re.sub(r"\bvif\b", "vif,lpips", option) for option in self.options))

    def arguments(self, out: Path, common: Sequence[str]) -> list[str]:
        """Return what follows ``facebench``; ``common`` are options that all steps share."""
        return ["run", "--codecs", ",".join(self.codecs), *self.options, *common, "--out", str(out / self.name)]


def run_facebench(arguments: Sequence[str]) -> int:
    """Run ``facebench`` with ``arguments`` in a process of its own; return its exit status.

    What it says goes to standard error as usual; its table, which its results folder holds, nowhere.
    """
    return subprocess.run([sys.executable, "-m", "facebench", *arguments], stdout=subprocess.DEVNULL).returncode


def shown(arguments: Sequence[str]) -> str:
    """Return a command as a user would write it."""
    return shlex.join(["facebench", *arguments])
