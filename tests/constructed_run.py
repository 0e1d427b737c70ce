"""Runs built by hand for the tests of analysis and report: a few pictures with known figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from facebench.store import Run

DIGEST = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Point:
    """An operating point of a constructed run: 1-SSIM and payload bytes of each picture.

    ``face`` holds 1-SSIM over the face, if the run is to have masks; ``failed`` maps positions to error kinds;
    ``about`` overrides entries of the manifest.
    """

    label: str
    whole: Sequence[float]
    sizes: Sequence[int]
    face: Sequence[float] | None = None
    failed: dict[int, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    side_bits: int = 0

    @property
    def codec(self) -> str:
        return self.label.split(":")[0]


def baseline(label: str, whole: Sequence[float], sizes: Sequence[int], **more: Any) -> Point:
    """A point of the baseline codec that the harness added by itself."""
    return Point(label, whole, sizes, about={"baseline": True, "requested": False, "weights_bytes": 4000}, **more)


def make_run(
    points: Sequence[Point],
    *,
    name: str = "constructed",
    identities: Sequence[str] | None = None,
    metrics: dict[str, Any] | None = None,
    image_set: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
) -> Run:
    """Return the run of ``points``, 64x64 pictures; L1 is 1-SSIM / 10, L2 its square, PSNR 20 + L1."""
    count = len(points[0].whole)
    rows = []
    for point in points:
        for mask, values in (("none", point.whole), ("face", point.face)):
            for position, value in enumerate([] if values is None else values):
                error = point.failed.get(position)
                value = float("nan") if error else value
                rows.append(
                    {
                        "point": point.label,
                        "codec": point.codec,
                        "curve": point.about.get("curve", point.codec),
                        "picture": f"set:{position}",
                        "position": position,
                        "identity": identities[position] if identities else "",
                        "mask": mask,
                        "payload_bytes": point.sizes[position],
                        "bits": 8 * point.sizes[position] + point.side_bits,
                        "1-SSIM": value,
                        "L1": value / 10,
                        "L2": value**2,
                        "PSNR": 20 + value / 10,
                        "encode_seconds": 0.002,
                        "decode_seconds": 0.004,
                        "status": error or "ok",
                        "detail": "",
                    }
                )
    described = {
        "1-SSIM": {"version": 1, "definition": "one minus SSIM", "higher_is_better": False, "unit": ""},
        "L1": {"version": 1, "definition": "mean absolute error", "higher_is_better": False, "unit": ""},
        "L2": {"version": 1, "definition": "mean squared error", "higher_is_better": False, "unit": ""},
        "PSNR": {"version": 1, "definition": "peak signal to noise", "higher_is_better": True, "unit": "dB"},
    }
    whole_manifest = {
        "facebench": "0.1.0",
        "api": 1,
        "command": f"facebench run --out {name}",
        "created": "2026-01-02T03:04:05+00:00",
        "git": {"commit": "c0ffee" * 6, "dirty": True},
        "machine": {"cpu": "Z80", "cores": 1, "os": "CP/M", "python": "3.11.2", "packages": {"numpy": "2.0.0"}},
        "image_set": {
            "name": "set",
            "split": "test",
            "pictures": count,
            "digest": DIGEST,
            "preprocessing": {"crop": "centre-148", "size": 64, "filter": "area"},
            "description": "crop centre-148, 64x64, area filter",
            "synthetic": False,
            "masker": "annotation",
            "no_mask_reason": "",
            **(image_set or {}),
        },
        "metrics": described if metrics is None else metrics,
        "points": {point.label: _about(point) for point in points},
        "sealed": False,
        "problems": [],
        **(manifest or {}),
    }
    return Run(name, whole_manifest, pd.DataFrame(rows))


def _about(point: Point) -> dict[str, Any]:
    return {
        "codec": point.codec,
        "version": "1",
        "origin": "facebench 0.1.0",
        "settings": {},
        "curve": point.codec,
        "rate_setting": None,
        "weights_bytes": 0,
        "weights_digest": None,
        "trained_on": None,
        "overlap": {"pictures": 0, "identities": 0},
        "baseline": False,
        "lossless": False,
        "requested": True,
        **point.about,
    }
