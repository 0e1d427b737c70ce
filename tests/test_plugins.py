"""Plugins are found where pip puts them; one that is broken is named in one line, and the rest goes on."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from facebench.errors import PluginError, UnknownName
from facebench.plugins import Registry, load_object, load_registry

Install = Callable[..., str]

_serial = itertools.count()

GOOD = """
from facebench import CodecSpec, hookimpl

@hookimpl
def facebench_codecs():
    return [CodecSpec("{codec}", "{module}:Missing")]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution as pip would leave it: a module, and its .dist-info with an entry point."""
    monkeypatch.delenv("FACEBENCH_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, source: str, codec: str = "", entry_points: str | None = None) -> str:
        # A new module name each time: Python keeps what it has imported once.
        module = f"fake_plugin_{next(_serial)}"
        text = textwrap.dedent(source).replace("{codec}", codec).replace("{module}", module)
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        short = name.removeprefix("facebench-")
        (info / "entry_points.txt").write_text(entry_points or f"[facebench]\n{short} = {module}\n")
        return module

    return installed


def only_problem(registry: Registry, *says: str) -> str:
    assert len(registry.problems) == 1, registry.problems
    (problem,) = registry.problems
    assert "\n" not in problem
    for text in says:
        assert text in problem
    assert "jpeg" in registry.codecs  # the rest goes on
    return problem


def test_installed_plugin_brings_its_codec_with_its_version(install: Install) -> None:
    assert "alpha" not in load_registry().codecs
    install("facebench-alpha", GOOD, "alpha")
    registry = load_registry()
    assert registry.codec("alpha").version == "1.5"
    assert registry.origins["codec alpha"] == "facebench-alpha 1.5"
    assert registry.problems == []


def test_listing_codecs_imports_none_of_them(install: Install) -> None:
    install("facebench-alpha", GOOD, "alpha")  # its target does not exist
    with pytest.raises(PluginError, match="does not import: AttributeError"):
        load_object(load_registry().codec("alpha").target)


@pytest.mark.parametrize(
    "source",
    [
        "import no_such_module_anywhere",
        "def (",
        "raise ValueError('a\\nb')",
        "raise RuntimeError",
        "import sys; sys.exit(3)",
    ],
)
def test_plugin_that_does_not_import_is_named(install: Install, source: str) -> None:
    install("facebench-broken", source)
    only_problem(load_registry(), "facebench-broken 1.5", "does not import")


def test_plugin_that_imports_a_missing_module_says_which(install: Install) -> None:
    install("facebench-broken", "import no_such_module_anywhere")
    only_problem(load_registry(), "no_such_module_anywhere")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            """
            from facebench import hookimpl
            @hookimpl
            def facebench_codex():
                return []
            """,
            "facebench_codex",
        ),
        (
            """
            def facebench_codecs():
                return []
            """,
            "facebench_codecs lacks @hookimpl",
        ),
        (
            """
            from facebench import hookimpl
            @hookimpl
            def facebench_codecs(size):
                return []
            """,
            "size",
        ),
        (
            """
            from facebench import hookimpl
            @hookimpl
            def facebench_codecs():
                raise OSError("no disk")
            """,
            "no disk",
        ),
        (
            """
            from facebench import CodecSpec, hookimpl
            @hookimpl
            def facebench_codecs():
                yield CodecSpec("half", "m:C")
                raise OSError("no disk")
            """,
            "no disk",
        ),
        (
            """
            from facebench import hookimpl
            @hookimpl
            def facebench_codecs():
                return ["webp"]
            """,
            "'webp', not a CodecSpec",
        ),
        (
            """
            from facebench import CodecSpec, hookimpl
            @hookimpl
            def facebench_metrics():
                return [CodecSpec("half", "m:C")]
            """,
            "not a MetricSpec",
        ),
        (
            """
            from facebench import CodecSpec, hookimpl
            @hookimpl
            def facebench_codecs():
                return [CodecSpec("half", "m:C", rate_setting="quality")]
            """,
            "'quality' is not among its settings",
        ),
        (
            """
            from facebench import CodecSpec, hookimpl
            @hookimpl
            def facebench_codecs():
                return [CodecSpec("half", "m:C", sweep=(1, 2))]
            """,
            "no rate setting",
        ),
        (
            """
            from facebench import CodecSpec, hookimpl
            @hookimpl
            def facebench_codecs():
                return [CodecSpec("half", "m:C"), CodecSpec("a,b", "m:C")]
            """,
            "'a,b'",
        ),
    ],
    ids=[
        "misspelled",
        "unmarked",
        "arguments",
        "raises",
        "raises later",
        "no spec",
        "other spec",
        "rate setting",
        "sweep",
        "bad name",
    ],
)
def test_plugin_with_a_fault_is_named_and_brings_nothing(install: Install, source: str, says: str) -> None:
    install("facebench-faulty", source)
    registry = load_registry()
    only_problem(registry, "plugin facebench-faulty 1.5 is left out", says)
    assert "half" not in registry.codecs
    assert "half" not in registry.metrics


def test_plugin_for_another_contract_is_refused_by_name(install: Install) -> None:
    install("facebench-alpha", "FACEBENCH_API = 99\n" + GOOD, "alpha")
    registry = load_registry()
    only_problem(registry, "facebench-alpha 1.5", "plugin contract 99", "has 1")
    assert "alpha" not in registry.codecs


def test_two_plugins_with_one_codec_name_are_both_named_when_it_is_used(install: Install) -> None:
    install("facebench-first", GOOD, "alpha")
    install("facebench-second", GOOD, "alpha")
    install("facebench-third", GOOD, "beta")
    registry = load_registry()
    only_problem(registry, "codec alpha", "facebench-first 1.5 and facebench-second 1.5")
    with pytest.raises(PluginError, match=r"facebench-first 1\.5 and facebench-second 1\.5; uninstall one"):
        registry.codec("alpha")
    assert registry.codec("beta").name == "beta"


def test_plugin_cannot_take_the_place_of_a_built_in_codec(install: Install) -> None:
    install("facebench-alpha", GOOD, "jpeg")
    registry = load_registry()
    assert "png" in registry.codecs
    with pytest.raises(PluginError, match=r"'jpeg' is brought by both facebench .* and facebench-alpha 1\.5"):
        registry.codec("jpeg")


def test_distribution_found_twice_on_the_path_is_one_plugin(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("facebench-alpha", GOOD, "alpha")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.syspath_prepend(tmp_path / "link")
    registry = load_registry()
    assert registry.problems == []
    assert registry.codec("alpha").name == "alpha"


def test_distribution_with_damaged_entry_points_is_named(install: Install) -> None:
    install("facebench-alpha", GOOD, "alpha", entry_points="[facebench]\nnonsense\n")
    only_problem(load_registry(), "facebench-alpha", "reinstall it")


@pytest.mark.parametrize(
    ("chosen", "loaded"),
    [
        (None, {"alpha", "beta"}),
        ("", set()),
        ("alpha", {"alpha"}),
        ("facebench-beta", {"beta"}),
        (" alpha , facebench-beta,", {"alpha", "beta"}),
        ("gamma", set()),
    ],
)
def test_variable_limits_which_plugins_load(
    install: Install, monkeypatch: pytest.MonkeyPatch, chosen: str | None, loaded: set[str]
) -> None:
    install("facebench-alpha", GOOD, "alpha")
    install("facebench-beta", GOOD, "beta")
    if chosen is not None:
        monkeypatch.setenv("FACEBENCH_PLUGINS", chosen)
    codecs = set(load_registry().codecs)
    assert codecs & {"alpha", "beta"} == loaded
    assert "jpeg" in codecs
    assert set(load_registry(chosen).codecs) == codecs


def test_plugin_that_is_not_chosen_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    module = install("facebench-broken", "raise RuntimeError")
    monkeypatch.setenv("FACEBENCH_PLUGINS", "")
    assert load_registry().problems == []
    assert module not in sys.modules


def test_plugin_may_bring_metrics_image_sets_and_maskers(install: Install) -> None:
    install(
        "facebench-rest",
        """
        from facebench import ImageSetSpec, MaskerSpec, MetricColumn, MetricSpec, hookimpl

        @hookimpl
        def facebench_metrics():
            return [MetricSpec("mine", "m:f", (MetricColumn("Mine", 1, "what it is"),))]

        @hookimpl
        def facebench_image_sets():
            return [ImageSetSpec("mine", "m:f", ("all",))]

        @hookimpl
        def facebench_maskers():
            return [MaskerSpec("mine", "m:f")]
        """,
    )
    registry = load_registry()
    assert registry.problems == []
    assert registry.metrics["mine"].columns[0].name == "Mine"
    assert registry.image_set("mine").splits == ("all",)
    assert registry.masker("mine").target == "m:f"


def test_unknown_names_suggest_the_nearest() -> None:
    registry = load_registry("")
    with pytest.raises(UnknownName, match="no codec 'jpge'; did you mean 'jpeg'"):
        registry.codec("jpge")
    with pytest.raises(UnknownName, match="no image set 'celebs'; did you mean 'celeba'"):
        registry.image_set("celebs")
    with pytest.raises(UnknownName, match="known: "):
        registry.codec("zzz")


@pytest.mark.parametrize("target", ["no_such_module_anywhere:Class", "facebench:Nothing", "facebench", "a b:C"])
def test_target_that_does_not_import_is_one_line(target: str) -> None:
    with pytest.raises(PluginError) as refused:
        load_object(target)
    assert str(refused.value).startswith(f"{target} does not import")
    assert "\n" not in str(refused.value)


def test_loading_the_registry_imports_nothing_heavy() -> None:
    code = (
        "import sys; from facebench.plugins import load_registry; load_registry('');"
        "print(*{'torch', 'cv2', 'pandas', 'skimage'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
