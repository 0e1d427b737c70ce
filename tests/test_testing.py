"""The conformance suite passes what conforms, and catches each way of not conforming in the check for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from facebench import CodecSpec, Setting, SettingError
from facebench.cli.check import check_command
from facebench.errors import UnknownName
from facebench.plugins import load_registry
from facebench.testing import CheckResult, Report, check_codec, check_names, hostile, pictures

DAMAGED = ("truncated payloads", "bit-flipped payloads", "random payloads", "oversized payloads")


def spec_of(class_name: str, /, **changed: object) -> CodecSpec:
    spec = CodecSpec(
        "tiny",
        f"codecs_to_check:{class_name}",
        settings=(Setting("step", int, 1, low=1, high=64),),
        rate_setting="step",
        sweep=(1, 4, 16),
    )
    return replace(spec, **changed)  # type: ignore[arg-type]


def check(class_name: str, /, *only: str, **changed: object) -> Report:
    return check_codec(spec_of(class_name, **changed), only=only, time_limit=2, memory_limit=256 << 20)


def test_sound_codec_conforms_in_every_check() -> None:
    told: list[CheckResult] = []
    report = check_codec(spec_of("Sound", lossless=True), time_limit=5, on_result=told.append)
    assert report.ok, report
    assert tuple(told) == report.results
    assert {r.status for r in report.results} == {"passed"}, report
    names = [n for n in check_names() if n != "sizes"] + ["size 128x128", "size 48x80"]
    assert sorted(r.name for r in report.results) == sorted(names)
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("name", "failing", "says"),
    [
        ("NotACodec", "construction", "not a subclass of facebench.Codec"),
        ("NoSuchClass", "construction", "does not import"),
        ("ForgetsSize", "construction", "super().__init__(size)"),
        ("OddWeights", "construction", "weights_bytes"),
        ("Nowhere", "construction", "no size works"),
        ("WrongShape", "round trip", "(63, 64, 3) uint8, not (64, 64, 3)"),
        ("WrongType", "round trip", "float32"),
        ("NotBytes", "round trip", "bytearray, not bytes"),
        ("DislikesBlack", "plain pictures", "decoding the black picture: CodecError"),
        ("CrashesWhenEncodingNoise", "plain pictures", "SIGSEGV"),
        ("Random", "determinism", "other bytes"),
        ("OtherBatchBytes", "batch as single", "other bytes than encode"),
        ("OtherBatchPictures", "batch as single", "4 grey levels off"),
        ("ShortBatch", "batch as single", "4 pictures for 5 payloads"),
        ("LiesAboutBits", "honest bits", "but the payload has"),
        ("FractionalBits", "honest bits", "not an int"),
        ("ChangesInput", "input untouched", "encode changes a writable picture"),
        ("NeedsWritable", "input untouched", "read-only"),
        ("NeedsContiguous", "input untouched", "other bytes than its plain copy"),
        ("CheatsByInstance", "independent decoder", "did not encode"),
        ("ReusesBuffer", "independent decoder", "changed while others were decoded"),
        ("CheatsByMemory", "another process", "not mine"),
        ("CheatsByFile", "another process", "not mine"),
        ("DependsOnProcess", "another process", "same conditions"),
        ("DependsOnThreads", "another process", "4 threads"),
        ("TakesEmpty", "empty payload", "not CodecError"),
        ("HangsOnDamage", "truncated payloads", "does not come back in time"),
        ("SegfaultsOnDamage", "bit-flipped payloads", "SIGSEGV"),
        ("ExitsOnDamage", "oversized payloads", "exited with status 0"),
        ("EatsMemoryOnDamage", "random payloads", "MiB"),
        ("RaisesOnDamage", "truncated payloads", "ValueError: what is this?"),
        ("WrongShapeOnDamage", "bit-flipped payloads", "(1, 1, 3)"),
        ("SpoiledByDamage", "random payloads", "after damaged ones"),
        ("FailsAtStep9", "sweep", "nine"),
    ],
)
def test_fault_is_caught_by_the_check_for_it(name: str, failing: str, says: str) -> None:
    report = check(name, failing, sweep=(1, 9) if name == "FailsAtStep9" else (1, 4))
    assert not report.ok
    assert [r.name for r in report.failed] == [failing], report
    assert says in report[failing].detail
    assert "\n" not in report[failing].detail
    with pytest.raises(AssertionError, match=failing):
        report.raise_if_failed()


def test_codec_that_is_not_lossless_may_not_say_so() -> None:
    spec = spec_of("Sound", lossless=True, settings=(Setting("step", int, 4),), rate_setting=None, sweep=())
    assert "comes back up to 3 off" in check_codec(spec, only=["lossless"])["lossless"].detail
    assert check_codec(replace(spec, lossless=False), only=["lossless"])["lossless"].status == "skipped"


def test_one_crash_spoils_its_own_check_only() -> None:
    report = check("SegfaultsOnDamage", "round trip", "empty payload", *DAMAGED)
    assert [r.name for r in report.failed] == ["empty payload", *DAMAGED]
    assert report["round trip"].status == "passed"
    report = check("CrashesWhenEncodingNoise", "plain pictures", "determinism", "another process")
    assert [r.name for r in report.failed] == ["plain pictures"]
    assert [report[n].status for n in ("determinism", "another process")] == ["passed", "passed"]


def test_a_hang_is_ended_at_the_time_limit() -> None:
    began = time.monotonic()
    report = check_codec(spec_of("HangsOnDamage"), only=["random payloads"], time_limit=1)
    assert report["random payloads"].status == "failed"
    assert time.monotonic() - began < 30


def test_memory_is_cut_off_near_the_limit() -> None:
    report = check("EatsMemoryOnDamage", "random payloads")
    detail = report["random payloads"].detail
    seen = re.search(r"the 256 MiB allowed \((\d+) in all\)|takes (\d+) MiB of memory", detail)
    assert seen, detail
    assert 256 < int(seen[1] or seen[2]) < 2500  # 3,000 is what the codec would take


def test_unsupported_size_is_skipped_with_its_reason_when_another_works() -> None:
    report = check("OnlyAt128", "sizes", "round trip", "another process")
    assert report.ok, report
    assert report["size 64x64"].status == "skipped" and "only 128x128" in report["size 64x64"].detail
    assert report["size 48x80"].status == "skipped"
    assert "at 128x128" in report["round trip"].detail


def test_size_that_breaks_is_a_failure() -> None:
    report = check("BreaksAt128", "sizes")
    assert [r.name for r in report.failed] == ["size 128x128"]
    assert "RuntimeError: no (codecs_to_check.py:" in report["size 128x128"].detail


def test_sweep_that_does_not_change_the_size_is_a_warning() -> None:
    report = check("IgnoresStep", "sweep")
    assert report.ok
    assert report["sweep"].status == "warned"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "Tiny"}, "not a lower-case word"),
        ({"target": "codecs_to_check.Sound"}, '"module:Class"'),
        ({"sweep": (1, 4, 99)}, "out of range"),
        ({"rate_setting": "quality"}, "rate setting 'quality' is not among"),
        ({"rate_setting": None}, "no rate setting"),
        ({"settings": (Setting("step", int, 0, low=1),)}, "default 0 is not within"),
        ({"settings": (Setting("step", int, 3, choices=(1, 2)),)}, "not among its choices"),
        ({"settings": (Setting("step", float, 1),)}, "not of its kind"),
        ({"settings": (Setting("step", int, 1), Setting("step", int, 2))}, "declared twice"),
        ({"settings": (Setting("size", int, 1),), "rate_setting": None, "sweep": ()}, "keyword argument"),
    ],
)
def test_description_at_odds_with_itself_is_a_failure(changed: dict[str, object], says: str) -> None:
    report = check("Sound", "description", **changed)
    assert report["description"].status == "failed"
    assert says in report["description"].detail


def test_names_that_name_no_single_operating_point_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'jpeg'"):
        check_codec("jpg")
    with pytest.raises(SettingError, match="2 operating points"):
        check_codec("jpeg:quality=10/20")
    with pytest.raises(UnknownName, match="did you mean 'sweep'"):
        check_codec(spec_of("Sound"), only=["sweeps"])


@pytest.fixture
def tiny_codecs_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``facebench check CLASS`` check a class of codecs_to_check as if it were installed."""
    monkeypatch.setattr(
        "facebench.testing.check_codec", lambda name, *args, **kwargs: check_codec(spec_of(name), *args, **kwargs)
    )


@pytest.mark.usefixtures("tiny_codecs_by_name")
def test_command_prints_a_line_per_check_and_tells_by_its_status() -> None:
    result = CliRunner().invoke(check_command, ["Sound", "--only", "sweep", "--size", "48x80"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "passed  description",
        "passed  construction",
        "passed  sweep",
    ]
    assert "conforms: 0 failed, 3 passed" in lines[3]
    result = CliRunner().invoke(check_command, ["LiesAboutBits", "--only", "honest bits"])
    assert result.exit_code == 1
    assert "failed  honest bits: " in result.stdout
    assert "does NOT conform: 1 failed" in result.stdout


@pytest.mark.parametrize("size", ["big", "0", "64x", "9999", "-1", "64x64x3"])
def test_command_refuses_what_is_no_size(size: str) -> None:
    result = CliRunner().invoke(check_command, ["jpeg", f"--size={size}"])
    assert result.exit_code == 2
    assert "is not a picture size" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("codec", sorted(load_registry("").codecs))
def test_every_codec_of_ours_conforms(codec: str) -> None:
    report = check_codec(codec)
    assert report.ok, report
    assert report["construction"].status == "passed"


def test_report_of_nothing_is_not_ok() -> None:
    assert not Report("tiny", ()).ok
    assert not Report("tiny", (CheckResult("sweep", "skipped"),)).ok


def test_pictures_are_as_declared_and_the_same_every_time() -> None:
    faces = pictures.faces((48, 80), 3)
    assert faces.shape == (3, 48, 80, 3) and faces.dtype == np.uint8
    assert np.array_equal(faces, pictures.faces((48, 80), 3))
    assert not np.array_equal(faces[0], faces[1])
    plain = pictures.plain((48, 80))
    assert set(plain) == {"black", "white", "noise", "gradient", "checker"}
    assert all(p.shape == (48, 80, 3) and p.dtype == np.uint8 for p in plain.values())


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("payloads", [[b"a", b"b"], [b"abcdefgh" * 40, b"0123" * 99], [bytes(5)]])
def test_damaged_payloads_are_many_different_and_never_empty(kind: str, payloads: list[bytes]) -> None:
    made: Callable[[list[bytes]], object] = hostile.KINDS[kind]
    damaged = list(made(payloads))  # type: ignore[call-overload]
    assert damaged == list(made(payloads))  # type: ignore[call-overload]
    assert all(data for _, data in damaged)
    if len(payloads[0]) > 1:
        assert len(damaged) >= 6
