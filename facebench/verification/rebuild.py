"""From a manifest's entry back to the operating point that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facebench.codec import CodecSpec
from facebench.errors import FacebenchError
from facebench.operating_point import OperatingPoint, label
from facebench.plugins import Registry


@dataclass(frozen=True)
class Rebuilt:
    """An operating point of a manifest and the installed codec's spec; ``differences`` are one line each."""

    spec: CodecSpec
    point: OperatingPoint
    differences: tuple[str, ...] = ()


def rebuild(name: str, entry: Mapping[str, Any], registry: Registry) -> Rebuilt:
    """Return the operating point that the manifest calls ``name`` and describes by ``entry``.

    Settings that the entry lacks take their defaults. Raises UnknownName or PluginError if its codec is not
    installed.
    """
    spec = registry.codec(str(entry["codec"]))
    described: Mapping[str, Any] = entry.get("settings") or {}
    settings, differences = [], []
    for setting in spec.settings:
        value = described.get(setting.name, setting.default)
        if setting.kind is float and type(value) is int:  # JSON does not tell 1.0 from 1
            value = float(value)
        if type(value) is not setting.kind and value != setting.default:
            differences.append(f"{name}: the manifest's {setting.name} is {value!r}, which is no {spec.name} setting")
            value = setting.default
        settings.append((setting.name, value))
    budget = entry.get("budget")
    point = OperatingPoint(
        spec.name,
        tuple(settings),
        budget=None if budget is None else int(budget),
        downscale=bool(entry.get("downscale", False)),
    )
    differences += [
        f"{name}: the installed {spec.name} has no setting '{setting}'"
        for setting in described
        if spec.setting(setting) is None
    ]
    if not differences and (named := label(spec, point)) != name:
        differences.append(f"{name}: the manifest's settings are those of {named}")
    if spec.version != entry["version"]:
        differences.append(f"{spec.name} is version {spec.version} here, the run's was {entry['version']}")
    return Rebuilt(spec, point, tuple(differences))


def not_installed(entry: Mapping[str, Any], error: FacebenchError) -> str:
    """Return the line that says which plugin a codec of the manifest needs, after :func:`rebuild` raised ``error``."""
    return f"{entry['codec']} is not installed here, the run had it from {entry.get('origin')}: skipped ({error})"
