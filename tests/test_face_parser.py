"""The face parser: what it finds, that it is the default where there is no annotation, and its weights."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from facebench.cli import cli
from facebench.data.choose import DataOptions, choose_source, prepare_chosen, recipe_of
from facebench.data.imageset import ImageSet
from facebench.data.rows import prepare_rows, rows_of
from facebench.errors import DataError, WeightsError
from facebench.masks import parser
from facebench.masks.masker import apply_masker
from facebench.masks.parser.masker import UNSURE, FaceMasker, face_masks, shipped
from facebench.masks.parser.training import main as train_parser
from facebench.masks.parser.training import part_of, read_pairs
from facebench.masks.parser.weights import SHIPPED, card_of
from facebench.masks.spec import WeightedMaskerSpec, described, masker_named
from facebench.plugins import Registry, load_registry
from facebench.verification.data import published_options

CARD = json.loads(card_of(SHIPPED).read_text())
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def registry(_own_cache: None) -> Registry:
    return load_registry("")


def prepared(registry: Registry, data: str, **changes: object) -> ImageSet:
    options = DataOptions(data, **changes)  # type: ignore[arg-type]
    return prepare_chosen(choose_source(options, registry), options, registry)


@pytest.fixture(scope="module")
def samples(registry: Registry) -> ImageSet:
    return prepared(registry, "samples")


@pytest.fixture
def unannotated(samples: ImageSet, tmp_path: Path) -> Path:
    """A folder of twelve samples without their masks."""
    (tmp_path / "faces").mkdir()
    for index, picture in enumerate(samples.images[:12]):
        cv2.imwrite(str(tmp_path / "faces" / f"{index:02}.png"), picture[..., ::-1])
    return tmp_path / "faces"


@pytest.fixture(scope="session")
def labelled_dir() -> Path:
    """The folder of labelled faces (FACEBENCH_LABELLED, or shared/masks-lfw beside the repository)."""
    beside = Path(__file__).parents[2] / "shared" / "masks-lfw"
    chosen = Path(os.environ.get("FACEBENCH_LABELLED") or beside)
    if not (chosen / "lfw_parts_aligned.zip").is_file():
        pytest.skip("no labelled faces here: set FACEBENCH_LABELLED to the folder with lfw_parts_aligned.zip")
    return chosen


def ious(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    both = np.logical_and(found, wanted).reshape(len(found), -1).sum(1)
    return np.asarray(both / np.logical_or(found, wanted).reshape(len(found), -1).sum(1))


# What it finds.


def test_masks_of_people_held_out_overlap_their_labels_as_the_card_says(labelled_dir: Path) -> None:
    pairs = read_pairs(labelled_dir, "test")
    crops = pairs.pictures.numpy()[:, :, 35:183, 15:163].transpose(0, 2, 3, 1)
    labels = np.isin(pairs.classes.numpy()[:, 35:183, 15:163], (1, 2)).astype(np.float64)
    found = face_masks(np.stack([cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA) for crop in crops]))
    wanted = np.stack([cv2.resize(each, (64, 64), interpolation=cv2.INTER_AREA) for each in labels]) >= 0.5
    by_person: dict[str, list[float]] = {}
    for name, overlap in zip(pairs.names, ious(found, wanted), strict=True):
        assert part_of(name) == "test"
        by_person.setdefault(name[:-5], []).append(float(overlap))
    mean = np.mean([np.mean(values) for values in by_person.values()])
    assert len(by_person) == CARD["test"]["people"]
    assert mean == pytest.approx(CARD["test"]["mask_iou"], abs=1e-3)
    assert mean >= 0.94


def test_masks_of_the_samples_are_like_those_that_came_with_them(samples: ImageSet) -> None:
    assert samples.masks is not None
    assert ious(face_masks(np.array(samples.images[::4])), samples.masks[::4]).mean() > 0.85


def test_masks_of_real_faces_are_like_those_of_their_annotation(test_faces: ImageSet) -> None:
    assert test_faces.masks is not None
    pictures = np.array(test_faces.images[::16])
    assert ious(face_masks(pictures), test_faces.masks[::16]).mean() > 0.85


@pytest.mark.parametrize("size", [(3, 5), (16, 16), (64, 64), (90, 61), (40, 200), (300, 300)])
def test_pictures_of_any_size_have_the_same_face(samples: ImageSet, size: tuple[int, int]) -> None:
    pictures = np.array(samples.images[:6])
    resized = np.stack([cv2.resize(p, size[::-1], interpolation=cv2.INTER_AREA) for p in pictures]).astype(np.uint8)
    found = face_masks(resized)
    assert found.shape == (6, *size) and found.dtype == np.bool_
    same = [
        cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_AREA) for mask in face_masks(pictures)
    ]
    assert ious(found, np.stack(same) > 0).mean() > (0.9 if min(size) > 16 else 0.7)


def test_no_pictures_have_no_masks() -> None:
    assert face_masks(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 64, 64)


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((2, 0, 64, 3), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 64, 64), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
    ],
)
def test_other_arrays_are_refused(pictures: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"must be \(N, H, W, 3\) uint8, not"):
        face_masks(pictures)  # type: ignore[arg-type]


# A mask depends on nothing but its picture.


@pytest.fixture(scope="module")
def mixed(samples: ImageSet) -> Pixels:
    """Faces, noise, and pictures of one colour."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (6, 64, 64, 3), np.uint8)
    flat = np.broadcast_to(rng.integers(0, 256, (2, 1, 1, 3), np.uint8), (2, 64, 64, 3))
    return np.concatenate([samples.images[:28], noise, flat])


def test_a_mask_does_not_depend_on_the_pictures_beside_it(mixed: Pixels) -> None:
    whole = face_masks(mixed)
    assert np.array_equal(whole, np.concatenate([face_masks(picture[None]) for picture in mixed]))
    assert np.array_equal(whole[::-1], face_masks(mixed[::-1]))
    assert np.array_equal(whole[5:], face_masks(mixed[5:]))


def test_a_mask_does_not_depend_on_the_number_of_threads(mixed: Pixels) -> None:
    before = torch.get_num_threads()
    masks = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            masks.append(face_masks(mixed))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(masks[0], masks[1])


def test_what_float32_cannot_decide_is_decided_in_float64(mixed: Pixels) -> None:
    exact = shipped().scores(mixed, exact=True)
    assert exact.dtype == np.float64
    assert np.abs(shipped().scores(mixed) - exact).max() < UNSURE / 5
    assert np.array_equal(face_masks(mixed), exact > 0)


def test_making_masks_leaves_torch_s_random_numbers_alone(mixed: Pixels) -> None:
    torch.manual_seed(3)
    first = torch.rand(4)
    torch.manual_seed(3)
    FaceMasker(SHIPPED)(mixed[:2])
    assert torch.equal(torch.rand(4), first)


# The default masker.


def test_a_set_without_annotation_gets_the_parser_s_masks(registry: Registry, unannotated: Path) -> None:
    images = prepared(registry, f"folder:{unannotated}")
    assert images.masks is not None and images.masks_file is not None
    assert np.array_equal(images.masks, face_masks(np.array(images.images)))
    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert images.masker == f"faceparser {parser.VERSION} (weights {digest[:12]})"
    assert images.digest == prepared(registry, f"folder:{unannotated}", mask="faceparser").digest


def test_a_set_with_annotation_keeps_its_own(registry: Registry, unannotated: Path) -> None:
    (unannotated / "face_masks").mkdir()
    for index in range(12):
        cv2.imwrite(str(unannotated / "face_masks" / f"{index:02}.png"), np.full((64, 64), 255, np.uint8))
    images = prepared(registry, f"folder:{unannotated}")
    assert images.masker == "annotation" and images.masks is not None and images.masks.all()
    assert images.digest == prepared(registry, f"folder:{unannotated}", mask="annotation").digest
    made = prepared(registry, f"folder:{unannotated}", mask="faceparser")
    assert made.masker.startswith("faceparser") and made.masks is not None and not made.masks.all()


def test_masks_can_still_be_limited_to_annotation_or_switched_off(registry: Registry, unannotated: Path) -> None:
    annotated = prepared(registry, f"folder:{unannotated}", mask="annotation")
    assert annotated.masks is None and "no face_masks.zip" in annotated.no_mask_reason
    off = prepared(registry, f"folder:{unannotated}", mask="none")
    assert off.masks is None and "--mask none" in off.no_mask_reason
    assert annotated.images_file == off.images_file == prepared(registry, f"folder:{unannotated}").images_file


def test_masks_are_made_once(registry: Registry, unannotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(registry, f"folder:{unannotated}")

    def never(pictures: Pixels) -> NDArray[np.bool_]:
        raise AssertionError

    monkeypatch.setattr("facebench.masks.parser.masker.face_masks", never)
    again = prepared(registry, f"folder:{unannotated}")
    assert again.digest == first.digest and again.masks_file == first.masks_file


def test_a_worker_makes_the_same_masks_of_its_rows(
    registry: Registry, unannotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DataOptions(f"folder:{unannotated}")
    whole = prepared(registry, f"folder:{unannotated}")
    rows = rows_of(recipe_of(choose_source(options, registry), options, registry), whole, 3, 8)
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "worker"))
    images = prepare_rows(pickle.loads(pickle.dumps(rows)))
    assert np.array_equal(images.hashes, whole.hashes[3:8])
    assert whole.masks is not None and images.masks is not None and np.array_equal(images.masks, whole.masks[3:8])


def test_other_weights_make_another_set(
    registry: Registry, unannotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_weights").mkdir()
    for name in ("__init__.py", "a.bin", "b.bin"):
        (tmp_path / "two_weights" / name).write_text("" if name == "__init__.py" else name)
    monkeypatch.syspath_prepend(tmp_path)
    images = prepared(registry, f"folder:{unannotated}", mask="annotation")
    target = "facebench.masks.parser.masker:face_masks"
    specs = [WeightedMaskerSpec("mine", target, weights=f"two_weights:{name}") for name in ("a.bin", "b.bin")]
    a, b = (apply_masker(images, spec) for spec in specs)
    assert a.digest != b.digest and a.masks_file != b.masks_file and a.masker != b.masker
    assert np.array_equal(np.asarray(a.masks), np.asarray(b.masks))
    with pytest.raises(WeightsError, match="lacks its weights"):
        apply_masker(images, WeightedMaskerSpec("mine", target, weights="two_weights:c.bin"))


def test_a_run_is_opened_again_with_the_masks_that_it_had(registry: Registry, unannotated: Path) -> None:
    images = prepared(registry, f"folder:{unannotated}")
    spec = registry.masker("faceparser")
    entry = {
        "name": "folder",
        "split": "all",
        "pictures": 12,
        "preprocessing": {"crop": "square", "size": 64, "filter": "area"},
    }
    for masker, chosen in (
        (images.masker, "faceparser"),
        ("none", "none"),
        (None, "none"),
        ("annotation", "annotation"),
        ("a masker 12", "a masker"),
    ):
        options = published_options({**entry, "masker": masker}, str(unannotated), registry)
        assert options.mask == chosen
    assert masker_named(described(spec)) == spec.name


def test_a_codec_that_trains_without_masks_has_none_made_and_one_with_them_gets_them(
    unannotated: Path, tmp_path: Path, samples: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEBENCH_CACHE", str(tmp_path / "cache"))
    for index, picture in enumerate(samples.images[12:160], 12):
        cv2.imwrite(str(unannotated / f"{index:03}.png"), picture[..., ::-1])
    given = ["--data", f"folder:{unannotated}", "--device", "cpu", "--quiet", "--out", str(tmp_path / "w.safetensors")]
    done = CliRunner().invoke(cli, ["train", "eigenfaces", "--size", "16", *given])
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "cache").rglob("masks-*.npy"))
    (tmp_path / "w.safetensors").unlink()
    done = CliRunner().invoke(cli, ["train", "cvae-mask", "--size", "16", "--epochs", "1", *given])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "cache").rglob("masks-*.npy"))) == 1


# Its weights.


def test_the_weights_are_small_and_their_card_says_how_they_were_made() -> None:
    assert SHIPPED.stat().st_size < 4e6
    assert CARD["sha256"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert CARD["version"] == parser.VERSION
    assert {"background", "face", "hair"} <= set(CARD["test"]["class_iou"])
    assert {"command", "seed", "steps", "data_sha256", "split", "curve"} <= set(CARD)


def copied(folder: Path) -> Path:
    shutil.copy(SHIPPED, folder / "weights.safetensors")
    shutil.copy(card_of(SHIPPED), folder / "weights.json")
    return folder / "weights.safetensors"


def with_own_digest(path: Path) -> None:
    """Make the card fit the file, whatever is in it."""
    card = json.loads(card_of(path).read_text())
    card_of(path).write_text(json.dumps({**card, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_with_its_digest(path: Path) -> None:
    cut(path)
    with_own_digest(path)


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def in_float32(path: Path) -> None:
    save_file({name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}, path)
    with_own_digest(path)


def of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file({**tensors, name: np.zeros((*tensors[name].shape, 2), np.float16)}, path)
    with_own_digest(path)


def lacking_one(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    with_own_digest(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "No such file"),
        (lambda path: card_of(path).unlink(), "No such file"),
        (lambda path: card_of(path).write_text("{}"), "kind"),
        (cut, "SHA-256 is not the one in weights.json"),
        (one_bit, "SHA-256 is not the one in weights.json"),
        (cut_with_its_digest, "damaged"),
        (in_float32, "is float32, not float16"),
        (of_another_shape, "another network"),
        (lacking_one, "another network"),
    ],
)
def test_damaged_weights_are_refused(change: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    path = copied(tmp_path)
    FaceMasker(path)
    change(path)
    with pytest.raises(WeightsError, match=said):
        FaceMasker(path)


def test_naming_the_masker_does_not_import_torch() -> None:
    code = (
        "import sys; from facebench.masks.parser import masker; from facebench.masks.spec import described;"
        "from facebench.plugins import load_registry; described(load_registry('').masker('faceparser'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Its training.


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of sixty labelled pairs: a bright ellipse with dark hair before noise."""
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(tmp_path / "lfw_parts_aligned.zip", "w") as archive:
        for index in range(60):
            picture = rng.integers(0, 60, (218, 178, 3), np.uint8)
            labels, mask = np.zeros((218, 178), np.uint8), np.zeros((218, 178), np.uint8)
            centre = (89 + int(rng.integers(-9, 9)), 110)
            cv2.ellipse(labels, centre, (60, 80), 0, 180, 360, 2, -1)
            cv2.ellipse(labels, centre, (45, 60), 0, 0, 360, 1, -1)
            mask[labels > 0] = 255
            picture[labels == 1] = (120, 160, 220)
            picture[labels == 2] = (90, 30, 40)
            name = f"Some_Body{index}_0001"
            for member, image in ((f"images/{name}.jpg", picture), (f"labels/{name}.png", labels)):
                archive.writestr(member, cv2.imencode(Path(member).suffix, image)[1].tobytes())
            archive.writestr(f"masks/{name}.png", cv2.imencode(".png", mask)[1].tobytes())
    return tmp_path


def trained(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
    train_parser()


def test_the_training_command_writes_weights_that_load_and_a_card(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = labelled / "new.safetensors"
    trained(monkeypatch, labelled, "--steps", "3", "--seed", "4", "--out", out)
    card = json.loads(card_of(out).read_text())
    archive = (labelled / "lfw_parts_aligned.zip").read_bytes()
    assert card["seed"] == 4 and card["data_sha256"] == hashlib.sha256(archive).hexdigest()
    assert card["test"]["people"] == len(read_pairs(labelled, "test")) > 0
    assert card["command"].startswith("python -m facebench.masks.parser.training ")
    masks = FaceMasker(out)(np.zeros((2, 64, 64, 3), np.uint8))
    assert masks.shape == (2, 64, 64)


def test_people_are_in_one_part_each_and_the_parts_are_all_there_are(labelled: Path) -> None:
    parts = [read_pairs(labelled, part).names for part in ("train", "valid", "test")]
    assert sorted(name for part in parts for name in part) == sorted(read_pairs(labelled).names)
    assert part_of("Ann_Lee_0001") == part_of("Ann_Lee_0012")


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_folder_without_labelled_faces_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "lfw_parts_aligned.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"lfw_parts_aligned\.zip"):
        read_pairs(tmp_path)
    with pytest.raises(SystemExit, match=r"lfw_parts_aligned\.zip"):
        trained(monkeypatch, tmp_path)


def test_weights_are_written_to_a_safetensors_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        trained(monkeypatch, tmp_path, "--out", "weights.pt")
