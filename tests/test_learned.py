"""The shipped learned codecs: payloads that decode alike everywhere, and the paper's own accounting."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from facebench_codecs.weights import load_weights, shipped_weights

from facebench import Codec, CodecError, UnsupportedSize, WeightsError
from facebench.data.imageset import ImageSet
from facebench.operating_point import make_codec, parse_points
from facebench.plugins import load_registry

SHIPPED = (
    *("cvae-flat", "cvae-mask-flat", "cvae-paper", "dcgan-flat", "dcgan-mask-flat", "dcgan-paper", "dfcvae-flat"),
    *("gmmvae-flat", "nvae-flat", "vqvae-flat"),
    *(f"maskvae-h{number}" for number in range(1, 11)),
)


def make(text: str, size: tuple[int, int] = (64, 64)) -> Codec:
    registry = load_registry("")
    point = parse_points(text, registry)[0]
    return make_codec(registry.codecs[point.codec], point, size)


@pytest.mark.parametrize(
    "text", ["cvae", "dcgan", "cvae:weights=paper:step=1", "dcgan:weights=paper", "gmmvae", "maskvae", "nvae", "vqvae"]
)
def test_a_payload_decodes_alike_in_another_process_thread_count_and_batch(
    text: str, test_faces: ImageSet, tmp_path: Path
) -> None:
    codec = make(text)
    images = np.array(test_faces.images[:24])
    payloads = codec.encode_batch(images)
    np.save(tmp_path / "payloads.npy", np.frombuffer(b"".join(payloads), np.uint8))
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); from test_learned import make\n"
        "data = np.load(sys.argv[2] + '/payloads.npy').tobytes(); lengths = map(int, sys.argv[4].split(','))\n"
        "parts, at = [], 0\n"
        "for n in lengths: parts.append(data[at:at + n]); at += n\n"
        "codec = make(sys.argv[3])\n"
        "np.save(sys.argv[2] + '/symbols.npy', np.stack([codec._coding.decode(p) for p in parts]))\n"
        "np.save(sys.argv[2] + '/pictures.npy', np.stack([codec.decode(p) for p in parts]))\n"
    )
    lengths = ",".join(str(len(p)) for p in payloads)
    here = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", code, here, str(tmp_path), text, lengths],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert np.array_equal(np.load(tmp_path / "symbols.npy"), np.stack([codec.symbols(i) for i in images]))  # type: ignore[attr-defined]
    elsewhere, here_pictures = np.load(tmp_path / "pictures.npy"), codec.decode_batch(payloads)
    assert np.abs(elsewhere.astype(int) - np.stack(list(here_pictures)).astype(int)).max() <= 1


@pytest.mark.parametrize("text", ["cvae", "nvae", "vqvae"])
def test_a_batch_gives_the_same_bytes_as_its_pictures_alone(text: str, test_faces: ImageSet) -> None:
    codec = make(text)
    images = np.array(test_faces.images[:10])
    assert codec.encode_batch(images) == [codec.encode(image) for image in images]


@pytest.mark.parametrize(("text", "finer"), [("nvae:step=8", "nvae:step=2"), ("vqvae:stages=1", "vqvae:stages=6")])
def test_more_bytes_are_better_pictures(text: str, finer: str, test_faces: ImageSet) -> None:
    images = np.array(test_faces.images[:60])
    sizes, errors = [], []
    for codec in (make(text), make(finer)):
        payloads = codec.encode_batch(images)
        sizes.append(np.mean([len(payload) for payload in payloads]))
        errors.append(np.abs(np.stack(list(codec.decode_batch(payloads))) - images.astype(int)).mean())
    assert sizes[0] < 0.6 * sizes[1]
    assert errors[0] > 1.05 * errors[1]


def test_float32_latents_cost_2048_bytes_and_are_the_upper_bound_of_quality(test_faces: ImageSet) -> None:
    exact, coarse = make("cvae:latent=float32"), make("cvae:step=8")
    images = np.array(test_faces.images[:40])
    payloads = exact.encode_batch(images)
    assert {len(p) for p in payloads} == {2048}

    def error(codec: Codec) -> float:
        decoded = np.stack(list(codec.decode_batch(codec.encode_batch(images))))
        return float(np.abs(decoded / 255.0 - images / 255.0).mean())

    assert error(exact) < error(coarse)
    for payload in (bytes(2047), bytes(2049), b""):
        with pytest.raises(CodecError):
            exact.decode(payload)
    nan = np.full(512, np.nan, "<f4").tobytes()
    assert exact.decode(nan).shape == (64, 64, 3)


@pytest.mark.parametrize("text", ["cvae:step=2", "gmmvae:step=2", "nvae:step=2", "vqvae:stages=6"])
def test_payloads_cost_their_information(text: str, test_faces: ImageSet) -> None:
    codec = make(text)
    images = np.array(test_faces.images[:100])
    mean = np.mean([len(payload) for payload in codec.encode_batch(images)])
    assert mean <= 1.03 * codec.ideal_bits(images).mean() / 8 + 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_tell_how_they_were_made(name: str) -> None:
    import json

    card = json.loads(shipped_weights(f"{name}-64").with_suffix(".json").read_text())
    weights = load_weights(shipped_weights(f"{name}-64"), "autoencoder")
    assert card["sha256"] == weights.digest
    assert card["command"].startswith("facebench train")
    assert card["trained_on"]["split"] == "train"
    assert card["curve"]["steps"][-1] <= card["steps"]
    published = {"cvae": 443_491, "dcgan": 973_443}.get(name.partition("-")[0])
    assert published is None or card["parameters"] == pytest.approx(published, rel=0.01)
    if name.endswith("paper"):
        assert card["steps"] == {"cvae": 10, "dcgan": 30}[name.partition("-")[0]] * 113


def test_all_shipped_weights_stay_below_80_mb_in_the_wheel() -> None:
    folder = shipped_weights("x").parent
    assert sum(len(zlib.compress(file.read_bytes())) for file in folder.iterdir()) < 78e6  # a wheel is a zip file


def test_a_wrong_name_or_size_says_what_to_do() -> None:
    with pytest.raises(WeightsError, match="use flat, paper or the path of"):
        make("cvae:weights=papre")
    with pytest.raises(WeightsError, match="facebench train dcgan --recipe discriminator-slow"):
        make("dcgan:weights=discriminator-slow")
    with pytest.raises(UnsupportedSize, match="facebench train cvae --size 32"):
        make("cvae", (32, 32))


def test_decoder_weights_are_counted_without_the_encoder() -> None:
    codec = make("cvae")
    weights = load_weights(shipped_weights("cvae-flat-64"), "autoencoder")
    decoder = sum(t.nbytes for n, t in weights.tensors.items() if not n.startswith("encoder."))
    assert codec.weights_bytes == decoder
    assert codec.weights_digest == weights.digest
