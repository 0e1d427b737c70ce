"""Finds plugins through the entry-point group ``facebench`` and collects what their hooks return."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Protocol, TypeVar

import pluggy

from facebench import hookspecs
from facebench.codec import CodecSpec
from facebench.errors import PluginError, UnknownName
from facebench.hookspecs import API_VERSION, ImageSetSpec, MaskerSpec, MetricSpec

GROUP = "facebench"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_SpecT = TypeVar("_SpecT", CodecSpec, MetricSpec, ImageSetSpec, MaskerSpec)


@dataclass
class Registry:
    """Everything that the loaded plugins bring, by name, and one line for each plugin left out.

    ``origins`` maps "codec jpeg" to the distribution that brings it ("facebench 0.1.0").
    """

    codecs: dict[str, CodecSpec] = field(default_factory=dict)
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    image_sets: dict[str, ImageSetSpec] = field(default_factory=dict)
    maskers: dict[str, MaskerSpec] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _collisions: dict[str, list[str]] = field(default_factory=dict)

    def codec(self, name: str) -> CodecSpec:
        """Return the codec of that name; raises UnknownName (with the nearest name) or PluginError."""
        return self._find("codec", self.codecs, name)

    def metric(self, name: str) -> MetricSpec:
        """Return the metric family of that name; raises UnknownName or PluginError."""
        return self._find("metric", self.metrics, name)

    def image_set(self, name: str) -> ImageSetSpec:
        """Return the image set of that name; raises UnknownName or PluginError."""
        return self._find("image set", self.image_sets, name)

    def masker(self, name: str) -> MaskerSpec:
        """Return the masker of that name; raises UnknownName or PluginError."""
        return self._find("masker", self.maskers, name)

    def _find(self, kind: str, specs: dict[str, _SpecT], name: str) -> _SpecT:
        if owners := self._collisions.get(f"{kind} {name}"):
            raise PluginError(f"{kind} '{name}' is brought by both {' and '.join(owners)}; uninstall one of them")
        if name not in specs:
            raise UnknownName(unknown(kind, name, specs))
        return specs[name]

    def add(self, kind: str, specs: dict[str, Any], spec: _Named, owner: str) -> None:
        """Register ``spec``; a second owner of its name makes the name unusable, and says so."""
        key = f"{kind} {spec.name}"
        if key in self.origins:
            owners = self._collisions.setdefault(key, [self.origins[key]])
            owners.append(owner)
            specs.pop(spec.name, None)
            self.problems.append(f"{key} is brought by both {' and '.join(owners)}; uninstall one of them")
            return
        self.origins[key] = owner
        specs[spec.name] = spec


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"no {kind} '{name}'; {hint}"


def wanted_plugins(names: str | None) -> Callable[[str], bool]:
    """Return the filter that ``FACEBENCH_PLUGINS`` stands for: None means all; else comma-separated names.

    A name is an entry point's ("imagecodecs") or its distribution's ("facebench-imagecodecs"). The
    project's own plugin is always loaded.
    """
    if names is None:
        return lambda name: True
    chosen = {name.strip() for name in names.split(",") if name.strip()}
    return lambda name: name in chosen


def load_registry(names: str | None = None) -> Registry:
    """Load the plugins and return what they bring; a broken one is named in ``problems`` and left out.

    ``names`` limits which (see :func:`wanted_plugins`), the default being ``FACEBENCH_PLUGINS``.
    """
    registry = Registry()
    wanted = wanted_plugins(os.environ.get("FACEBENCH_PLUGINS") if names is None else names)
    for distribution, entry_point in _entry_points(registry):
        owner = f"{distribution.name} {distribution.version}"
        if distribution.name != "facebench" and not (wanted(entry_point.name) or wanted(distribution.name)):
            continue
        try:
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:  # a plugin that calls sys.exit would end every command
            registry.problems.append(f"plugin {owner} does not import: {_one_line(error)}")
            continue
        _register(registry, plugin, entry_point.name, owner, distribution.version)
    return registry


def _entry_points(registry: Registry) -> list[tuple[metadata.Distribution, metadata.EntryPoint]]:
    """Return our own entry points first, then the others by name, each once; unreadable ones become problems."""
    found: dict[tuple[str, str, str], tuple[metadata.Distribution, metadata.EntryPoint]] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name is None:
            continue
        try:
            entry_points = list(distribution.entry_points)
        except Exception as error:
            registry.problems.append(f"{name} has damaged entry points, reinstall it: {_one_line(error)}")
            continue
        for entry_point in entry_points:
            if entry_point.group == GROUP:
                found.setdefault((name, entry_point.name, entry_point.value), (distribution, entry_point))
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != "facebench", key))]


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _register(registry: Registry, plugin: Any, name: str, owner: str, version: str) -> None:
    """Add what one plugin brings; on any fault in it, nothing of it."""
    declared = getattr(plugin, "FACEBENCH_API", API_VERSION)
    if declared != API_VERSION:
        registry.problems.append(
            f"plugin {owner} is written for plugin contract {declared}, this facebench has {API_VERSION}; "
            "install a matching release of either"
        )
        return
    manager = pluggy.PluginManager("facebench")
    manager.add_hookspecs(hookspecs)
    collected: list[tuple[str, dict[str, Any], _Named]] = []
    try:
        manager.register(plugin, name)
        manager.check_pending()
        for hook_name in filter(lambda name: name.startswith("facebench_"), vars(hookspecs)):
            if hasattr(plugin, hook_name) and manager.parse_hookimpl_opts(plugin, hook_name) is None:
                raise PluginError(f"its {hook_name} lacks @hookimpl")
        for kind, specs, hook, spec_type in (
            ("codec", registry.codecs, manager.hook.facebench_codecs, CodecSpec),
            ("metric", registry.metrics, manager.hook.facebench_metrics, MetricSpec),
            ("image set", registry.image_sets, manager.hook.facebench_image_sets, ImageSetSpec),
            ("masker", registry.maskers, manager.hook.facebench_maskers, MaskerSpec),
        ):
            for result in hook():
                for spec in result:
                    if not isinstance(spec, spec_type):
                        raise PluginError(f"its {kind} hook returned {spec!r}, not a {spec_type.__name__}")
                    if isinstance(spec, CodecSpec):
                        spec = _checked(spec if spec.version else replace(spec, version=version))
                    collected.append((kind, specs, spec))
    except Exception as error:
        registry.problems.append(f"plugin {owner} is left out: {_one_line(error)}")
        return
    for kind, specs, spec in collected:
        registry.add(kind, specs, spec, owner)


def _checked(spec: CodecSpec) -> CodecSpec:
    """Return ``spec`` if its own parts agree; raises PluginError."""
    if not spec.name or set(spec.name) & set(",:;=/+@\"' \t\n|`"):
        raise PluginError(f"codec name {spec.name!r} is empty or has one of , : ; = / + @ | quotes or blanks")
    if spec.rate_setting is not None and spec.setting(spec.rate_setting) is None:
        raise PluginError(f"codec '{spec.name}': rate setting '{spec.rate_setting}' is not among its settings")
    if spec.budget_setting is not None and spec.setting(spec.budget_setting) is None:
        raise PluginError(f"codec '{spec.name}': budget setting '{spec.budget_setting}' is not among its settings")
    if spec.sweep and spec.rate_setting is None:
        raise PluginError(f"codec '{spec.name}' has a sweep but no rate setting")
    return spec


def load_object(target: str) -> Any:
    """Import "module:attribute" and return it; raises PluginError with one line on any failure."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{target} does not import: {_one_line(error)}") from error
