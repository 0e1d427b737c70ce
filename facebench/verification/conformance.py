"""Runs the conformance suite, in a quick form, on every codec of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facebench.errors import FacebenchError
from facebench.plugins import Registry
from facebench.store import Run
from facebench.testing import check_codec
from facebench.verification.rebuild import not_installed, rebuild

#: What decides whether published bytes are honest and decode elsewhere; 'facebench check' runs everything.
QUICK = (
    "description",
    "round trip",
    "plain pictures",
    "determinism",
    "batch as single",
    "honest bits",
    "independent decoder",
    "another process",
    "empty payload",
    "truncated payloads",
)


def conformance(
    run: Run, registry: Registry, tell: Callable[[str], None] = lambda line: None
) -> tuple[list[str], list[str]]:
    """Check each distinct codec of ``run``, at one of its operating points and the run's picture size.

    Returns the codecs that do not conform and those that cannot be checked, one line each; ``tell`` is called with
    one line per codec as it comes.
    """
    side = int(run.manifest["image_set"]["preprocessing"]["size"])
    failed, skipped = [], []
    for codec, (name, entry) in _one_point_each(run.manifest["points"]).items():
        try:
            rebuild(name, entry, registry)
            report = check_codec(name, (side, side), sizes=(), only=QUICK)
        except FacebenchError as error:
            installed = codec in registry.codecs
            skipped.append(f"{name}: not checked ({error})" if installed else not_installed(entry, error))
            continue
        tell(report.summary())
        if not report.ok:
            failed.append(f"{report.summary()}; {'; '.join(map(str, report.failed))}")
    return failed, skipped


def _one_point_each(points: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return a point of each codec, one without a byte budget: the suite checks the codec itself."""
    chosen: dict[str, tuple[str, Any]] = {}
    for name, entry in points.items():
        if entry.get("budget") is None:
            chosen.setdefault(str(entry["codec"]), (name, entry))
    return chosen
