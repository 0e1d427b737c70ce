"""Operating points: a codec with all its settings, and the text that names them (``jpeg:quality=50``)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facebench.codec import Codec, CodecSpec, Setting, SettingValue
from facebench.errors import PluginError, SettingError
from facebench.plugins import Registry, load_object, unknown

#: Stands in a curve's name behind the codec's own where a budget chooses the rate.
BUDGET_MARK = "@budget"
# More than anyone runs; a short text may name billions.
_MOST_POINTS = 10_000
# A budget of more digits is no number of bytes that anything has, and Python reads no number of thousands of them.
_MOST_DIGITS = 12


@dataclass(frozen=True)
class OperatingPoint:
    """A codec with a value for every one of its settings, in the order in which they are declared.

    With a ``budget`` in bytes the rate setting is chosen per picture so that the payload fits; ``downscale`` lets
    smaller pictures be coded where it does not otherwise (see :mod:`facebench.budget`).
    """

    codec: str
    settings: tuple[tuple[str, SettingValue], ...]
    budget: int | None = None
    downscale: bool = False

    def values(self) -> dict[str, SettingValue]:
        """Return the settings as a new dict."""
        return dict(self.settings)


def label(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return the text that names ``point``: the settings that differ from their defaults, and the rate setting.

    With a budget (``webp:method=4@128B``, ``jpeg@128B+downscale``) the rate setting has no value to show.
    """
    if point.budget is not None:
        return f"{_without_rate(spec, point)}@{point.budget}B{'+downscale' if point.downscale else ''}"
    shown = [
        (name, value)
        for name, value in point.settings
        if name == spec.rate_setting or value != _setting(spec, name).default
    ]
    return ":".join([point.codec, *(f"{name}={_quoted(value)}" for name, value in shown)])


def curve_label(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return the name of the curve that ``point`` lies on: its label without the rate setting or the budget's size."""
    curve = _without_rate(spec, point)
    return curve if point.budget is None else f"{curve}{BUDGET_MARK}{'+downscale' if point.downscale else ''}"


def _without_rate(spec: CodecSpec, point: OperatingPoint) -> str:
    chosen_by_budget = {spec.rate_setting, spec.budget_setting if point.budget is not None else None}
    rest = tuple((name, value) for name, value in point.settings if name not in chosen_by_budget)
    shown = [(name, value) for name, value in rest if value != _setting(spec, name).default]
    return ":".join([point.codec, *(f"{name}={_quoted(value)}" for name, value in shown)])


def with_budgets(spec: CodecSpec, points: Iterable[OperatingPoint], budgets: Iterable[int]) -> list[OperatingPoint]:
    """Return each curve of the codec's ``points`` at each of the ``budgets`` in bytes, once."""
    fixed = {spec.rate_setting, spec.budget_setting}
    plain = []
    for point in points:
        if point.budget is None:
            settings = ((name, _setting(spec, name).default if name in fixed else v) for name, v in point.settings)
            plain.append(OperatingPoint(spec.name, tuple(settings)))
    return [replace(point, budget=budget) for point in dict.fromkeys(plain) for budget in budgets]


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
    double quotes; the path of a file may have slashes without: ``cvae:weights=runs/a.safetensors``. At the end
    may stand a budget in bytes, which then chooses the rate: ``webp:method=4@128B``, ``webp@128B+downscale``.
    With ``sweep``, a codec whose rate setting is not given takes the values of its own sweep. Raises UnknownName
    or SettingError with the nearest name.
    """
    points: list[OperatingPoint] = []
    for part in _split(text, ","):
        if len(points) > _MOST_POINTS:
            raise _too_many_points()
        part, budget, downscale = _budget_of(part)
        name, *assignments = _split(part, ":") or [""]
        spec = registry.codec(name.strip())
        plain = _points_of(spec, assignments, sweep and budget is None)
        points += plain if budget is None else _at_budget(spec, plain, assignments, budget, downscale)
    if not points:
        raise SettingError("no codec named: try --codecs cvae,dcgan,jpeg, or see 'facebench codecs'")
    return list(dict.fromkeys(points))


def budget_points(text: str, registry: Registry, budgets: Iterable[int]) -> list[OperatingPoint]:
    """Return the codecs that ``text`` names (see :func:`parse_points`) at each budget; those with one keep theirs.

    Raises also SettingError where the text sets what a budget chooses.
    """
    parts = _split(text, ",")
    bare = [part for part in parts if _budget_of(part)[1] is None]
    at_each = [f"{part.rstrip()}@{budget}B" for part in bare for budget in budgets]
    return parse_points(",".join([*at_each, *(part for part in parts if part not in bare)]), registry)


def parse_budgets(text: str | None) -> tuple[int, ...]:
    """Return the budgets in bytes in ``text`` ("128,256"), each once, ascending; raises SettingError."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    wrong = next((part for part in parts if not part.isdecimal() or len(part) > _MOST_DIGITS or int(part) < 1), None)
    if wrong is not None or (text is not None and not parts):
        raise SettingError(f"--budget {text}: write whole numbers of bytes, such as 128,256,512")
    return tuple(sorted({int(part) for part in parts}))


def _budget_of(part: str) -> tuple[str, int | None, bool]:
    """Return a codec's text without the budget at its end, that budget, and whether downscaling is allowed."""
    found = re.search(r"@(\d+)B(\+downscale)?\s*$", part)
    if found is None:
        return part, None, False
    if len(found[1]) > _MOST_DIGITS:
        raise SettingError(f"a budget of {found[1][:20]}... bytes: write a smaller number")
    return part[: found.start()], int(found[1]), found[2] is not None


def _at_budget(
    spec: CodecSpec, plain: list[OperatingPoint], assignments: list[str], budget: int, downscale: bool
) -> list[OperatingPoint]:
    given = {assignment.partition("=")[0].strip() for assignment in assignments}
    if clash := given & {spec.rate_setting, spec.budget_setting}:
        raise SettingError(f"codec '{spec.name}': {min(map(str, clash))} is what the budget chooses; leave it out")
    if budget < 1:
        raise SettingError(f"codec '{spec.name}': a budget is at least 1 byte")
    return [replace(point, downscale=downscale) for point in with_budgets(spec, plain, [budget])]


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
        choices[setting.name] = tuple(dict.fromkeys(_value(spec, setting, part) for part in parts))
    if sweep and spec.rate_setting and spec.rate_setting not in given and spec.sweep:
        choices[spec.rate_setting] = spec.sweep
    if math.prod(map(len, choices.values())) > _MOST_POINTS:
        raise _too_many_points()
    combined: list[tuple[tuple[str, SettingValue], ...]] = [()]
    for name, options in choices.items():
        combined = [(*rest, (name, value)) for rest in combined for value in options]
    return [OperatingPoint(spec.name, settings) for settings in combined]


def _too_many_points() -> SettingError:
    return SettingError(f"more than {_MOST_POINTS:,} operating points are named: name fewer values, or run it in parts")


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
    if isinstance(value, int | float) and not _in_range(setting, value):
        raise SettingError(f"{where} is out of range: use {setting.low} to {setting.high}")
    return value


def _in_range(setting: Setting, value: float) -> bool:
    """Whether a number is within its setting's bounds; NaN never is."""
    low = -math.inf if setting.low is None else setting.low
    high = math.inf if setting.high is None else setting.high
    return low <= value <= high


def make_codec(spec: CodecSpec, point: OperatingPoint, size: tuple[int, int]) -> Codec:
    """Import the codec's class and make an instance for pictures of ``size`` = (height, width).

    A point with a budget gives a :class:`facebench.budget.BudgetCodec`. Raises PluginError if the class does not
    import or is no :class:`facebench.Codec`, and what its constructor raises (:class:`facebench.CodecError`,
    :class:`facebench.WeightsError`).
    """
    cls = load_object(spec.target)
    if not (isinstance(cls, type) and issubclass(cls, Codec)):
        raise PluginError(f"codec '{spec.name}': {spec.target} is not a subclass of facebench.Codec")

    def make(changed: dict[str, SettingValue], coded_size: tuple[int, int]) -> Codec:
        codec: Codec = cls(coded_size, **{**point.values(), **changed})
        return codec

    if point.budget is None:
        return make({}, size)
    from facebench.budget import BudgetCodec  # needs OpenCV, which listing codecs does not

    return BudgetCodec(size, spec, point.budget, point.downscale, make)


def file_settings_digest(spec: CodecSpec, point: OperatingPoint) -> str:
    """Return a digest of the files that settings name (``weights=PATH``), for cache keys; '' if there are none."""
    state = hashlib.sha256()
    named = False
    for name, value in point.settings:
        if _setting(spec, name).names_file and Path(str(value)).is_file():
            state.update(Path(str(value)).read_bytes())
            named = True
    return state.hexdigest() if named else ""
