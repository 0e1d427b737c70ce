"""Image sets: CelebA as it is distributed, our split, any folder, masks, and bad input."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from facebench.data import celeba
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.data.preprocess import Preprocessing
from facebench.errors import DataError
from facebench.hookspecs import MaskerSpec
from facebench.masks.masker import apply_masker
from facebench.plugins import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


def prepared(registry: Registry, data: str, **changes: object) -> ImageSet:
    options = DataOptions(data, **changes)  # type: ignore[arg-type]
    return prepare_chosen(choose_source(options, registry), options, registry)


def jpeg(value: int, width: int = 178, height: int = 218) -> bytes:
    picture = np.full((height, width, 3), value % 256, np.uint8)
    picture[:, : width // 2] = 0
    return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.fixture(scope="module")
def small_celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CelebA's layout with our whole test split and six pictures of the official partition."""
    root = tmp_path_factory.mktemp("celeba")
    test = [entry.number for entry in celeba.facebench_split() if entry.part == "test"]
    others = [f"{number:06}" for number in range(1, 7)]
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        for index, number in enumerate(others + test):
            archive.writestr(f"img_align_celeba/{number}.jpg", jpeg(index))
    parts = [f"{number}.jpg {index // 2}" for index, number in enumerate(others)]
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (root / "identity_CelebA.txt").write_text("\n".join(f"{number}.jpg {int(number) + 100}" for number in others))
    return root


def test_our_split_has_the_published_sizes_and_no_person_in_two_parts() -> None:
    entries = celeba.facebench_split()
    sizes = {part: sum(e.part == part for e in entries) for part in celeba.PARTS}
    assert sizes == {"train": 11328, "valid": 1830, "test": 1565}
    people = {part: {e.identity for e in entries if e.part == part} for part in celeba.PARTS}
    assert not people["train"] & people["test"]
    assert not people["train"] & people["valid"]
    assert not people["valid"] & people["test"]


def test_celeba_defaults_to_our_test_split_and_centre_crop(small_celeba: Path, registry: Registry) -> None:
    images = prepared(registry, str(small_celeba))
    assert (images.name, images.split, len(images)) == ("celeba", "test", 1565)
    assert images.preprocessing == Preprocessing("centre-148", 64, "area")
    assert images.identities is not None and len(images.identities) == 1565


def test_official_splits_follow_the_list_file(small_celeba: Path, registry: Registry) -> None:
    for part, numbers in (("train", ("000001", "000002")), ("valid", ("000003", "000004"))):
        images = prepared(registry, str(small_celeba), split=f"official-{part}")
        assert images.ids == tuple(f"celeba:{number}" for number in numbers)
        assert images.identities == tuple(f"celeba:{int(number) + 100}" for number in numbers)


def test_an_unpacked_folder_gives_the_same_set_as_the_zip(
    small_celeba: Path, registry: Registry, tmp_path: Path
) -> None:
    with zipfile.ZipFile(small_celeba / "img_align_celeba.zip") as archive:
        archive.extractall(tmp_path)
    assert prepared(registry, str(tmp_path)).digest == prepared(registry, str(small_celeba)).digest


def test_attributes_and_landmarks_are_read_where_they_are(
    small_celeba: Path, registry: Registry, tmp_path: Path
) -> None:
    plain = celeba.open_source(small_celeba, "official-train")
    assert plain.attributes == {} and plain.landmarks is None
    (tmp_path / "img_align_celeba.zip").symlink_to(small_celeba / "img_align_celeba.zip")
    (tmp_path / "list_eval_partition.txt").symlink_to(small_celeba / "list_eval_partition.txt")
    (tmp_path / "list_attr_celeba.txt").write_text("2\nMale Young\n000001.jpg  1 -1\n000002.jpg -1 -1\n")
    (tmp_path / "list_landmarks_align_celeba.txt").write_text("2\nx1 y1\n000001.jpg 3 4\n000002.jpg 5 6\n")
    source = celeba.open_source(tmp_path, "official-train")
    assert list(source.attributes) == ["Male", "Young"]
    assert source.attributes["Male"].tolist() == [True, False]
    assert source.landmarks is not None and source.landmarks.tolist() == [[[3, 4]], [[5, 6]]]
    (tmp_path / "list_attr_celeba.txt").write_text("1\nMale Young\n000001.jpg 1\n")
    with pytest.raises(DataError, match="line 3"):
        celeba.open_source(tmp_path, "official-train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "img_align_celeba.zip").write_bytes(b"no zip"), "not a readable zip"),
        (lambda root: (root / "img_align_celeba.zip").unlink(), "no CelebA pictures"),
        (lambda root: rewrite(root, drop="182638.jpg"), "lacks"),
        (lambda root: rewrite(root, spoil=True), "not a readable picture"),
    ],
)
def test_bad_celeba_is_one_line_that_names_it(
    small_celeba: Path, registry: Registry, tmp_path: Path, damage, message: str
) -> None:
    (tmp_path / "img_align_celeba.zip").write_bytes((small_celeba / "img_align_celeba.zip").read_bytes())
    damage(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        prepared(registry, f"celeba:{tmp_path}")
    assert "\n" not in str(caught.value)


def rewrite(root: Path, drop: str = "", spoil: bool = False) -> None:
    """Write the zip again without its first test picture, or with a picture that is none."""
    archive = root / "img_align_celeba.zip"
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    first = next(e.number for e in celeba.facebench_split() if e.part == "test")
    name = f"img_align_celeba/{first}.jpg"
    if spoil:
        members[name] = b"not a picture"
    else:
        del members[name]
    with zipfile.ZipFile(archive, "w") as new:
        for member, data in members.items():
            new.writestr(member, data)


def test_unknown_split_data_crop_and_filter_say_what_there_is(small_celeba: Path, registry: Registry) -> None:
    with pytest.raises(DataError, match="did you mean 'test'"):
        prepared(registry, str(small_celeba), split="tset")
    with pytest.raises(DataError, match="no file or folder"):
        prepared(registry, "/nowhere/at/all")
    with pytest.raises(DataError, match="crop"):
        prepared(registry, str(small_celeba), crop="middle")
    with pytest.raises(DataError, match="filter"):
        prepared(registry, str(small_celeba), filter="nearest")
    with pytest.raises(DataError, match="out of range"):
        prepared(registry, str(small_celeba), size=100_000)


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def test_masks_are_read_from_a_zip_a_folder_and_celebamask_hq(registry: Registry, tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 128, np.uint8)
    upper, lower = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    upper[:32], lower[32:48] = 255, 255
    face = np.maximum(upper, lower)
    for kind in ("zip", "folder"):
        write_picture(tmp_path / kind / "7.png", picture)
    write_picture(tmp_path / "folder" / "face_masks" / "7.png", face)
    with zipfile.ZipFile(tmp_path / "zip" / "face_masks.zip", "w") as archive:
        archive.writestr("face_masks/7.png", cv2.imencode(".png", face)[1].tobytes())
    hq = tmp_path / "hq" / "CelebAMask-HQ-mask-anno" / "0"
    write_picture(tmp_path / "hq" / "CelebA-HQ-img" / "7.png", picture)
    write_picture(hq / "00007_hair.png", upper)
    write_picture(hq / "00007_skin.png", lower)
    write_picture(hq / "00007_neck.png", np.full((64, 64), 255, np.uint8))
    expected = face > 0
    for folder in ("zip", "folder", "hq/CelebA-HQ-img"):
        masks = prepared(registry, f"folder:{tmp_path / folder}").masks
        assert masks is not None and np.array_equal(masks[0], expected)


def test_a_set_without_masks_says_why(registry: Registry, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    images = prepared(registry, f"folder:{tmp_path}", size=16)
    assert images.masks is None
    assert "face_masks" in images.no_mask_reason
    (tmp_path / "face_masks").mkdir()
    write_picture(tmp_path / "b.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match="no mask"):
        prepared(registry, f"folder:{tmp_path}", size=16)


def test_real_masks_cover_the_share_of_the_frame_that_their_readme_states(test_faces: ImageSet) -> None:
    assert test_faces.masks is not None
    assert 0.62 < test_faces.masks.mean() < 0.72


def test_a_masker_plugin_makes_masks_that_are_part_of_the_digest(registry: Registry, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8))
    images = prepared(registry, f"folder:{tmp_path}", size=16)
    masked = apply_masker(images, MaskerSpec("left", "test_data:left_half"))
    assert masked.masks is not None and masked.masks[0, :, :8].all() and not masked.masks[0, :, 8:].any()
    assert masked.digest != images.digest
    with pytest.raises(DataError, match="bool array"):
        apply_masker(images, MaskerSpec("bad", "test_data:not_bool"))


def left_half(images: np.ndarray) -> np.ndarray:
    masks = np.zeros(images.shape[:3], np.bool_)
    masks[:, :, : images.shape[2] // 2] = True
    return masks


def not_bool(images: np.ndarray) -> np.ndarray:
    return np.zeros(images.shape[:3])


def test_full_crop_squashes_and_centre_crop_keeps_the_centre() -> None:
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[35:183, 15:163] = 255
    assert (Preprocessing("centre-148", 148).picture(picture) == 255).all()
    squashed = Preprocessing("full", 64).picture(picture)
    assert squashed.shape == (64, 64, 3) and squashed[0, 0].sum() == 0
    with pytest.raises(DataError, match="too small"):
        Preprocessing("centre-300", 64).picture(picture)
