"""A real headless Chromium for tests: found, installed where the test set-up may, or a reason to skip."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Without these Chromium asks its maker's hosts for components and accounts at every start.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a headless Chromium with a profile of its own; skips the test with the reason where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="browser tests need playwright: pip install '.[test]'"
    )
    path = _chromium_path()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@lru_cache
def _chromium_path() -> str | None:
    """Return the path of Chromium; in CI, as root on Debian, it is installed first."""
    path = _found()
    if path is None and os.environ.get("CI") and shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, check=False)
        path = _found()
    return path


def _found() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)
