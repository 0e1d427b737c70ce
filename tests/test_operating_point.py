"""The text that names codecs and settings: what it may say, and what it says when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from facebench import Codec, CodecSpec, Setting, SettingError
from facebench.errors import PluginError, UnknownName
from facebench.operating_point import (
    OperatingPoint,
    curve_label,
    file_settings_digest,
    label,
    make_codec,
    parse_points,
    sweep_points,
)
from facebench.plugins import Registry

WEBP = CodecSpec(
    "webp",
    "test_operating_point:Webp",
    settings=(
        Setting("quality", int, 50, low=0, high=100),
        Setting("scale", float, 1.0, low=0.1, high=1.0),
        Setting("lossless", bool, False),
        Setting("method", str, "slow", choices=("slow", "fast")),
        Setting("weights", str, "shipped", names_file=True),
    ),
    rate_setting="quality",
    sweep=(1, 20, 80),
)
PLAIN = CodecSpec("plain", "test_operating_point:Plain")
REGISTRY = Registry(codecs={"webp": WEBP, "plain": PLAIN})


class Webp(Codec):
    """Keeps its settings; the only thing asked of it here."""

    def __init__(self, size: tuple[int, int], **settings: object) -> None:
        super().__init__(size)
        self.settings = settings

    def encode(self, image: object) -> bytes:
        return b""

    def decode(self, payload: bytes) -> object:  # type: ignore[override]
        return None


class Plain:
    """No codec at all."""


def point(**changed: object) -> OperatingPoint:
    values = {setting.name: changed.pop(setting.name, setting.default) for setting in WEBP.settings}
    assert not changed
    return OperatingPoint("webp", tuple(values.items()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("webp", [point()]),
        ("webp:quality=20", [point(quality=20)]),
        (" webp : quality = 20 ", [point(quality=20)]),
        ("webp:quality=20:scale=0.5", [point(quality=20, scale=0.5)]),
        ("webp:scale=0.5:quality=20", [point(quality=20, scale=0.5)]),
        ("webp:quality=1/20/100", [point(quality=q) for q in (1, 20, 100)]),
        (
            "webp:quality=1/2:scale=.5/1",
            [point(quality=q, scale=s) for q in (1, 2) for s in (0.5, 1.0)],
        ),
        ("webp:quality=1,webp:quality=2", [point(quality=1), point(quality=2)]),
        ("webp,webp:quality=50", [point()]),
        ("webp:lossless=true", [point(lossless=True)]),
        ("webp:lossless=YES/0", [point(lossless=True), point()]),
        ("webp:method=fast", [point(method="fast")]),
        ('webp:weights="a/b:c, d.st"', [point(weights="a/b:c, d.st")]),
        ('webp:weights="a/1"/b', [point(weights="a/1"), point(weights="b")]),
        ("webp:weights=a=b", [point(weights="a=b")]),
        ("plain,webp,", [OperatingPoint("plain", ()), point()]),
    ],
)
def test_text_names_these_points(text: str, points: list[OperatingPoint]) -> None:
    assert parse_points(text, REGISTRY) == points


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("wepb", UnknownName, "no codec 'wepb'; did you mean 'webp'"),
        ("webp:qualty=3", SettingError, "no setting of codec 'webp' 'qualty'; did you mean 'quality'"),
        ("plain:quality=3", SettingError, "known: none"),
        ("webp:quality", SettingError, "write quality=VALUE, not 'quality'"),
        ("webp:quality=", SettingError, "write quality=VALUE"),
        ("webp:quality=high", SettingError, "quality=high is not int"),
        ("webp:quality=1.5", SettingError, "quality=1.5 is not int"),
        ("webp:quality=101", SettingError, "quality=101 is out of range: use 0 to 100"),
        ("webp:quality=-1", SettingError, "out of range"),
        ("webp:scale=nan", SettingError, "out of range"),
        ("webp:scale=inf", SettingError, "out of range"),
        ("webp:lossless=maybe", SettingError, "lossless=maybe is not true or false"),
        ("webp:method=slwo", SettingError, "use one of slow, fast"),
        ("webp:quality=1:quality=2", SettingError, "quality is set twice; write quality=A/B"),
        ('webp:weights="a', SettingError, "unbalanced double quote"),
        ("", SettingError, "no codec named"),
        (" , ", SettingError, "no codec named"),
    ],
)
def test_wrong_text_is_refused_in_one_line(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refused:
        parse_points(text, REGISTRY)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sweep_takes_the_codecs_own_rates_unless_one_is_given() -> None:
    assert parse_points("webp:scale=0.5", REGISTRY, sweep=True) == [point(quality=q, scale=0.5) for q in (1, 20, 80)]
    assert parse_points("webp:quality=7", REGISTRY, sweep=True) == [point(quality=7)]
    assert parse_points("plain", REGISTRY, sweep=True) == [OperatingPoint("plain", ())]
    assert sweep_points(WEBP) == [point(quality=q) for q in (1, 20, 80)]


@pytest.mark.parametrize(
    ("given", "text", "curve"),
    [
        (point(), "webp:quality=50", "webp"),
        (point(quality=3, scale=0.25), "webp:quality=3:scale=0.25", "webp:scale=0.25"),
        (point(lossless=True), "webp:quality=50:lossless=true", "webp:lossless=true"),
        (point(weights="a/b c.st"), 'webp:quality=50:weights="a/b c.st"', 'webp:weights="a/b c.st"'),
    ],
)
def test_label_names_its_point_and_its_curve(given: OperatingPoint, text: str, curve: str) -> None:
    assert label(WEBP, given) == text
    assert parse_points(text, REGISTRY) == [given]
    assert curve_label(WEBP, given) == curve


def test_codec_is_made_with_all_its_settings() -> None:
    codec = make_codec(WEBP, point(quality=7), (48, 80))
    assert isinstance(codec, Webp)
    assert codec.size == (48, 80)
    assert codec.settings == {"quality": 7, "scale": 1.0, "lossless": False, "method": "slow", "weights": "shipped"}


def test_class_that_is_no_codec_is_refused_by_name() -> None:
    with pytest.raises(PluginError, match=r"codec 'plain': test_operating_point:Plain is not a subclass"):
        make_codec(PLAIN, OperatingPoint("plain", ()), (64, 64))


def test_file_that_a_setting_names_counts_by_its_content(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    other.write_bytes(b"other")
    digests = [file_settings_digest(WEBP, point(weights=str(path))) for path in (first, second, other)]
    assert digests[0] == digests[1] != digests[2]
    assert file_settings_digest(WEBP, point()) == ""
    assert file_settings_digest(PLAIN, OperatingPoint("plain", ())) == ""
