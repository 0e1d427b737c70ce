"""Runs the conformance suite on one codec: which checks, in which processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facebench.codec import CodecSpec
from facebench.errors import SettingError, UnknownName
from facebench.operating_point import OperatingPoint, label, parse_points
from facebench.plugins import Registry, load_registry, unknown
from facebench.testing.children import run_job
from facebench.testing.job import Job
from facebench.testing.report import CheckResult, Report, Status

SIZES = ((64, 64), (128, 128), (48, 80))

_AT_HOME = (
    "round trip",
    "plain pictures",
    "determinism",
    "batch as single",
    "honest bits",
    "input untouched",
    "independent decoder",
    "lossless",
    "sweep",
)
_ELSEWHERE = "another process"
_HOSTILE = ("empty payload", "truncated payloads", "bit-flipped payloads", "random payloads", "oversized payloads")


def check_names() -> tuple[str, ...]:
    """Return the names of all checks, in the order in which they run; ``sizes`` stands for one check per size."""
    return ("description", "construction", *_AT_HOME, "sizes", _ELSEWHERE, *_HOSTILE)


def check_codec(
    codec: str | CodecSpec,
    size: tuple[int, int] = (64, 64),
    *,
    sizes: Iterable[tuple[int, int]] = SIZES,
    only: Iterable[str] = (),
    time_limit: float = 10.0,
    memory_limit: int = 512 << 20,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> Report:
    """Run the conformance suite on one codec and return what each check found.

    ``codec`` names one operating point of an installed codec ("jpeg:quality=50"), or is the spec of one that
    need not be installed. The suite runs at ``size`` = (height, width), or at the first of ``sizes`` that the
    codec supports, and tries the rest of ``sizes`` besides. ``only`` limits it to some of
    :func:`check_names` and what these need. Decoding one damaged payload may take ``time_limit`` seconds and
    ``memory_limit`` bytes. ``on_result`` is called with each result as it comes.

    The codec runs in child processes only. Raises UnknownName or SettingError if ``codec`` names no operating
    point, or more than one; everything else is a failed check.
    """
    spec, point, registry = _resolve(codec)
    chosen = _chosen(only)
    run = _Run(on_result, chosen)
    run.add(_described(spec, registry))
    with tempfile.TemporaryDirectory(prefix="facebench-check-") as folder:
        job = Job(
            name=spec.name,
            target=spec.target,
            settings=_absolute(spec, point),
            size=size,
            folder=folder,
            steps=(),
            time_limit=time_limit,
            memory_limit=memory_limit,
            lossless=spec.lossless,
            rate_setting=spec.rate_setting,
            sweep=spec.sweep,
        )
        _run_codec(run, job, list(dict.fromkeys([size, *sizes])))
    return Report(label(spec, point), tuple(run.results))


class _Run:
    """Collects results, each told as it comes."""

    def __init__(self, on_result: Callable[[CheckResult], None], chosen: frozenset[str]) -> None:
        self.results: list[CheckResult] = []
        self.chosen = chosen
        self._on_result = on_result

    def add(self, result: CheckResult) -> None:
        self.results.append(result)
        self._on_result(result)

    def status(self, name: str) -> Status | None:
        return next((r.status for r in self.results if r.name == name), None)


def _resolve(codec: str | CodecSpec) -> tuple[CodecSpec, OperatingPoint, Registry]:
    registry = load_registry()
    if isinstance(codec, CodecSpec):
        defaults = tuple((setting.name, setting.default) for setting in codec.settings)
        return codec, OperatingPoint(codec.name, defaults), Registry(codecs={codec.name: codec})
    try:
        points = parse_points(codec, registry)
    except UnknownName as error:
        if registry.problems:
            raise UnknownName(f"{error} ({'; '.join(registry.problems)})") from error
        raise
    if len(points) != 1:
        raise SettingError(f"'{codec}' names {len(points)} operating points: check one at a time")
    return registry.codec(points[0].codec), points[0], registry


def _absolute(spec: CodecSpec, point: OperatingPoint) -> dict[str, str | int | float | bool]:
    """Return the settings with paths of files made absolute, since children run in folders of their own."""
    values = point.values()
    for setting in spec.settings:
        if setting.names_file and Path(str(values[setting.name])).is_file():
            values[setting.name] = str(Path(str(values[setting.name])).resolve())
    return values


def _chosen(only: Iterable[str]) -> frozenset[str]:
    names = check_names()
    chosen = frozenset(only)
    for name in sorted(chosen.difference(names)):
        raise UnknownName(unknown("check", name, names))
    return chosen or frozenset(names)


def _described(spec: CodecSpec, registry: Registry) -> CheckResult:
    from facebench.testing.description import faults

    began = time.perf_counter()
    found = faults(spec, registry)
    detail = "; ".join(found) or f"{len(spec.settings)} settings, {len(spec.sweep)} points in the sweep"
    return CheckResult("description", "failed" if found else "passed", detail, time.perf_counter() - began)


def _run_codec(run: _Run, job: Job, sizes: list[tuple[int, int]]) -> None:
    needs_payloads = run.chosen & {_ELSEWHERE, *_HOSTILE}
    steps = [name for name in _AT_HOME if name in run.chosen or (name == "round trip" and needs_payloads)]
    main = _at_home(run, job, steps, sizes)
    if main is None:
        return
    job = replace(job, size=main)
    others = [name for name in (_ELSEWHERE, *_HOSTILE) if name in run.chosen]
    if not (Path(job.folder) / "payloads.json").is_file():
        for name in others:
            run.add(CheckResult(name, "skipped", "the round trip gave no payloads"))
        return
    if _ELSEWHERE in run.chosen:
        run.add(_another_process(job))
    hostile = tuple(name for name in _HOSTILE if name in run.chosen)
    run_job(replace(job, steps=hostile), threads=1, hash_seed=0, tell=run.add)


def _at_home(run: _Run, job: Job, steps: list[str], sizes: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Run the steps of the encoding process at the first size that works; returns it, or None."""
    for index, size in enumerate(sizes):
        rest = [f"size {h}x{w}" for h, w in sizes[index + 1 :]] if "sizes" in run.chosen else []

        def tell(result: CheckResult, size: tuple[int, int] = size) -> None:
            if result.name == "construction" and result.status == "skipped":
                result = replace(result, name=f"size {size[0]}x{size[1]}")
            run.add(result)

        here = replace(job, size=size, steps=("construction", *steps, *rest))
        results = run_job(here, threads=1, hash_seed=0, tell=tell)
        if results[0].status == "passed":
            return size
        if results[0].status == "failed":
            return None
    tried = ", ".join(f"{height}x{width}" for height, width in sizes)
    run.add(CheckResult("construction", "failed", f"no size works (tried {tried})"))
    return None


@dataclass(frozen=True)
class _Decoding:
    """How one of the fresh processes decodes."""

    threads: int
    batch: int
    hash_seed: int


def _another_process(job: Job) -> CheckResult:
    """Decode in fresh processes: twice the same way, and once with other thread counts and batch sizes."""
    began = time.perf_counter()
    ways = (_Decoding(1, 1, 1), _Decoding(1, 1, 2), _Decoding(4, 3, 3))
    detail, status = "", "passed"
    for index, way in enumerate(ways):
        part = replace(job, steps=(_ELSEWHERE,), batch=way.batch, output=f"pictures-{index}.npy")
        (result,) = run_job(part, threads=way.threads, hash_seed=way.hash_seed)
        if result.status != "passed":
            return replace(result, name=_ELSEWHERE, seconds=time.perf_counter() - began)
    try:
        detail = _compared(Path(job.folder))
    except AssertionError as error:
        detail, status = str(error), "failed"
    return CheckResult(_ELSEWHERE, "failed" if status == "failed" else "passed", detail, time.perf_counter() - began)


def _compared(folder: Path) -> str:
    """Compare what the processes decoded; raises AssertionError with a line about it."""
    import numpy as np

    alike, again, otherwise = (np.load(folder / f"pictures-{i}.npy").astype(np.int16) for i in range(3))
    if not np.array_equal(alike, again):
        raise AssertionError(f"two processes under the same conditions decode up to {_off(alike, again)} levels apart")
    if (off := _off(alike, otherwise)) > 1:
        raise AssertionError(f"with 4 threads and batches of 3, decoding is up to {off} grey levels off")
    home = folder / "pictures.npy"
    if home.is_file() and (off := _off(alike, np.load(home).astype(np.int16))) > 1:
        raise AssertionError(f"a process that never saw the pictures decodes up to {off} grey levels off")
    return "3 fresh processes agree"


def _off(first: object, second: object) -> int:
    import numpy as np

    return int(np.abs(np.subtract(first, second)).max())  # type: ignore[call-overload]
