"""CompressAI models as codecs, on small randomly initialised checkpoints: nothing is fetched."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

for needed in ("compressai", "facebench_compressai"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: see plugins/facebench-compressai/README.md", allow_module_level=True)

import torch
from compressai.zoo.image import model_urls
from facebench_compressai.framing import pack, unpack
from facebench_compressai.weights import _CLASSES

from facebench import Codec, CodecError, FacebenchError, WeightsError
from facebench.operating_point import make_codec, parse_points
from facebench.plugins import Registry, load_registry
from facebench.testing import check_codec

ONE_STRING = ("bmshj2018-factorized", "bmshj2018-factorized-relu")
WITH_HYPERPRIOR = ("bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "cheng2020-anchor", "cheng2020-attn")
MODELS = (*ONE_STRING, *WITH_HYPERPRIOR)
#: Decode value by value, slowly.
ONE_BY_ONE = ("mbt2018", "cheng2020-anchor", "cheng2020-attn")


def small_model(name: str, seed: int = 0, spread: float = 3.0) -> Any:
    """A model of 8 and 12 channels, not trained, whose latents of noise have about that standard deviation."""
    torch.manual_seed(seed)
    model = _CLASSES[name](8) if name.startswith("cheng") else _CLASSES[name](8, 12)
    noise = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        while model.g_a(noise).std() < spread:
            for part in model.g_a.modules():
                if isinstance(part, torch.nn.Conv2d):
                    part.weight *= 1.1
    return model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of each architecture, by its name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    files = {}
    for name in MODELS:
        model = small_model(name)
        model.update()
        files[name] = folder / f"{name}.pth.tar"
        torch.save({"state_dict": model.state_dict(), "epoch": 3}, files[name])
    return files


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry("compressai")


@pytest.fixture
def no_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a network that no test may ask."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("the network was asked"))
    return tmp_path


def codec(registry: Registry, text: str, size: tuple[int, int] = (64, 64)) -> Codec:
    (point,) = parse_points(text, registry)
    return make_codec(registry.codec(point.codec), point, size)


def of(model: str, checkpoints: dict[str, Path]) -> str:
    return f'compressai:model={model}:checkpoint="{checkpoints[model]}"'


def picture(size: tuple[int, int] = (64, 64), seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_the_plugin_brings_its_codec_and_nothing_else(registry: Registry) -> None:
    assert registry.problems == []
    ours = {key for key, owner in registry.origins.items() if owner.startswith("facebench-compressai ")}
    assert ours == {"codec compressai"}


def test_listing_it_imports_neither_compressai_nor_torch() -> None:
    code = "import sys, facebench_compressai as f; list(f.facebench_codecs()); print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert "facebench_compressai" in loaded and not loaded & {"compressai", "torch", "numpy"}


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (48, 80), (33, 17)])
@pytest.mark.parametrize("model", MODELS)
def test_another_instance_decodes_what_compressai_itself_gives(
    registry: Registry, checkpoints: dict[str, Path], model: str, size: tuple[int, int]
) -> None:
    ours = codec(registry, of(model, checkpoints), size)
    payload = ours.encode(picture(size))
    decoded = codec(registry, of(model, checkpoints), size).decode(payload)
    strings, expected = straight_through(model, checkpoints[model], picture(size))
    assert decoded.shape == (*size, 3) and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)
    header = len(payload) - sum(map(len, strings))
    assert header == (0 if model in ONE_STRING else 1)
    assert unpack(payload, len(strings)) == strings
    assert ours.bits_per_image(payload) == 8 * len(payload)


def straight_through(model: str, file: Path, image: NDArray[np.uint8]) -> tuple[list[bytes], NDArray[np.uint8]]:
    """CompressAI's own strings and 8-bit picture, padded and cropped by hand."""
    network = _CLASSES[model].from_state_dict(torch.load(file)["state_dict"]).eval()
    step = network.downsampling_factor
    height, width = image.shape[:2]
    rows, columns = -height % step, -width % step
    padded = np.pad(image, ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)))
    with torch.no_grad():
        out = network.compress(torch.from_numpy(padded / np.float32(255)).permute(2, 0, 1)[None])
        back = network.decompress(out["strings"], out["shape"])["x_hat"][0].permute(1, 2, 0)
    whole = (back * 255).round().to(torch.uint8).numpy()
    return [s for (s,) in out["strings"]], whole[rows // 2 : rows // 2 + height, columns // 2 : columns // 2 + width]


def test_what_identifies_the_weights_is_the_files_digest(registry: Registry, checkpoints: dict[str, Path]) -> None:
    file = checkpoints["bmshj2018-factorized"]
    ours = codec(registry, of("bmshj2018-factorized", checkpoints))
    assert ours.weights_digest == hashlib.sha256(file.read_bytes()).hexdigest()
    model = _CLASSES["bmshj2018-factorized"](8, 12)
    needed = [*model.g_s.parameters(), *model.entropy_bottleneck.parameters()]
    assert ours.weights_bytes == 4 * sum(p.numel() for p in needed)
    assert ours.trained_on is None


@pytest.mark.parametrize("model", ["bmshj2018-factorized", "mbt2018-mean"])
def test_it_conforms(tmp_path: Path, model: str) -> None:
    for quality in range(1, 9):
        weights = small_model(model, spread=quality / 2)
        weights.update()
        torch.save(weights.state_dict(), tmp_path / f"q{quality}.pth")
    check_codec(f'compressai:model={model}:checkpoint="{tmp_path}/q{{quality}}.pth"').raise_if_failed()


def test_the_number_of_threads_changes_no_byte_and_stays_as_it_was(
    registry: Registry, checkpoints: dict[str, Path]
) -> None:
    ours, before = codec(registry, of("bmshj2018-factorized", checkpoints), (128, 128)), torch.get_num_threads()
    payloads = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            payloads.append([ours.encode(picture((128, 128), seed)) for seed in range(8)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert payloads[0] == payloads[1]


def test_a_checkpoint_without_tables_gets_them(registry: Registry, tmp_path: Path) -> None:
    torch.save(small_model("mbt2018-mean").state_dict(), tmp_path / "bare.pth")
    ours = codec(registry, f'compressai:model=mbt2018-mean:checkpoint="{tmp_path}/bare.pth"')
    assert ours.decode(ours.encode(picture())).shape == (64, 64, 3)


def test_the_quality_chooses_among_checkpoints(
    registry: Registry, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "q5.pth").write_bytes(checkpoints["mbt2018-mean"].read_bytes())
    pattern = f'compressai:checkpoint="{tmp_path}/q{{quality}}.pth"'
    assert codec(registry, f"{pattern}:quality=5").weights_digest
    with pytest.raises(WeightsError, match=r"there is no checkpoint .*q4\.pth"):
        codec(registry, f"{pattern}:quality=4")
    with pytest.raises(CodecError, match="a checkpoint is of one quality"):
        codec(registry, f"{of('mbt2018-mean', checkpoints)}:quality=5")


def test_missing_weights_of_the_zoo_are_one_line_and_nothing_is_fetched(registry: Registry, no_zoo: Path) -> None:
    with pytest.raises(WeightsError, match="set download=true, or put https://") as caught:
        codec(registry, "compressai:model=mbt2018:quality=4:metric=ms-ssim")
    assert str(no_zoo / "checkpoints") in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(CodecError, match="the zoo has qualities 1 to 6"):
        codec(registry, "compressai:model=cheng2020-attn:quality=7")
    with pytest.raises(CodecError, match="the zoo has nothing: name a checkpoint"):
        codec(registry, "compressai:model=bmshj2018-factorized-relu")


def test_weights_of_the_zoo_are_fetched_when_asked_for_and_checked(
    registry: Registry, checkpoints: dict[str, Path], no_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = checkpoints["mbt2018-mean"].read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    url = f"https://example.org/mbt2018-mean-1-{digest[:8]}.pth.tar"
    monkeypatch.setitem(model_urls["mbt2018-mean"], "mse", {1: url, 2: url.replace(digest[:8], "00000000")})
    asked = []

    def fetched(source: str, target: str, hash_prefix: str, progress: bool) -> None:
        asked.append(source)
        Path(target).write_bytes(data)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetched)
    ours = codec(registry, "compressai:quality=1:download=true")
    assert asked == [url] and ours.weights_digest == digest
    assert ours.trained_on is not None and ours.trained_on.image_set == "vimeo90k"
    assert codec(registry, "compressai:quality=1").weights_digest == digest and asked == [url]
    with pytest.raises(WeightsError, match="is damaged"):
        codec(registry, "compressai:quality=2:download=true")

    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("network is\nunreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setitem(model_urls["mbt2018-mean"]["mse"], 3, "https://example.org/x-3-12345678.pth.tar")
    with pytest.raises(WeightsError, match=r"cannot fetch https://example\.org/x-3-12345678\.pth\.tar: network is"):
        codec(registry, "compressai:quality=3:download=true")


class _Trap:
    def __reduce__(self) -> Any:
        return (print, ("a checkpoint was executed",))


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", pickle.dumps(_Trap(), 2), pickle.dumps({"state_dict": _Trap()}, 2)],
    ids=["empty", "text", "trap", "wrapped trap"],
)
def test_a_file_that_is_no_checkpoint_is_one_line_and_is_not_executed(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pth is no checkpoint"):
        codec(registry, f'compressai:checkpoint="{tmp_path}/bad.pth"')
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("state", [[1, 2], {}, {"state_dict": {"g_a.0.weight": torch.zeros(3)}}, {"g_a.0.weight": 7}])
def test_tensors_of_something_else_are_one_line(registry: Registry, tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="are not those of a mbt2018-mean"):
        codec(registry, f'compressai:checkpoint="{tmp_path}/other.pth"')


def test_a_checkpoint_of_another_architecture_is_refused(registry: Registry, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match="are not those of a bmshj2018-factorized"):
        codec(registry, f'compressai:model=bmshj2018-factorized:checkpoint="{checkpoints["mbt2018"]}"')


def damaged(payload: bytes, count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(11)
    for cut in range(0, len(payload), 1 + len(payload) // count):
        yield payload[:cut]
    for _ in range(count):
        flipped = bytearray(payload)
        flipped[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    for _ in range(count):
        yield rng.bytes(4 * int(rng.integers(1, len(payload) // 2)))
    for byte in (0, 1, 127, 128, 255):
        for length in (1, 8, 9, 16, 17, 64, 400, 1001):
            yield bytes([byte]) * length
            yield payload + bytes([byte]) * length
    yield bytes(1 << 20)


@pytest.mark.parametrize("model", MODELS)
def test_damaged_payloads_give_a_codec_error_or_some_picture(
    registry: Registry, checkpoints: dict[str, Path], model: str
) -> None:
    ours = codec(registry, of(model, checkpoints))
    intact = ours.encode(picture())
    before, refused = ours.decode(intact), 0
    for payload in damaged(intact, 12 if model in ONE_BY_ONE else 100):
        try:
            decoded = ours.decode(payload)
            assert decoded.shape == (64, 64, 3) and decoded.dtype == np.uint8
            np.testing.assert_array_equal(decoded, ours.decode(payload))  # nothing from beyond the payload
        except CodecError:
            refused += 1
    assert refused > 10
    np.testing.assert_array_equal(ours.decode(intact), before)


def test_strings_come_back_from_a_payload_and_nothing_else_does() -> None:
    for lengths in ([8], [12, 8], [4 * 40_000, 4 * 127], [8, 4 * 128], [16, 4 * 20_000, 8]):
        strings = [bytes([index + 1]) * length for index, length in enumerate(lengths)]
        payload = pack(strings)
        assert unpack(payload, len(strings)) == strings
        assert len(payload) - sum(lengths) == sum(1 + (n // 4 > 127) + (n // 4 > 16383) for n in lengths[1:])
        for cut in range(1, 4):
            with pytest.raises(CodecError):
                unpack(payload[:-cut], len(strings))
    for payload in (b"", b"\x02", b"\xff" * 20, b"\x02" + bytes(8), b"\x00" + bytes(16), b"\x01" + bytes(12)):
        with pytest.raises(FacebenchError):
            unpack(payload, 2)
    with pytest.raises(CodecError):
        pack([b"abc"])


def test_a_picture_of_another_size_is_refused(registry: Registry, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(CodecError, match="the picture's shape is"):
        codec(registry, of("mbt2018-mean", checkpoints)).encode(picture((32, 32)))
