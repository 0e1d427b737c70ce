"""What a study has measured: its finished runs, and what it asks of codecs and pictures besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench.analysis.significance import difference_interval, pairwise_p
from facebench.analysis.summary import WHOLE, Row, Summary, summarise
from facebench.data.imageset import ImageSet
from facebench.operating_point import label, make_codec, parse_points
from facebench.plugins import Registry
from facebench.store import Run

#: Pictures that are encoded and decoded at a time.
_BATCH = 128


@dataclass(frozen=True)
class Difference:
    """A difference of two means, its 95 % interval and p-value: paired over the people of the set."""

    change: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Measured:
    """A finished run of a study."""

    run: Run
    registry: Registry

    @cached_property
    def summary(self) -> Summary:
        """The run's summary."""
        return summarise(self.run)

    @property
    def data_digest(self) -> str:
        """The digest of the pictures."""
        return str(self.run.manifest["image_set"]["digest"])

    def label(self, point: str) -> str:
        """Return the run's label of an operating point, however ``point`` orders its settings."""
        (parsed,) = parse_points(point, self.registry)
        return label(self.registry.codecs[parsed.codec], parsed)

    def row(self, point: str, mask: str = WHOLE) -> Row | None:
        """Return the row of ``point``, or None if none of its pictures went well: its weights may not be there."""
        row = self.summary.row(self.label(point), mask)
        return row if row is not None and row.pictures else None

    def mean(self, point: str, metric: str, mask: str = WHOLE) -> float:
        """Return the mean of ``metric`` at ``point``, NaN where there is none."""
        row = self.row(point, mask)
        return row.metrics[metric].mean if row is not None and metric in row.metrics else math.nan

    def difference(self, one: str, other: str, metric: str, mask: str) -> Difference:
        """Return ``one`` minus ``other`` in ``metric``; all NaN where either has no value."""
        keys = [(self.label(point), mask, metric) for point in (one, other)]
        means = np.array([self.mean(point, metric, mask) for point in (one, other)])
        change = float(means[0] - means[1])
        if not all(key in self.summary.resampled for key in keys):
            return Difference(change, math.nan, math.nan, math.nan)
        resampled = np.stack([self.summary.resampled[key] for key in keys], axis=1)
        clusters = self.summary.clusters([label for label, *_ in keys], metric, mask)
        p = pairwise_p(means, resampled, clusters=clusters)[0, 1]
        return Difference(change, *difference_interval(resampled[:, 0], resampled[:, 1]), float(p))

    def values(self, point: str, metric: str, mask: str = WHOLE) -> NDArray[np.float64]:
        """Return ``metric`` of each picture that did not fail, (N,)."""
        records = self.run.records
        chosen = (records["point"] == self.label(point)) & (records["mask"] == mask) & (records["status"] == "ok")
        return np.asarray(records.loc[chosen, metric].to_numpy(dtype=np.float64))


@dataclass(frozen=True)
class Identity:
    """Whether the person is still recognised: at byte budgets, and at operating points of the papers' tables."""

    in_budgets: Measured
    as_published: Measured


@dataclass(frozen=True)
class Evidence:
    """All that the page of a study is made of; ``identity`` is None where those steps were not run."""

    systems: Measured
    as_published: Measured
    identity: Identity | None
    images: ImageSet
    registry: Registry

    @property
    def runs(self) -> list[Measured]:
        """All finished runs."""
        identity = [self.identity.in_budgets, self.identity.as_published] if self.identity else []
        return [self.systems, self.as_published, *identity]

    @cached_property
    def cards(self) -> Mapping[str, Mapping[str, Any]]:
        """How the weights of each curve of ``systems`` were trained, by the curve's name; of those that tell it."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, about in self.systems.run.manifest["points"].items():
            if about["curve"] in found or not about.get("weights_digest"):
                continue
            (point,) = parse_points(name, self.registry)
            card = make_codec(self.registry.codecs[point.codec], point, self.images.size).training_card()
            if card is not None:
                found[about["curve"]] = card
        return found

    def decoded(self, point: str) -> NDArray[np.uint8]:
        """Return the study's pictures as ``point`` leaves them, (N, H, W, 3); raises what making the codec does."""
        (parsed,) = parse_points(point, self.registry)
        encoder, decoder = (make_codec(self.registry.codecs[parsed.codec], parsed, self.images.size) for _ in range(2))
        made = np.empty(self.images.images.shape, np.uint8)
        for start in range(0, len(made), _BATCH):
            batch = slice(start, start + _BATCH)
            made[batch] = np.stack(decoder.decode_batch(encoder.encode_batch(self.images.images[batch])))
        return made
