"""Operating points: a codec with all its settings, and the text that names them (``jpeg:quality=50``)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from facebench.codec import Codec, CodecSpec, Setting, SettingValue
from facebench.errors import PluginError, SettingError
from facebench.plugins import Registry, load_object, unknown


@dataclass(frozen=True)
class OperatingPoint:
    """A codec with a value for every one of its settings, in the order in which they are declared."""

    codec: str
    settings: tuple[tuple[str, SettingValue], ...]

    def values(self) -> dict[str, SettingValue]:
        """Return the settings as a new dict."""
        return dict(self.settings)


def label(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return the text that names ``point``: the settings that differ from their defaults, and the rate setting."""
    shown = [
        (name, value)
        for name, value in point.settings
        if name == spec.rate_setting or value != _setting(spec, name).default
    ]
    return ":".join([point.codec, *(f"{name}={_quoted(value)}" for name, value in shown)])


def curve_label(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return the name of the curve that ``point`` lies on: its label without the rate setting."""
    rest = tuple((name, value) for name, value in point.settings if name != spec.rate_setting)
    shown = [(name, value) for name, value in rest if value != _setting(spec, name).default]
    return ":".join([point.codec, *(f"{name}={_quoted(value)}" for name, value in shown)])


def _setting(spec: CodecSpec, name: str) -> Setting:
    setting = spec.setting(name)
    if setting is None:
        raise SettingError(unknown(f"setting of codec '{spec.name}'", name, [s.name for s in spec.settings]))
    return setting


def _quoted(value: SettingValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return f'"{text}"' if set(text) & set(",:/ ") else text


def parse_points(text: str, registry: Registry, *, sweep: bool = False) -> list[OperatingPoint]:
    """Return the operating points that ``text`` names, each once, in order.

    Grammar: codecs are separated by commas, settings by colons, several values of a setting by slashes:
    ``cvae,jpeg:quality=50:scale=0.5,webp:quality=1/10/40``. A value with one of these signs in it stands in
    double quotes; the path of a file may have slashes without: ``cvae:weights=runs/a.safetensors``. With
    ``sweep``, a codec whose rate setting is not given takes the values of its own sweep. Raises UnknownName or
    SettingError with the nearest name.
    """
    points: list[OperatingPoint] = []
    for part in _split(text, ","):
        name, *assignments = _split(part, ":")
        spec = registry.codec(name.strip())
        points += _points_of(spec, assignments, sweep)
    if not points:
        raise SettingError("no codec named: try --codecs cvae,dcgan,jpeg, or see 'facebench codecs'")
    return list(dict.fromkeys(points))


def sweep_points(spec: CodecSpec) -> list[OperatingPoint]:
    """Return the operating points of the codec's own sweep, or the default one if it declares none."""
    return _points_of(spec, [], sweep=True)


def _points_of(spec: CodecSpec, assignments: list[str], sweep: bool) -> list[OperatingPoint]:
    choices: dict[str, tuple[SettingValue, ...]] = {s.name: (s.default,) for s in spec.settings}
    given = set()
    for assignment in assignments:
        name, equals, values = assignment.partition("=")
        setting = _setting(spec, name.strip())
        if not equals or not values:
            raise SettingError(f"codec '{spec.name}': write {setting.name}=VALUE, not '{assignment}'")
        if setting.name in given:
            raise SettingError(f"codec '{spec.name}': {setting.name} is set twice; write {setting.name}=A/B")
        given.add(setting.name)
        # An unquoted path is one value, slashes and all.
        one_path = setting.names_file and "." in values and '"' not in values
        parts = [values] if one_path else _split(values, "/")
        choices[setting.name] = tuple(_value(spec, setting, part) for part in parts)
    if sweep and spec.rate_setting and spec.rate_setting not in given and spec.sweep:
        choices[spec.rate_setting] = spec.sweep
    combined: list[tuple[tuple[str, SettingValue], ...]] = [()]
    for name, options in choices.items():
        combined = [(*rest, (name, value)) for rest in combined for value in options]
    return [OperatingPoint(spec.name, settings) for settings in combined]


def _split(text: str, separator: str) -> list[str]:
    """Split at ``separator`` outside double quotes; empty parts are dropped."""
    parts, quoted = [""], False
    for sign in text:
        if sign == '"':
            quoted = not quoted
        if sign == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    if quoted:
        raise SettingError(f"unbalanced double quote in {text!r}")
    return [part for part in parts if part.strip()]


def _value(spec: CodecSpec, setting: Setting, text: str) -> SettingValue:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    where = f"codec '{spec.name}': {setting.name}={text}"
    value: SettingValue
    try:
        if setting.kind is bool:
            value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        elif setting.kind is int:
            value = int(text)
        elif setting.kind is float:
            value = float(text)
        else:
            value = text
    except (ValueError, KeyError) as error:
        raise SettingError(
            f"{where} is not {'true or false' if setting.kind is bool else setting.kind.__name__}"
        ) from error
    if setting.choices and value not in setting.choices:
        raise SettingError(f"{where}: use one of {', '.join(map(str, setting.choices))}")
    if setting.kind in (int, float) and not _in_range(setting, float(value)):
        raise SettingError(f"{where} is out of range: use {setting.low} to {setting.high}")
    return value


def _in_range(setting: Setting, value: float) -> bool:
    """Whether a number is within its setting's bounds; NaN never is."""
    low = -math.inf if setting.low is None else setting.low
    high = math.inf if setting.high is None else setting.high
    return low <= value <= high


def make_codec(spec: CodecSpec, point: OperatingPoint, size: tuple[int, int]) -> Codec:
    """Import the codec's class and make an instance for pictures of ``size`` = (height, width).

    Raises PluginError if the class does not import or is no :class:`facebench.Codec`, and what its
    constructor raises (:class:`facebench.CodecError`, :class:`facebench.WeightsError`).
    """
    cls = load_object(spec.target)
    if not (isinstance(cls, type) and issubclass(cls, Codec)):
        raise PluginError(f"codec '{spec.name}': {spec.target} is not a subclass of facebench.Codec")
    codec: Codec = cls(size, **point.values())
    return codec


def file_settings_digest(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return a digest of the files that settings name (``weights=PATH``), for cache keys; '' if there are none."""
    state = hashlib.sha256()
    named = False
    for name, value in point.settings:
        if _setting(spec, name).names_file and Path(str(value)).is_file():
            state.update(Path(str(value)).read_bytes())
            named = True
    return state.hexdigest() if named else ""
