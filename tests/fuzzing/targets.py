"""What is fuzzed: each target takes bytes that someone else wrote, as the program takes them."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mutators import json_node, png_change

from facebench.errors import CodecError, FacebenchError

PARSER, NEURAL, WEIGHTS = "parser", "neural decoder", "weights file"
Run = Callable[[bytes], None]
_CODECS_KEPT = 24


@dataclass(frozen=True)
class Target:
    """One reader of foreign bytes.

    ``make`` imports it and returns the function that is run on each input; that may raise ``allowed`` and nothing
    else. ``seeds`` makes sound inputs. ``mutate``, if there is one, makes a new input out of one, or None to leave it
    to the fuzzer's own mutations, which know the words ``tokens``.
    """

    name: str
    kind: str
    make: Callable[[], Run]
    seeds: Callable[[], Iterable[bytes]]
    allowed: tuple[type[Exception], ...] = (FacebenchError,)
    mutate: Callable[[bytes, random.Random], bytes | None] | None = None
    tokens: tuple[str, ...] = ()


@cache
def _registry() -> Any:
    """Return what comes with facebench, without plugins."""
    from facebench.plugins import load_registry

    return load_registry("")


def _codec(point: str, size: tuple[int, int]) -> Any:
    """Return the codec of an operating point."""
    from facebench.operating_point import make_codec, parse_points

    registry = _registry()
    (chosen,) = parse_points(point, registry)
    return make_codec(registry.codecs[chosen.codec], chosen, size)


def _decoder(
    name: str,
    kind: str,
    point: str,
    size: tuple[int, int],
    mutate: Callable[[bytes, random.Random], bytes | None] | None = None,
) -> Target:
    """Return the target of a decoder that is made once: CodecError or a picture of the right shape, nothing else."""

    def make() -> Run:
        from facebench.measure import checked_picture

        codec = _codec(point, size)

        def run(payload: bytes) -> None:
            checked_picture(codec.decode(payload), size)
            codec.bits_per_image(payload)

        return run

    def seeds() -> Iterable[bytes]:
        from facebench.testing.pictures import faces, plain

        encoder = _codec(point, size)
        for picture in (*faces(size, 3), *plain(size).values()):
            yield encoder.encode(picture)

    return Target(name, kind, make, seeds, (CodecError,), mutate)


def _scratch() -> Path:
    """Return a new folder for input files; the runner removes it."""
    return Path(tempfile.mkdtemp())


def _webp() -> Run:
    from facebench_codecs.facet.webp import read_webp

    from facebench.measure import checked_picture

    def run(data: bytes) -> None:
        checked_picture(read_webp(data, (64, 64)), (64, 64))

    return run


def _webp_seeds() -> Iterable[bytes]:
    from facebench_codecs.facet.webp import largest_webp

    from facebench.testing.pictures import faces, plain

    for picture in (*faces((64, 64), 2), *plain((64, 64)).values()):
        for limit in (300, 1500):
            if body := largest_webp(picture, limit):
                yield body


def _container() -> Run:
    """Return the command ``facebench decode`` itself, with its plugins loaded once."""
    import cv2

    from facebench import operating_point
    from facebench.cli import decode

    # Most inputs name one of few operating points; making a learned codec takes many times longer than decoding.
    kept = lru_cache(_CODECS_KEPT)(operating_point.make_codec)
    command = decode.decode_command.callback
    folder = _scratch()
    file, out = folder / "x.face", folder / "x.png"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        with (
            patch.object(decode, "registry_with_notes", lambda quiet: _registry()),
            patch.object(operating_point, "make_codec", kept),
        ):
            command(file=file, out=out, codec=None, quiet=True)
        picture = cv2.imread(str(out))
        out.unlink()
        assert picture is not None and picture.size and [f.name for f in folder.iterdir()] == [file.name]

    # What comes with facebench is loaded and kept once: that is no input's doing.
    for point, side in (
        *((f"eigenfaces:step={step}", side) for step in (1, 4) for side in (64, 128)),
        *((f"facet:tune={tune}", 64) for tune in ("ssim", "mse", "identity")),
        ("facet", 128),
        ("cvae", 128),
    ):
        _codec(point, (side, side))
    return run


def _container_seeds() -> Iterable[bytes]:
    from facebench.container import FaceFile
    from facebench.testing.pictures import faces

    for point, size in (
        ("png", (16, 16)),
        ("jpeg:quality=20", (24, 16)),
        ("jpeg:quality=5:headerless=true", (32, 32)),
        ("jpeg:quality=20:scale=0.5", (32, 32)),
        ("jpeg2000:bytes=80:headerless=true", (32, 32)),
        ("eigenfaces:step=4", (64, 64)),
        ("cvae:step=12", (64, 64)),
        ("dcgan:step=12:weights=paper", (64, 64)),
        ("facet:rate=3", (64, 64)),
        ("facet:bytes=40:tune=mse", (64, 64)),
        ("jpeg:headerless=true@90B+downscale", (64, 64)),
    ):
        codec = _codec(point, size)
        (picture,) = faces(size, 1)
        yield FaceFile(point, size, codec.weights_digest, codec.encode(picture)).pack()


def _written_run(folder: Path) -> Path:
    """Write a small run with made-up figures into ``folder`` and return its manifest's path."""
    from constructed_run import Point, make_run

    from facebench.paths import MANIFEST
    from facebench.store import write_run

    points = [Point(f"jpeg:quality={quality}", [quality / 100] * 3, [9 * quality] * 3) for quality in (10, 20)]
    write_run(folder, make_run(points), "")
    return folder / MANIFEST


def _manifest() -> Run:
    """Return the reading of a results folder whose manifest is the input, and what prints of it."""
    from facebench.exchange.beside import beside_markdown
    from facebench.exchange.documents import data_text
    from facebench.store import read_run

    file = _written_run(_scratch())

    def run(data: bytes) -> None:
        file.write_bytes(data)
        found = read_run(file.parent)
        data_text(found.manifest).encode()
        beside_markdown((), found).encode()

    return run


def _manifest_seeds() -> Iterable[bytes]:
    manifest = json.loads(_written_run(_scratch()).read_bytes())
    # Without the digests that would give every change away.
    yield json.dumps({name: value for name, value in manifest.items() if name not in ("sha256", "files")}).encode()


def _results() -> Run:
    """Return the reading of a CompressAI results file as ``facebench import`` does it."""
    from facebench.exchange.beside import beside_markdown
    from facebench.exchange.compressai import read_results

    file = _scratch() / "results.json"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        beside_markdown(read_results(file)).encode()

    return run


def _results_seeds() -> Iterable[bytes]:
    curve = {"bpp": [0.1, 0.3, 0.9], "psnr-rgb": [26.0, 29.5, 34.1], "ms-ssim-rgb": [0.91, 0.96, 0.99]}
    yield json.dumps({"name": "codec", "description": "drawn", "results": curve}).encode()
    yield json.dumps({"name": "codec", "dataset": "kodak", **curve, "ssim": [0.7, 0.8, 0.9]}).encode()
    yield json.dumps({"results": {"bpp": [0.5], "psnr": [30]}}).encode()


#: CelebA's list files: name, the split that reads it, a sound one.
_LISTS = {
    "partition": ("list_eval_partition.txt", "official-test", "000001.jpg 2\n000002.jpg 0\n000003.jpg 2\n"),
    "identities": ("identity_CelebA.txt", "all", "000001.jpg 12\n000002.jpg 7\n000003.jpg 12\n"),
    "attributes": (
        "list_attr_celeba.txt",
        "all",
        "3\nBald Smiling Young\n000001.jpg -1  1  1\n000002.jpg  1 -1  1\n000003.jpg -1 -1 -1\n",
    ),
    "landmarks": (
        "list_landmarks_align_celeba.txt",
        "all",
        "3\nlefteye_x lefteye_y nose_x nose_y\n"
        "000001.jpg 69 109 106 113\n000002.jpg 69 110 107 112\n000003.jpg 76 112 104 106\n",
    ),
}


def _list(kind: str) -> Target:
    name, split, sound = _LISTS[kind]

    def make() -> Run:
        import numpy as np

        from facebench.data import celeba

        celeba.facebench_split = (
            tuple  # facebench's own list of 14,723 pictures: no input's doing, and slow to go through
        )
        folder = _scratch()
        (folder / "img_align_celeba").mkdir()
        for number in (1, 2, 3):
            (folder / "img_align_celeba" / f"{number:06}.jpg").touch()

        def run(data: bytes) -> None:
            (folder / name).write_bytes(data)
            source = celeba.open_source(folder, split)
            assert 0 < len(source.ids) <= 3
            assert all(values.shape == (len(source.ids),) for values in source.attributes.values())
            if source.landmarks is not None:
                assert source.landmarks.shape[0] == len(source.ids) and np.isfinite(source.landmarks).all()
            "".join((*source.ids, *(source.identities or ()), *source.attributes)).encode()

        return run

    return Target(kind, PARSER, make, lambda: [sound.encode()], tokens=("000001.jpg", "000002.jpg", "-1", "1e9", "nan"))


def _zip(folder_of_pictures: bool) -> Run:
    """Return the reading of a zip of pictures, or of masks beside pictures; nothing may be written anywhere."""
    import numpy as np

    from facebench.data import celeba
    from facebench.masks import annotation

    # What OpenCV makes of a picture is another matter: its memory is limited elsewhere.
    celeba.decode_picture = lambda data, name: np.zeros((1, len(data), 3), np.uint8)
    annotation.decode_mask = lambda data, name: np.zeros((1, len(data)), bool)
    celeba.facebench_split = tuple
    folder = _scratch() / "inside"
    folder.mkdir()
    if folder_of_pictures:
        archive = folder / "img_align_celeba.zip"
    else:
        archive = folder / "face_masks.zip"
        (folder / "img_align_celeba").mkdir()
        for number in (1, 2):
            (folder / "img_align_celeba" / f"{number:06}.jpg").touch()
    archive.touch()
    before = sorted(folder.parent.rglob("*"))

    def run(data: bytes) -> None:
        archive.write_bytes(data)
        try:
            source = celeba.open_source(folder, "all")
            for index in range(min(len(source.ids), 3)):
                if folder_of_pictures:
                    assert source.read(index).shape[2] == 3
                else:
                    assert source.read_mask is not None and source.read_mask(index).ndim == 2
        finally:
            assert sorted(folder.parent.rglob("*")) == before, "something was written"

    return run


def _zip_seeds(ending: str) -> Iterable[bytes]:
    import io
    import zipfile

    import cv2

    from facebench.testing.pictures import faces

    options = [cv2.IMWRITE_JPEG_QUALITY, 5] if ending == ".jpg" else []
    picture = cv2.imencode(ending, faces((16, 16), 1)[0], options)[1].tobytes()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        for name in ("000001", "../../000001", "/000001"):
            held = io.BytesIO()
            with zipfile.ZipFile(held, "w", method) as file:
                file.writestr(f"{name}{ending}", picture)
                file.writestr(f"in/000002{ending}", picture)
            yield held.getvalue()


def _texts(read: Callable[[Any], Callable[[str], object]]) -> Callable[[], Run]:
    """Return the maker of a target that takes a text of the command line, of up to four thousand characters."""

    def make() -> Run:
        read_text = read(_registry())

        def run(data: bytes) -> None:
            read_text(data.decode("utf-8", "replace"))

        return run

    return make


def _points(registry: Any) -> Callable[[str], object]:
    from facebench.operating_point import label, parse_points

    def run(text: str) -> None:
        for point in parse_points(text, registry)[:4]:
            spec = registry.codecs[point.codec]
            name = label(spec, point)
            if '"' not in text:
                assert parse_points(name, registry) == [point], name

    return run


def _budgets(registry: Any) -> Callable[[str], object]:
    from facebench.operating_point import budget_points, parse_budgets

    return lambda text: budget_points("jpeg:headerless=true", registry, parse_budgets(text))


def _weights(kind: str) -> Target:
    """Return the target of a weights file: its data is sound, its header and its description come from the input.

    An input is the JSON list of entries to change in the header (null removes one), and of the description; or a
    whole header.
    """
    point, size = {"eigenfaces": ("eigenfaces", 8), "cvae": ("cvae", 8), "facet": ("facet", 32), "jpeg": _BARE}[kind]

    def make() -> Run:
        from facebench.measure import checked_picture

        file = _scratch() / "weights.safetensors"
        header, _, content = _sound_weights(kind)
        times = count(1)

        def run(data: bytes) -> None:
            data = _header(data, header)
            file.write_bytes(len(data).to_bytes(8, "little") + data + content)
            os.utime(file, ns=(time := next(times), time))  # codecs keep what they loaded while the file is the same
            codec = _codec(f'{point}:weights="{file}"', (size, size))
            try:
                checked_picture(codec.decode(b"\x35\x10\x77"), (size, size))
            except CodecError:
                return

        return run

    def seeds() -> Iterable[bytes]:
        header, meta, _ = _sound_weights(kind)
        yield json.dumps([{}, meta]).encode()
        for name in list(header)[:20]:
            yield json.dumps([{name: header[name]}, meta]).encode()

    return Target(f"weights-of-{kind}", WEIGHTS, make, seeds, mutate=_json_mutation)


_BARE = ("jpeg:headerless=true", 16)
_TOLD = {"image_set": "drawn", "split": "all", "data_digest": "0"}


def _header(data: bytes, sound: dict[str, Any]) -> bytes:
    try:
        changes, meta = json.loads(data)
        header = {name: entry for name, entry in {**sound, **changes}.items() if entry is not None}
        return json.dumps({**header, "__metadata__": {"facebench": json.dumps(meta)}}).encode()
    except (ValueError, TypeError, RecursionError):
        return data


def _sound_weights(kind: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return a weights file's header, description and data."""
    import numpy as np
    from safetensors.numpy import save

    tensors, meta = {"eigenfaces": _eigenfaces, "cvae": _autoencoder, "facet": _facet, "jpeg": _tables}[kind]()
    file = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    start = 8 + int.from_bytes(file[:8], "little")
    return json.loads(file[8:start]), {**meta, "trained_on": _TOLD}, file[start:]


def _eigenfaces() -> tuple[dict[str, Any], dict[str, Any]]:
    import numpy as np
    from facebench_codecs.entropy import Quantiles

    random = np.random.default_rng(0)
    quantiles = Quantiles.fit(random.normal(size=(500, 4)).astype(np.float32))
    tensors = {
        "basis.int8": random.integers(-127, 128, (4, 96)).astype(np.int8),
        "basis.scale": np.full(4, 0.001, np.float32),
        "basis.odd": np.arange(4, dtype=np.uint8) % 2,
        "mean": np.full(96, 0.5, np.float32),
        "quantiles.positions": quantiles.positions,
        "quantiles.units": quantiles.units,
    }
    return tensors, {"kind": "eigenfaces", "side": 8}


def _autoencoder() -> tuple[dict[str, Any], dict[str, Any]]:
    from dataclasses import asdict, replace

    import numpy as np
    from facebench_codecs.entropy import Quantiles
    from facebench_codecs.networks import Autoencoder
    from facebench_codecs.recipe import named_recipe

    recipe = replace(named_recipe("cvae-flat"), widths=(2,), latent_channels=1)
    quantiles = Quantiles.fit(np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32))
    tensors = {name: tensor.numpy() for name, tensor in Autoencoder(recipe, 8).state_dict().items()}
    tensors |= {
        "latent.scale": np.ones(16, np.float32),
        "quantiles.positions": quantiles.positions,
        "quantiles.units": quantiles.units,
    }
    return tensors, {"kind": "autoencoder", "side": 8, "recipe": asdict(recipe)}


def _facet() -> tuple[dict[str, Any], dict[str, Any]]:
    from dataclasses import asdict

    import numpy as np
    from facebench_codecs.entropy import TOTAL, Table
    from facebench_codecs.facet.basis import Basis
    from facebench_codecs.facet.network import Shape
    from facebench_codecs.facet.tables import RATES, Codebook
    from facebench_codecs.facet.weights import basis_tensors, linear_tensors, make_network, tune_tensors

    shape = Shape(32, 16, 8, 4, 4, 1, 4, 1, 4, 1, 8, 1)
    half = np.random.default_rng(0).normal(size=(16, 768)).astype(np.float32)
    basis = Basis(half / 30, np.arange(16) % 2 == 1, np.zeros(768, np.float32), np.ones(16, np.float32), 32)
    thirds = np.array([TOTAL // 4, TOTAL // 2, TOTAL // 4])
    tables = (Table(0, np.array([TOTAL])), Table(-1, thirds))
    bits = np.full(RATES, 40, np.float32)
    codebook = Codebook(tables, np.ones((RATES, 16), np.uint8), bits, bits)
    tensors = basis_tensors(basis) | linear_tensors(codebook, np.ones(1, np.float32))
    tensors |= tune_tensors("ssim", make_network(shape, basis), codebook)
    return tensors, {"kind": "facet", "shape": asdict(shape)}


def _tables() -> tuple[dict[str, Any], dict[str, Any]]:
    from facebench_codecs.jpeg_tables import shipped_tables
    from safetensors.numpy import load

    return load(shipped_tables().read_bytes()), {"kind": "jpeg-huffman", "side": 128}


def _json_mutation(data: bytes, source: random.Random) -> bytes | None:
    return json_node(data, source) if source.random() < 0.8 else None


def _tokens_of_points() -> tuple[str, ...]:
    return (
        *("jpeg", "png", "jpeg2000", "eigenfaces", "facet", "cvae", "dcgan"),
        *("quality=", "headerless=", "scale=", "weights="),
        *(
            "rate=",
            "bytes=",
            "tune=",
            "step=",
            "latent=",
            "float32",
            "mse",
            "true",
            "0",
            "@64B",
            "+downscale",
            '"',
            "nan",
        ),
    )


TARGETS = (
    _decoder("png", PARSER, "png", (24, 20), png_change),
    _decoder("jpeg", PARSER, "jpeg:quality=30", (40, 33)),
    _decoder("jpeg-headerless", PARSER, "jpeg:quality=30:headerless=true", (40, 33)),
    _decoder("jpeg-scale", PARSER, "jpeg:quality=60:headerless=true:scale=0.4", (64, 64)),
    _decoder("jpeg2000", PARSER, "jpeg2000:bytes=400", (40, 33)),
    _decoder("jpeg2000-headerless", PARSER, "jpeg2000:bytes=200:headerless=true", (40, 33)),
    _decoder("eigenfaces", PARSER, "eigenfaces:step=1.6", (64, 64)),
    _decoder("budget", PARSER, "jpeg:headerless=true@200B+downscale", (64, 64)),
    Target("webp-of-facet", PARSER, _webp, _webp_seeds, (CodecError,)),
    Target("container", PARSER, _container, _container_seeds, tokens=_tokens_of_points()),
    Target("manifest", PARSER, _manifest, _manifest_seeds, mutate=_json_mutation),
    Target("compressai-results", PARSER, _results, _results_seeds, mutate=_json_mutation),
    *(_list(kind) for kind in _LISTS),
    Target("zip-of-pictures", PARSER, lambda: _zip(True), lambda: _zip_seeds(".jpg")),
    Target("zip-of-masks", PARSER, lambda: _zip(False), lambda: _zip_seeds(".png")),
    Target(
        "operating-points",
        PARSER,
        _texts(_points),
        lambda: [
            b"jpeg:quality=5/20:scale=0.5,png,facet:bytes=40",
            b'cvae:weights="a/b":latent=float32@90B',
            b"jpeg@64B+downscale",
        ],
        tokens=_tokens_of_points(),
    ),
    Target("budgets", PARSER, _texts(_budgets), lambda: [b"128,256,512", b" 7 , 7"], tokens=("1" * 60, "²", "٣", ",")),
    _decoder("cvae", NEURAL, "cvae:step=3", (64, 64)),
    _decoder("cvae-float32", NEURAL, "cvae:latent=float32", (64, 64)),
    _decoder("dcgan", NEURAL, "dcgan:step=3", (64, 64)),
    _decoder("nvae", NEURAL, "nvae:step=3", (64, 64)),
    _decoder("vqvae", NEURAL, "vqvae:stages=6", (64, 64)),
    _decoder("facet", NEURAL, "facet:rate=24", (64, 64)),
    _decoder("facet-mse", NEURAL, "facet:rate=40:tune=mse", (64, 64)),
    _decoder("facet-identity", NEURAL, "facet:rate=10:tune=identity", (64, 64)),
    _decoder("facet-bytes", NEURAL, "facet:bytes=300", (64, 64)),
    *(_weights(kind) for kind in ("eigenfaces", "cvae", "facet", "jpeg")),
)
