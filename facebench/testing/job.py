"""What a child process of the conformance suite is asked to do; crosses over as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facebench.codec import Codec, SettingValue
from facebench.errors import PluginError
from facebench.plugins import load_object


@dataclass(frozen=True)
class Job:
    """A list of ``steps`` (names of checks) with one codec at ``size`` = (height, width) in pixels.

    ``folder`` holds what processes of one suite hand on: ``payloads.json`` and ``pictures*.npy``; ``output``
    is the file there that the ``decode`` step writes, decoding ``batch`` payloads at a time. ``time_limit``
    (seconds for one payload) and ``memory_limit`` (bytes over what the process had before) are the limits of
    decoding damaged payloads; anything else may take six times as long.
    """

    name: str
    target: str
    settings: dict[str, SettingValue]
    size: tuple[int, int]
    folder: str
    steps: tuple[str, ...]
    time_limit: float
    memory_limit: int
    lossless: bool = False
    rate_setting: str | None = None
    sweep: tuple[SettingValue, ...] = ()
    batch: int = 1
    output: str = ""

    def to_json(self) -> str:
        """Return the job as JSON text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Job:
        """Return the job that :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        for name in ("size", "steps", "sweep"):
            values[name] = tuple(values[name])
        return Job(**values)

    def make(self, size: tuple[int, int] | None = None, settings: Mapping[str, SettingValue] | None = None) -> Codec:
        """Return a new instance of the codec, with some settings changed; raises what its constructor raises."""
        cls = load_object(self.target)
        if not (isinstance(cls, type) and issubclass(cls, Codec)):
            raise PluginError(f"{self.target} is not a subclass of facebench.Codec")
        codec: Codec = cls(size or self.size, **{**self.settings, **(settings or {})})
        return codec

    def write_payloads(self, payloads: list[bytes]) -> None:
        """Hand ``payloads`` on to other processes."""
        (Path(self.folder) / "payloads.json").write_text(json.dumps([p.hex() for p in payloads]))

    def read_payloads(self) -> list[bytes]:
        """Return the payloads that another process wrote."""
        return [bytes.fromhex(p) for p in json.loads((Path(self.folder) / "payloads.json").read_text())]
