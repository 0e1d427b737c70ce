"""Picture quality metrics; only their descriptions are here, nothing heavy is imported."""

from __future__ import annotations

from facebench.hookspecs import MetricSpec

METRICS: tuple[MetricSpec, ...] = ()
