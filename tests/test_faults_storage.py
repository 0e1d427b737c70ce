"""Results, cache and weights on disks that are full, read-only, rotten or shared: nothing lies or is half-written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from constructed_run import Point, make_run
from facebench_codecs.jpeg_tables import shipped_tables
from facebench_codecs.weights import load_weights, save_weights, shipped_weights

from facebench import FacebenchError, WeightsError
from facebench.cli import main
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.errors import DataError, ResultsError
from facebench.operating_point import parse_points
from facebench.paths import atomic_path, cache_dir
from facebench.plan import Plan, plan_metrics
from facebench.plugins import load_registry
from facebench.results_folder import reserved_folder
from facebench.store import Run, ShardCache, cache_entries, read_run, write_cost, write_run

RUN = ["run", "--codecs", "jpeg", "--limit", "8", "--no-baseline", "--quiet"]
KEY = "5a" * 32


def told_once(said: str) -> str:
    """Return the one line that an error is."""
    assert said.startswith("facebench: ") and said.count("\n") == 1 and said.endswith("\n"), said
    return said


def damaged(data: bytes, count: int = 40) -> Iterator[tuple[str, bytes]]:
    """Yield ``data`` with one bit flipped, at places all over it; cut short at several lengths; and lengthened."""
    rng = np.random.default_rng(0)
    for place in np.unique(np.linspace(0, len(data) - 1, count).astype(int)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield f"bit of byte {place} flipped", bytes(flipped)
    for length in (0, 1, 7, 8, 33, len(data) // 2, len(data) - 1):
        yield f"cut to {length}", data[:length]
    yield "lengthened", data + b"\0"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow above ``size`` bytes: the write that would fails (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Killed(BaseException):
    """Ends a block as kill -9 would, as far as the files that have taken their places are concerned."""


@contextlib.contextmanager
def killed_after(changes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process die before the change number ``changes`` to the names in a folder."""
    done = 0

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def changed(path: Path, *arguments: object, **options: object) -> None:
            nonlocal done
            if not (path.name.startswith(".") and change is unlink):  # kill -9 leaves temporary files, tests look away
                done += 1
                if done > changes:
                    raise Killed
            change(path, *arguments, **options)

        return changed

    replace_, unlink = Path.replace, Path.unlink
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Path, "replace", counted(replace_))
        patch.setattr(Path, "unlink", counted(unlink))
        yield


def run_of(value: float, name: str = "run", count: int = 40) -> Run:
    rng = np.random.default_rng(int(1000 * value))
    run = make_run([Point("jpeg:quality=20", list(value * rng.uniform(1, 2, count)), [500] * count)], name=name)
    pictures = pd.DataFrame({"picture": [f"set:{position}" for position in range(count)], "smiling": value > 0.15})
    return replace(run, pictures=pictures)


def same(one: Run, other: Run) -> bool:
    assert one.pictures is not None and other.pictures is not None
    return one.manifest == other.manifest and one.records.equals(other.records) and one.pictures.equals(other.pictures)


# Results


@pytest.mark.parametrize("name", ["records.parquet", "pictures.parquet", "manifest.json", "cost.json"])
def test_no_damage_to_a_results_file_goes_unnoticed(name: str, tmp_path: Path) -> None:
    write_run(tmp_path, run_of(0.1), "table")
    write_cost(tmp_path / "cost.json", {"points": {"jpeg:quality=20": {"decode_ms": 1.25}}})
    whole, file = read_run(tmp_path), tmp_path / name
    refused = 0
    for how, data in damaged(file.read_bytes()):
        file.write_bytes(data)
        try:
            again = read_run(tmp_path)
        except ResultsError as error:
            refused += 1
            assert str(file) in str(error), how
            assert "again" in str(error), how
        else:  # a flipped bit between the words of JSON, say
            assert name.endswith(".json") and same(again, whole), how
            assert again.cost is not None and whole.cost is not None and again.cost["points"] == whole.cost["points"], (
                how
            )
    assert refused >= (40 if name.endswith(".parquet") else 25)


def test_a_mixture_of_two_runs_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for name in ("records.parquet", "pictures.parquet", "manifest.json"):
        write_run(one, run_of(0.1), "table")
        write_run(other, run_of(0.2), "table")
        shutil.copy(other / name, one / name)
        with pytest.raises(ResultsError, match="of another run") as told:
            read_run(one)
        assert str(one) in str(told.value)
    write_run(one, replace(run_of(0.1), pictures=None), "table")
    shutil.copy(other / "pictures.parquet", one)
    with pytest.raises(ResultsError, match=r"pictures\.parquet is of another run: .* remove it"):
        read_run(one)


def test_pictures_may_be_withheld(tmp_path: Path) -> None:
    write_run(tmp_path, run_of(0.1), "table")
    (tmp_path / "pictures.parquet").unlink()
    assert read_run(tmp_path).pictures is None


def test_a_manifest_without_digests_or_changed_on_purpose_is_read(tmp_path: Path) -> None:
    write_run(tmp_path, run_of(0.1), "table")
    file = tmp_path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["command"] = "facebench run --sweep"
    file.write_text(json.dumps(manifest, indent=4))
    with pytest.raises(ResultsError, match='does not fit its "sha256": set that to null if you changed it on purpose'):
        read_run(tmp_path)
    file.write_text(json.dumps({**manifest, "sha256": None}))
    assert read_run(tmp_path).manifest["command"] == "facebench run --sweep"
    del manifest["sha256"], manifest["files"]
    file.write_text(json.dumps(manifest))
    assert read_run(tmp_path).manifest == manifest


def test_a_damaged_run_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    write_run(tmp_path, run_of(0.1), "table")
    file = tmp_path / "records.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    for content in (bytes(data), b""):
        file.write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["facebench", "leaderboard", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert "records.parquet is damaged" in told_once(capsys.readouterr().err)


def test_a_run_that_does_not_fit_leaves_the_old_one_whole(tmp_path: Path) -> None:
    """Whichever of its files it is that does not fit."""
    old, new = run_of(0.1, count=3), run_of(0.2, count=400)
    write_run(tmp_path / "new", new, "table" * 2000, "groups" * 2000)
    sizes = [file.stat().st_size for file in (tmp_path / "new").iterdir()]
    write_run(tmp_path / "run", old, "old table")
    before = contents(tmp_path / "run")
    for size in sorted({0, 100, *(size - 1 for size in sizes)}):
        with (
            files_of_at_most(size),
            pytest.raises(ResultsError, match=r"cannot write .*run: File too large; free some"),
        ):
            write_run(tmp_path / "run", new, "table" * 2000, "groups" * 2000)
        assert contents(tmp_path / "run") == before
    with files_of_at_most(max(sizes)):
        write_run(tmp_path / "run", new, "table" * 2000, "groups" * 2000)
    assert contents(tmp_path / "run") == contents(tmp_path / "new")


@pytest.mark.parametrize("digests", [True, False])
def test_a_run_killed_while_it_is_written_is_the_old_one_the_new_one_or_none(
    digests: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = run_of(0.1), run_of(0.2)
    found = []
    for changes in range(12):
        folder = tmp_path / str(changes)
        write_run(folder, old, "old")
        if not digests:  # as facebench wrote manifests before it had them
            (folder / "manifest.json").write_text(json.dumps(old.manifest))
        with killed_after(changes, monkeypatch):
            write_run(folder, new, "new", "groups")
        try:
            left = read_run(folder)
            found.append("old" if same(left, old) else "new" if same(left, new) else "mixed")
        except ResultsError as error:
            assert "is no finished run: it has no manifest.json" in str(error)
            found.append("none")
    assert found == ["old"] + ["none"] * found.count("none") + ["new"] * found.count("new")
    assert found.count("none") > 3 and found.count("new") > 0


def test_any_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "face.bin").write_bytes(b"old")
    refused = r"File too large: '.*/face\.bin'"
    with files_of_at_most(10), pytest.raises(OSError, match=refused), atomic_path(tmp_path / "face.bin") as path:
        path.write_bytes(bytes(100))
    assert contents(tmp_path) == {"face.bin": b"old"}


# The cache


def shard_records(count: int = 256) -> pa.Table:
    rng = np.random.default_rng(0)
    scores = rng.random(count, np.float32)
    scores[3] = np.nan
    return pa.table(
        {
            "mask": pa.array(["none", "face"] * (count // 2)),
            "payload_bytes": rng.integers(0, 1 << 40, count),
            "1-SSIM": scores,
            "status": pa.array(["ok"] * count),
            "detail": pa.array(["", "décodé 你好"] * (count // 2)),
        }
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardCache:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))
    return ShardCache()


def kept_file() -> Path:
    (file,) = (cache_dir() / "shards").rglob("*.shard")
    return file


def test_the_cache_gives_back_what_it_was_given_to_the_last_bit(cache: ShardCache) -> None:
    records = shard_records()
    assert cache.get(KEY) is None
    cache.put(KEY, records)
    again = cache.get(KEY)
    assert again is not None and again.schema.equals(records.schema, check_metadata=True)
    for name in records.column_names:
        one, other = (table[name].combine_chunks().buffers()[-1].to_pybytes() for table in (records, again))
        assert one == other, name
    assert cache.damaged == []


def test_no_damage_to_a_cached_shard_goes_unnoticed(cache: ShardCache) -> None:
    records = shard_records()
    cache.put(KEY, records)
    file = kept_file()
    whole = file.read_bytes()
    other = "5b" * 32
    cache.put(other, shard_records(128))
    another = next((cache_dir() / "shards").rglob(f"{other}*")).read_bytes()
    hows = [*damaged(whole, 200), ("another shard's", another)]
    for how, data in hows:
        file.write_bytes(data)
        assert cache.get(KEY) is None, how
        assert not file.exists(), how
    assert cache.damaged == [file] * len(hows)
    cache.put(KEY, records)
    again = cache.get(KEY)
    assert file.read_bytes() == whole and again is not None and again.to_pandas().equals(records.to_pandas())


def test_a_shard_that_does_not_fit_is_one_line_and_leaves_nothing(cache: ShardCache) -> None:
    with (
        files_of_at_most(1000),
        pytest.raises(ResultsError, match=r"cannot write the cache .*set FACEBENCH_CACHE") as told,
    ):
        cache.put(KEY, shard_records())
    assert "\n" not in str(told.value)
    assert contents(cache_dir()) == {}


def test_what_killed_processes_leave_in_the_cache_can_be_removed(cache: ShardCache) -> None:
    cache.put(KEY, shard_records())
    fresh, old = (kept_file().with_name(f".{name}.shard.abcdefgh") for name in ("fresh", "old"))
    for file in (fresh, old):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    found = {entry.path: entry.kind for entry in cache_entries()}
    assert found == {kept_file(): "shard", old: "leftover"}  # the fresh one may be in the making


def test_sets_in_the_making_are_not_in_the_cache_and_what_is_left_of_them_is(
    cache: ShardCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_dir() / "prepared"
    for name in ("set", ".building-now", ".building-old", ".removed-old", "half"):
        (folder / name).mkdir(parents=True)
        (folder / name / ("images.npy" if name == "half" else "meta.json")).write_bytes(b"1234")
        if name not in (".building-now", "set"):
            for path in (*(folder / name).iterdir(), folder / name):
                os.utime(path, (time.time() - 7200,) * 2)
    (folder / "notes.txt").write_text("no folder")
    found = {entry.path.name: (entry.kind, entry.bytes) for entry in cache_entries()}
    assert found == {"set": ("prepared", 4)} | dict.fromkeys((".building-old", ".removed-old", "half"), ("leftover", 4))
    (folder / ".building-old" / "images.npy").write_bytes(b"still at it")
    assert ".building-old" not in {entry.path.name for entry in cache_entries()}
    iterdir = Path.iterdir

    def removed_meanwhile(path: Path) -> Iterator[Path]:
        shutil.rmtree(path)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", removed_meanwhile)
    assert cache_entries() == []


def test_pictures_that_do_not_fit_are_one_line_and_leave_nothing(cache: ShardCache, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "face.png"), np.zeros((64, 64, 3), np.uint8))
    options, registry = DataOptions(f"folder:{tmp_path / 'faces'}", size=64), load_registry("")
    source = choose_source(options, registry)
    with files_of_at_most(1000), pytest.raises(DataError) as told:
        prepare_chosen(source, options, registry)
    again = "File too large; free some space, or set FACEBENCH_CACHE to another folder"
    assert str(told.value) == f"cannot write the cache {cache_dir() / 'prepared'}: {again}"
    assert contents(cache_dir()) == {}


@pytest.mark.slow
def test_a_damaged_cache_does_not_change_a_run(tmp_path: Path) -> None:
    def records() -> pd.DataFrame:
        command = [*FACEBENCH, *RUN, "--overwrite", "--out", str(tmp_path / "out")]  # or it is recognised as finished
        subprocess.run(command, check=True, env=environment(tmp_path))
        return pd.read_parquet(tmp_path / "out" / "records.parquet").drop(columns=["encode_seconds", "decode_seconds"])

    first = records()
    (file,) = (tmp_path / "cache" / "shards").rglob("*.shard")
    data = bytearray(file.read_bytes())
    data[-20] ^= 4
    file.write_bytes(data)
    assert records().equals(first)
    assert file.read_bytes() != bytes(data)


# Disks that are really full or read-only


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with a cache of its own, without plugins, whose pictures are the samples."""
    there = {name: value for name, value in os.environ.items() if name != "FACEBENCH_DATA"}
    return {**there, "FACEBENCH_CACHE": str(folder / "cache"), "FACEBENCH_PLUGINS": ""}


FACEBENCH = [sys.executable, "-m", "facebench"]
_UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def with_mounts(script: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script, its arguments as $1 ..., in a mount namespace of its own; skip where there are none."""
    probe = [*_UNSHARE, "sh", "-c", "mount -t tmpfs -o size=1M tmpfs /mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no mount namespaces here: needs unshare, and root or unprivileged user namespaces")
    command = [*_UNSHARE, "sh", "-ec", script, "sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]


_FILL_UP = """
import sys
from pathlib import Path
import test_faults_storage as t
t.fill_up(Path(sys.argv[1]))
"""


def fill_up(folder: Path) -> None:
    """Write a run and a shard at each amount of free space, page by page, to a disk of 1 MB that has an old run."""
    old, new, records = run_of(0.1, count=3), run_of(0.2, count=400), shard_records(4096)
    run = folder / "run"
    write_run(run, old, "old")
    before = contents(run)
    page, failed = 4096, []
    for free in range(0, 40 * page, page):
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(page)):
                pass
        with filler.open("r+b") as stream:
            stream.truncate(filler.stat().st_size - free)
        cache = ShardCache()
        try:
            cache.put(KEY, records)
        except ResultsError as error:
            assert "No space left on device" in str(error), error
            failed.append("cache")
            assert not any(path.is_file() for path in cache_dir().rglob("*"))
        shutil.rmtree(cache_dir() / "shards", ignore_errors=True)
        try:
            write_run(run, new, "table" * 2000, "groups" * 2000)
        except ResultsError as error:
            assert "No space left on device" in str(error), error
            failed.append("run")
            assert contents(run) == before
        else:
            assert same(read_run(run), new)
            assert failed.count("run") > 5 and failed.count("cache") > 1, failed
            print("filled up")
            return
        filler.unlink()
    raise AssertionError("it never fitted")


def test_a_disk_without_room_harms_neither_runs_nor_the_cache(tmp_path: Path) -> None:
    """At each amount of free space; a shard and a run fit in the end."""
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=1M tmpfs "$1"; cd "$2"; FACEBENCH_CACHE="$1/cache" exec "$3" -c "$4" "$1"'
    disk = str(tmp_path / "disk")
    ended = with_mounts(script, disk, str(Path(__file__).parent), sys.executable, _FILL_UP)
    assert (ended.returncode, ended.stdout) == (0, "filled up\n"), ended.stderr


READ_ONLY = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; '
FULL = 'mount -t tmpfs -o size=16k tmpfs "$1"; head -c 16384 /dev/zero > "$1/filler" || true; '


@pytest.mark.parametrize(
    ("disk", "reason"), [(READ_ONLY, "Read-only file system"), (FULL, "No space left on device")], ids=["ro", "full"]
)
def test_results_that_cannot_be_written_are_refused_before_the_work(disk: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = disk + 'out="$1/out"; shift; "$@" --out "$out" || exit $?'
    arguments = [str(tmp_path / "disk"), *FACEBENCH, *RUN]
    ended = with_mounts(script, *arguments, env=environment(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"cannot write {tmp_path / 'disk' / 'out'}: {reason}; choose another --out" in told_once(ended.stderr)
    assert not (tmp_path / "cache" / "shards").exists()


@pytest.mark.slow
def test_a_full_cache_ends_a_run_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    script = (
        'mount -t tmpfs -o size=16M tmpfs "$1"; "$2" -m facebench "$3" --codecs jpeg:quality=50 $4 --out "$5"; '
        'head -c 99999999 /dev/zero > "$1/filler" || true; rm -r "$5" "$1/shards"; mkdir "$1/shards"; '
        'head -c 99999999 /dev/zero >> "$1/filler" || true; '
        '"$2" -m facebench "$3" --codecs jpeg:quality=60 $4 --out "$5" && exit 5; '
        'ls -A "$1/shards"/* "$5" >&2 && exit 6; rm "$1/filler"; '
        'exec "$2" -m facebench "$3" --codecs jpeg:quality=60 $4 --out "$5"'
    )
    arguments = [
        str(tmp_path / "cache"),
        sys.executable,
        "run",
        "--limit 8 --no-baseline --quiet",
        str(tmp_path / "out"),
    ]
    ended = with_mounts(script, *arguments, env=environment(tmp_path))
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("facebench: ")]
    assert len(said) == 1 and "cannot write the cache" in said[0] and "No space left on device" in said[0]
    assert "Traceback" not in ended.stderr
    assert list(read_run(tmp_path / "out").manifest["points"]) == ["jpeg:quality=60"]


# Two runs, one folder


@pytest.fixture(scope="module")
def plan() -> Plan:
    registry = load_registry("")
    points = {"jpeg:quality=85": parse_points("jpeg", registry)[0]}
    options = DataOptions("samples", limit=4)
    images = prepare_chosen(choose_source(options, registry), options, registry)
    return Plan(registry, points, frozenset(points), images, plan_metrics(registry), "cpu", False, "facebench run")


_HOLD = """
import fcntl, sys
stream = open(sys.argv[1], "w+")
fcntl.lockf(stream, fcntl.LOCK_EX)
stream.write("process 77 on elsewhere")
stream.flush()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock of ``folder`` in another process."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", _HOLD, str(folder / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_folder_that_another_process_holds_is_left_alone(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = Path("results") / "samples-64"
    with held_by_another(first):
        for overwrite in (False, True):
            refused = r"samples-64 is in use by another run \(process 77 on elsewhere\)"
            with pytest.raises(ResultsError, match=refused), reserved_folder(first, plan, overwrite):
                raise AssertionError
        with reserved_folder(None, plan, False) as folder:
            assert folder == Path("results") / "samples-64-2"
        assert contents(first) == {".lock": b"process 77 on elsewhere"}
    with reserved_folder(None, plan, False) as folder:  # killed: the kernel has freed it
        assert folder == first
        assert (folder / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        write_run(folder, run_of(0.1), "table")
    assert ".lock" not in contents(first)
    with reserved_folder(None, plan, False) as folder:
        assert folder == Path("results") / "samples-64-2"  # that in the first is not ours
    refused = "holds another run: choose another --out, or --overwrite"
    with pytest.raises(ResultsError, match=refused), reserved_folder(first, plan, False):
        raise AssertionError
    with reserved_folder(first, plan, True) as folder:
        assert folder == first


@pytest.mark.parametrize("ending", [KeyboardInterrupt, FacebenchError])
def test_a_folder_that_was_made_and_stays_empty_is_removed(
    ending: type[BaseException], plan: Plan, tmp_path: Path
) -> None:
    for folder in (tmp_path / "a" / "b" / "c", tmp_path / "a"):
        with pytest.raises(ending), reserved_folder(folder, plan, False):
            assert folder.is_dir()
            raise ending
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with reserved_folder(tmp_path / "there", plan, False):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        refused = r"cannot write .*; choose another --out"
        with pytest.raises(ResultsError, match=refused), reserved_folder(out, plan, True):
            raise AssertionError
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(plan: Plan, tmp_path: Path) -> None:
    write_run(tmp_path, run_of(0.1), "table")
    before = contents(tmp_path)
    (tmp_path / ".records.parquet.abcdefgh").write_bytes(b"half")
    (tmp_path / ".manifest.json.12345678").write_bytes(b"")
    (tmp_path / ".lock").write_text("process 1 on elsewhere")
    (tmp_path / ".mine.abcdefgh").write_text("no file of a run")
    with reserved_folder(tmp_path, plan, True):
        pass
    assert contents(tmp_path) == {**before, ".mine.abcdefgh": b"no file of a run"}


@contextlib.contextmanager
def stopped_in_its_folder(command: list[str], lock: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a run and stop it (SIGSTOP) as soon as it holds its folder."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (lock.is_file() and lock.read_bytes().startswith(b"process")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    out, env = tmp_path / "out", environment(tmp_path)
    command = [*FACEBENCH, *RUN, "--out", str(out)]
    with stopped_in_its_folder(command, out / ".lock", env) as first:
        second = subprocess.run([*command, "--overwrite"], env=env, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"{out} is in use by another run (process {first.pid} on " in told_once(second.stderr)
        first.send_signal(signal.SIGCONT)
        said = first.communicate(timeout=120)
        assert first.returncode == 0, said
    assert {*contents(out)} == {"groups.md", "leaderboard.md", "manifest.json", "records.parquet"}


@pytest.mark.slow
def test_a_second_run_takes_the_next_folder_and_a_killed_ones_is_free_again(tmp_path: Path) -> None:
    env, first_folder = environment(tmp_path), tmp_path / "results" / "samples-64"
    options = {"cwd": tmp_path, "env": env, "check": True, "stdout": subprocess.DEVNULL}
    moved = ["sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(tmp_path), *FACEBENCH, *RUN]
    with stopped_in_its_folder(moved, first_folder / ".lock", env) as first:
        subprocess.run([*FACEBENCH, *RUN], **options)  # type: ignore[call-overload]
        assert read_run(tmp_path / "results" / "samples-64-2").records["status"].eq("ok").all()
        first.kill()
    subprocess.run([*FACEBENCH, *RUN, "--overwrite"], **options)  # type: ignore[call-overload]  # not the second's again
    assert read_run(first_folder).records["status"].eq("ok").all()
    assert not any(name.startswith(".") for name in contents(first_folder))


# Weights and checkpoints

META = {"kind": "test", "side": 8, "trained_on": {"image_set": "set", "split": "train", "data_digest": None}}


def save_test_weights(path: Path, seed: int = 0) -> None:
    save_weights(path, {"w": np.random.default_rng(seed).random((20, 30), np.float32)}, META, {"command": "train"})


def test_no_damage_to_weights_or_their_card_goes_unnoticed(tmp_path: Path) -> None:
    path, card = tmp_path / "w.safetensors", tmp_path / "w.json"
    save_test_weights(path)
    whole = load_weights(path, "test")
    for file, least in ((path, 40), (card, 8)):
        content, refused = file.read_bytes(), 0
        for how, data in damaged(content):
            file.write_bytes(data)
            try:
                again = load_weights(path, "test")
            except WeightsError as error:
                refused += 1
                assert str(path) in str(error) and "train or copy them again" in str(error), how
            else:  # of the card only its digest counts
                assert file == card and again.digest == whole.digest, how
                np.testing.assert_array_equal(again.tensors["w"], whole.tensors["w"])
        assert refused >= least, file
        file.write_bytes(content)
    card.unlink()
    assert load_weights(path, "test").digest == whole.digest


def test_all_shipped_weights_have_a_card_that_fits() -> None:
    files = [*shipped_weights("x").parent.glob("*.safetensors"), *shipped_tables().parent.glob("*.safetensors")]
    assert len(files) > 5
    for path in files:
        kind = {"eigenfaces": "eigenfaces", "facet": "facet", "jpeg": "jpeg-huffman"}.get(
            path.stem.split("-")[0], "autoencoder"
        )
        assert json.loads(path.with_suffix(".json").read_text())["sha256"] == load_weights(path, kind).digest


def test_a_codec_with_damaged_weights_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped_tables().with_suffix(suffix), tmp_path)
    path = tmp_path / "jpeg.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
    codec = f'jpeg:headerless=true:weights="{path}"'
    monkeypatch.setattr(
        sys, "argv", ["facebench", "encode", str(picture), "--codec", codec, "--out", str(tmp_path / "f")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert f"weights {path} are damaged" in told_once(capsys.readouterr().err)
    assert not (tmp_path / "f").exists()


def test_weights_that_do_not_fit_leave_the_old_ones_whole(tmp_path: Path) -> None:
    save_test_weights(tmp_path / "w.safetensors")
    before = contents(tmp_path)
    for size in (0, 200, 2000):  # the last has room for the card only
        with (
            files_of_at_most(size),
            pytest.raises(WeightsError, match=r"cannot write .*w\.safetensors: File too large"),
        ):
            save_test_weights(tmp_path / "w.safetensors", seed=1)
        assert contents(tmp_path) == before


def test_weights_that_cannot_be_made_readable_leave_the_old_ones_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_test_weights(tmp_path / "w.safetensors")
    before = contents(tmp_path)

    def refuse(*given: object, **options: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(WeightsError, match=r"cannot write .*w\.safetensors"):
        save_test_weights(tmp_path / "w.safetensors", seed=1)
    assert contents(tmp_path) == before


def test_what_a_killed_process_left_beside_weights_is_removed_by_a_later_one(tmp_path: Path) -> None:
    names = [f".{name}.abcdefgh" for name in ("w.safetensors", "w.json")]
    for name in (*names, ".w.json.12345678", ".other.json.abcdefgh"):
        (tmp_path / name).write_bytes(b"half")
        if name != ".w.json.12345678":  # that one may be in the making
            os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    save_test_weights(tmp_path / "w.safetensors")
    assert set(contents(tmp_path)) == {"w.safetensors", "w.json", ".w.json.12345678", ".other.json.abcdefgh"}


def test_weights_killed_while_they_are_written_are_never_beside_anothers_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_test_weights(tmp_path / "old.safetensors", 0)
    save_test_weights(tmp_path / "new.safetensors", 1)
    old, new = (load_weights(tmp_path / f"{name}.safetensors", "test").digest for name in ("old", "new"))
    found = []
    for changes in range(5):
        path = tmp_path / f"{changes}.safetensors"
        save_test_weights(path, 0)
        with killed_after(changes, monkeypatch):
            save_test_weights(path, 1)
        found.append(load_weights(path, "test").digest)
    assert found == [old, old, new, new, new]


def test_no_damage_to_a_checkpoint_goes_unnoticed(tmp_path: Path) -> None:
    import torch  # not above: the process that fills a disk imports this module
    from facebench_codecs.checkpoint import load_checkpoint, save_checkpoint

    path = tmp_path / "w.checkpoint"
    network = torch.nn.Linear(20, 30)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 20)).sum().backward()
    optimizer.step()

    def save(step: int) -> None:
        save_checkpoint(path, [network], [optimizer], {"best": torch.ones(3)}, {"identity": "mine", "step": step})

    def load() -> int:
        extra, counters = load_checkpoint(path, [network], [optimizer], "mine")
        assert torch.equal(extra["best"], torch.ones(3))
        return int(counters["step"])

    save(7)
    whole = path.read_bytes()
    refused = 0
    for how, data in damaged(whole, 40):
        path.write_bytes(data)
        try:
            assert load() == 7, how
        except WeightsError as error:
            refused += 1
            assert f"checkpoint {path} is damaged" in str(error) and "remove it to start again" in str(error), how
    assert refused >= 40
    path.write_bytes(whole)
    with files_of_at_most(3000), pytest.raises(WeightsError, match=r"cannot write .*w\.checkpoint: File too large"):
        save(8)
    assert load() == 7
    assert contents(tmp_path) == {"w.checkpoint": whole}
    save(8)
    assert load() == 8
