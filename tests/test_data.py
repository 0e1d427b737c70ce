"""Image sets: CelebA as it is distributed, our split, any folder, masks, and bad input."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facebench.data import celeba
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.facts import picture_facts
from facebench.data.imageset import ImageSet
from facebench.data.pose import face_size, yaw
from facebench.data.preparation import prepare
from facebench.data.preprocess import Preprocessing
from facebench.data.source import PictureSource
from facebench.engines import serial_engine
from facebench.errors import DataError
from facebench.hookspecs import MaskerSpec
from facebench.masks.masker import apply_masker
from facebench.operating_point import parse_points
from facebench.plan import Plan, plan_metrics, plan_points
from facebench.plugins import Registry, load_registry
from facebench.runner import execute
from facebench.store import read_run, write_run


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry("")


def prepared(registry: Registry, data: str, **changes: object) -> ImageSet:
    options = DataOptions(data, **{"mask": "annotation", **changes})  # type: ignore[arg-type]
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
    parts += [f"{number}.jpg 2" for number in test]
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


# Facts of the pictures: attributes, pose and face size.

FIVE = np.array([[60, 100], [110, 100], [90, 130], [70, 160], [104, 160]], np.float32)


def source_of(pictures: list[np.ndarray], **facts: object) -> PictureSource:
    ids = tuple(f"made:{index}" for index in range(len(pictures)))
    fingerprint = hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()
    return PictureSource("made", "all", ids, fingerprint, pictures.__getitem__, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("crop", ["full", "square", "centre-148"])
@pytest.mark.parametrize("size", [64, 148])
def test_landmarks_follow_the_picture_through_crop_and_resize(crop: str, size: int) -> None:
    pictures = []
    for height, width in ((218, 178), (200, 260)):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[98:105, 70:77] = 255  # a square around x 73, y 101
        pictures.append(picture)
    marks = np.full((2, 5, 2), (73, 101), np.float32)
    images = prepare(source_of(pictures, landmarks=marks), Preprocessing(crop, size))
    assert images.landmarks is not None
    for picture, place in zip(images.images, images.landmarks[:, 0], strict=True):
        weight = picture[..., 0].astype(float)
        rows, columns = np.mgrid[:size, :size]
        centre = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
        assert place == pytest.approx(centre, abs=0.1)  # a share of a pixel counts at its middle


def test_yaw_is_the_noses_offset_in_eye_distances_whatever_roll_and_size() -> None:
    assert yaw(FIVE[None])[0] == pytest.approx((90 - 85) / 50)
    mirrored = FIVE[[1, 0, 2, 4, 3]] * [-1, 1]
    assert yaw(mirrored[None].astype(np.float32))[0] == pytest.approx(-0.1)
    angle = np.radians(35)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert yaw((3 * FIVE @ turn.T + 20)[None].astype(np.float32))[0] == pytest.approx(0.1, abs=1e-5)
    assert np.isnan(yaw(np.zeros((1, 5, 2), np.float32))[0])


def test_face_size_is_the_distance_from_eyes_to_mouth() -> None:
    assert face_size(FIVE[None])[0] == pytest.approx(np.hypot(87 - 85, 60))
    assert face_size(2 * FIVE[None])[0] == pytest.approx(2 * np.hypot(87 - 85, 60))


def test_the_facts_of_a_set_stay_with_their_pictures() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(6)]
    marks = np.stack([FIVE + [i, 0] * (np.arange(5) == 2)[:, None] for i in range(6)]).astype(np.float32)
    male = np.array([True, False, True, True, False, False])
    source = source_of(pictures, attributes={"Male": male}, landmarks=marks, identities=tuple("aabbcc"))
    images = prepare(source, Preprocessing("full", 16))
    whole = picture_facts(images)
    assert whole is not None
    assert list(whole.columns) == ["picture", "position", "identity", "attribute Male", "yaw", "face size"]
    assert whole["yaw"].to_numpy() == pytest.approx(0.1 + np.arange(6) / 50, abs=1e-5)
    assert whole["attribute Male"].tolist() == male.tolist() and whole["identity"].tolist() == list("aabbcc")
    for part, rows in ((images.head(2), [0, 1]), *zip(images.cut(3), ([0, 1, 3, 4], [2, 5]), strict=True)):
        kept = picture_facts(part)
        assert kept is not None and kept["position"].tolist() == list(range(len(rows)))
        expected = whole.iloc[rows].drop(columns="position").reset_index(drop=True)
        assert kept.drop(columns="position").equals(expected)


def test_landmarks_of_another_count_give_no_pose_and_no_facts_no_table() -> None:
    pictures = [np.zeros((16, 16, 3), np.uint8)]
    many = np.zeros((1, 68, 2), np.float32)
    told = picture_facts(prepare(source_of(pictures, landmarks=many), Preprocessing("full", 16)))
    assert told is not None and list(told.columns) == ["picture", "position", "identity"]
    assert picture_facts(prepare(source_of(pictures), Preprocessing("full", 16))) is None


def test_facts_change_no_digest_and_no_shard(registry: Registry, tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / f"{index}.png", np.full((16, 16, 3), 40 * index, np.uint8))
    images = prepared(registry, f"folder:{tmp_path}", size=16)
    # As facebench gave it before sets had facts.
    assert images.digest == "db4c57d161670d4280bed2284660cb64ff228dd8e74c37991c0fa2a9c83b3975"
    known = replace(images, attributes={"Male": np.array([True, False, True])}, landmarks=np.stack([FIVE] * 3))
    assert known.digest == images.digest and known.head(2).digest == images.head(2).digest
    points = plan_points(registry, parse_points("png", registry), baseline=False)
    cached = []
    for chosen in (images, known):
        plan = Plan(registry, points, frozenset(points), chosen, plan_metrics(registry), "cpu", False, "test")
        run = execute(plan, serial_engine(), lambda *told: cached.append(told[2]))
    assert cached == [False, True]
    assert run.pictures is not None and run.pictures["attribute Male"].tolist() == [True, False, True]
    write_run(tmp_path / "out", run, "")
    read = read_run(tmp_path / "out").pictures
    assert read is not None and read.equals(run.pictures)


def test_real_faces_have_attributes_a_pose_and_level_eyes(test_faces: ImageSet) -> None:
    told = picture_facts(test_faces)
    if told is None or "yaw" not in told.columns:
        pytest.skip("no list_landmarks_align_celeba.txt here")
    assert len(told) == 1565 and abs(told["yaw"].mean()) < 0.05 and 0.1 < told["yaw"].std() < 0.25
    assert test_faces.landmarks is not None
    eyes, mouth = test_faces.landmarks[:, :2], test_faces.landmarks[:, 3:]
    assert (eyes[..., 1].max(axis=1) < mouth[..., 1].min(axis=1)).all()
    assert told["face size"].between(8, 40).all()
