"""Checks of what a codec says about itself, which need no instance of it."""

from __future__ import annotations

import re

from facebench.codec import CodecSpec, Setting, SettingValue
from facebench.errors import FacebenchError
from facebench.operating_point import OperatingPoint, label, parse_points
from facebench.plugins import Registry


def faults(spec: CodecSpec, registry: Registry) -> list[str]:
    """Return what is wrong with the description, each as one line."""
    found: list[str] = []
    if not re.fullmatch(r"[a-z][a-z0-9_.-]*", spec.name):
        found.append(f"name '{spec.name}' is not a lower-case word")
    if not re.fullmatch(r"[\w.]+:\w+", spec.target):
        found.append(f"target '{spec.target}' is not \"module:Class\"")
    names = [setting.name for setting in spec.settings]
    for name in sorted({n for n in names if names.count(n) > 1}):
        found.append(f"setting {name} is declared twice")
    for setting in spec.settings:
        found += _setting_faults(setting)
    if spec.rate_setting is not None and spec.rate_setting not in names:
        found.append(f"rate setting '{spec.rate_setting}' is not among the settings")
    elif spec.budget_setting is not None and spec.budget_setting not in names:
        found.append(f"budget setting '{spec.budget_setting}' is not among the settings")
    elif spec.sweep and spec.rate_setting is None:
        found.append("there is a sweep, but no rate setting")
    elif not found:
        values = [spec.setting(n).default for n in names]  # type: ignore[union-attr]
        defaults = OperatingPoint(spec.name, tuple(zip(names, values, strict=True)))
        found += _text_faults(spec, registry, defaults)
        for value in spec.sweep:
            changed = tuple((n, value if n == spec.rate_setting else v) for n, v in defaults.settings)
            found += _text_faults(spec, registry, OperatingPoint(spec.name, changed))
    return found


def _setting_faults(setting: Setting) -> list[str]:
    where, value = f"setting {setting.name}", setting.default
    if not setting.name.isidentifier() or setting.name in ("self", "size"):
        return [f"{where}: not usable as a keyword argument of the class"]
    if setting.kind not in (int, float, bool, str):
        return [f"{where}: kind is {setting.kind!r}, not int, float, bool or str"]
    if type(value) is not setting.kind:
        return [f"{where}: the default {value!r} is not of its kind, {setting.kind.__name__}"]
    if setting.choices and value not in setting.choices:
        return [f"{where}: the default {value!r} is not among its choices"]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _within(setting, value):
        return [f"{where}: the default {value!r} is not within {setting.low} to {setting.high}"]
    return []


def _within(setting: Setting, value: float) -> bool:
    return (setting.low is None or value >= setting.low) and (setting.high is None or value <= setting.high)


def _text_faults(spec: CodecSpec, registry: Registry, point: OperatingPoint) -> list[str]:
    """Return a fault if the text that names ``point`` does not lead back to it."""
    text = label(spec, point)
    try:
        back = parse_points(text, registry)
    except FacebenchError as error:
        return [str(error)]
    if back != [point]:
        return [f"{_difference(point, back[0])} comes back otherwise from its text, {text}"]
    return []


def _difference(point: OperatingPoint, back: OperatingPoint) -> str:
    values: dict[str, SettingValue] = back.values()
    return ", ".join(f"{name}={value!r}" for name, value in point.settings if values.get(name) != value)
