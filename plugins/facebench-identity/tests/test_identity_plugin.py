"""The metrics of facebench-identity: embeddings are dlib's, rates as defined, any picture is scored, on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

dlib = pytest.importorskip("dlib", reason="the identity metrics need dlib: pip install plugins/facebench-identity")
pytest.importorskip("facebench_identity", reason="not installed: pip install plugins/facebench-identity")

from facebench_identity.alignment import face_chip, face_rectangles
from facebench_identity.distances import distances
from facebench_identity.embedding import embeddings
from facebench_identity.landmarks import score as landmark_score
from facebench_identity.models import LANDMARKS_5, LANDMARKS_68, NETWORK, model_file
from facebench_identity.network import describe_faces
from facebench_identity.retrieval import misses
from facebench_identity.score import score
from facebench_identity.verification import false_accept_threshold, rejections

from facebench import WholeSet
from facebench.data.choose import DataOptions, choose_source, prepare_chosen
from facebench.data.imageset import ImageSet
from facebench.plan import plan_metrics
from facebench.plugins import load_registry

COLUMNS = ["ID-distance", "ID-error", "ID-FRR", "ID-FRR-other", "ID-miss", "ID-miss-other"]
COUNT = 4


def image_set(data: str, count: int, split: str | None = None) -> ImageSet:
    registry = load_registry("")
    options = DataOptions(data, split, mask="none", limit=count)
    return prepare_chosen(choose_source(options, registry), options, registry)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    """Synthetic faces, (COUNT, 64, 64, 3)."""
    return np.array(image_set("samples", COUNT).images)


@pytest.fixture(scope="module")
def people() -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Real faces and whose they are: the two persons with most pictures among the first 100 validation pictures."""
    repository = Path(__file__).parents[3]
    folder = Path(os.environ.get("FACEBENCH_DATA") or repository.parent / "shared" / "celeba")
    if not (folder / "img_align_celeba.zip").is_file():
        pytest.skip("no CelebA here: set FACEBENCH_DATA to the folder with img_align_celeba.zip")
    images = image_set(f"celeba:{folder}", 100, "valid")
    assert images.identities is not None
    names, counts = np.unique(images.identities, return_counts=True)
    chosen = np.isin(images.identities, names[np.argsort(counts)[-2:]])
    return images.images[chosen], tuple(np.array(images.identities)[chosen])


def whole_set(images: NDArray[np.uint8], name: str, identities: tuple[str, ...] | None = None) -> WholeSet:
    return WholeSet(images, name, identities, np.arange(len(images)))


def columns(
    originals: NDArray[np.uint8], decoded: NDArray[np.uint8], whole: WholeSet
) -> dict[str, NDArray[np.float64]]:
    return {name: values[0] for name, values in score(originals, decoded, None, whole).items()}


def blurred(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def test_the_plugin_brings_two_families_that_have_to_be_asked_for() -> None:
    registry = load_registry("identity")
    assert registry.problems == []
    assert [k for k, owner in registry.origins.items() if owner.startswith("facebench-identity ")] == [
        "metric identity",
        "metric landmarks",
    ]
    assert not {"identity", "landmarks"} & {metric.name for metric in plan_metrics(registry)}
    identity, landmarks = plan_metrics(registry, "identity,landmarks")
    assert [column.name for column in identity.columns] == COLUMNS
    assert [column.name for column in landmarks.columns] == ["Landmark-NME"]


def test_the_network_is_dlibs_own(faces: NDArray[np.uint8]) -> None:
    """Also on what is no face, on any number of chips, and on views that own no memory."""
    rng = np.random.default_rng(1)
    rough = cv2.resize(rng.integers(0, 256, (10, 10, 3), np.uint8), (150, 150), interpolation=cv2.INTER_CUBIC)
    chips = [rough, np.zeros_like(rough), np.full_like(rough, 255), rough[::-1]]
    dlibs = dlib.face_recognition_model_v1(str(model_file(NETWORK)))
    theirs = np.array([dlibs.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips])
    np.testing.assert_allclose(describe_faces(chips), theirs, atol=1e-5)
    np.testing.assert_allclose(describe_faces(chips * 5), np.tile(theirs, (5, 1)), atol=1e-5)
    assert describe_faces([]).shape == (0, 128)


def test_embeddings_are_dlibs_own_of_the_whole_picture(faces: NDArray[np.uint8]) -> None:
    """dlib cuts the chip by itself where it is given the picture and the landmarks: another path to the same."""
    ours = embeddings(faces, faces, face_rectangles(faces))
    network = dlib.face_recognition_model_v1(str(model_file(NETWORK)))
    landmarker = dlib.shape_predictor(str(model_file(LANDMARKS_5)))
    for face, found in zip(faces[:3], ours[:3], strict=True):
        picture = cv2.resize(face, (256, 256), interpolation=cv2.INTER_CUBIC)
        rectangles, scores, _ = dlib.get_frontal_face_detector().run(picture, 0, -0.5)
        rectangle = rectangles[int(np.argmax(scores))] if rectangles else dlib.rectangle(45, 78, 211, 244)
        theirs = network.compute_face_descriptor(picture, landmarker(picture, rectangle))
        np.testing.assert_allclose(found, theirs, atol=1e-4)


def test_a_picture_without_a_face_is_cut_at_the_fixed_rectangle() -> None:
    flat = np.full((1, 64, 64, 3), 128, np.uint8)
    (rectangle,) = face_rectangles(flat)
    assert rectangle.tolist() == [-1, -1, -1, -1]
    np.testing.assert_array_equal(
        face_chip(flat[0], flat[0], rectangle), face_chip(flat[0], flat[0], np.array([45, 78, 211, 244]))
    )


def test_a_perfect_copy_is_the_same_person_at_distance_0(faces: NDArray[np.uint8]) -> None:
    names = tuple(f"person {index // 2}" for index in range(COUNT))
    found = columns(faces, faces, whole_set(faces, "copy", names))
    assert list(found) == COLUMNS
    np.testing.assert_allclose(found["ID-distance"], 0, atol=1e-6)
    assert found["ID-error"].tolist() == found["ID-miss"].tolist() == [0.0] * COUNT


def test_the_worse_a_picture_the_farther_it_is(faces: NDArray[np.uint8]) -> None:
    whole = whole_set(faces, "blur")
    slight, strong = (columns(faces, blurred(faces, sigma), whole)["ID-distance"].mean() for sigma in (0.7, 6))
    assert 0 < slight < 0.5 < strong


def test_pictures_without_a_face_are_scored_too(faces: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, faces[:2].shape, np.uint8)
    flat = np.full_like(noise, 128)
    found = columns(noise, flat, whole_set(noise, "noise"))
    assert np.isfinite(found["ID-distance"]).all()
    assert found["ID-error"].tolist() == (found["ID-distance"] >= 0.6).astype(float).tolist()


def test_masks_change_nothing_and_unknown_identities_leave_no_retrieval(faces: NDArray[np.uint8]) -> None:
    few = faces[:2]
    whole = whole_set(few, "masks")
    with_masks = score(few, few[::-1].copy(), np.ones((2, 64, 64), bool), whole)
    without = score(few, few[::-1].copy(), None, whole)
    for name in COLUMNS:
        assert with_masks[name].shape == (1, 2) and with_masks[name].dtype == np.float64
        np.testing.assert_array_equal(with_masks[name], without[name])
    assert np.isnan(without["ID-miss"]).all() and np.isnan(without["ID-miss-other"]).all()


def test_misses_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    gallery, found = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    identities = (*rng.choice(["", *"abcdefgh"], 58), "alone", "alone too")
    rows = np.sort(rng.permutation(60)[:20])
    rows[-1] = 59
    miss, miss_other = misses(distances(found, gallery), identities, rows)
    for index, row in enumerate(rows):
        others = [j for j in range(60) if identities[j]]
        order = sorted(others, key=lambda j: sum((gallery[j] - found[index]) ** 2))
        rest = [j for j in order if j != row]
        if not identities[row]:
            assert np.isnan(miss[index]) and np.isnan(miss_other[index])
            continue
        assert miss[index] == (identities[order[0]] != identities[row])
        if identities.count(identities[row]) > 1:
            assert miss_other[index] == (identities[rest[0]] != identities[row])
        else:
            assert np.isnan(miss_other[index])
    assert {0.0, 1.0} <= set(miss[~np.isnan(miss)])


def test_the_threshold_accepts_1_percent_of_pairs_of_two_persons() -> None:
    rng = np.random.default_rng(4)
    gallery = rng.normal(size=(300, 3)) / 4
    identities = tuple(rng.choice(["", *"abcdefgh"], 300))
    apart = np.array(
        [
            np.linalg.norm(gallery[i] - gallery[j])
            for i in range(300)
            for j in range(i)
            if identities[i] and identities[j] and identities[i] != identities[j]
        ]
    )
    threshold = false_accept_threshold(gallery, identities)
    assert np.mean(apart < threshold) <= 0.01 < np.mean(apart < threshold + 0.0002)
    assert np.isnan(false_accept_threshold(gallery[:30], identities[:30]))  # too few pairs to tell
    assert np.isnan(false_accept_threshold(gallery, ("alone",) * 300))


def test_rejections_are_at_or_beyond_the_threshold() -> None:
    apart = np.array([[0.5, 0.7, 0.6, 0.1], [0.2, 0.61, 0.9, 0.1], [0.0, 0.0, 0.0, 0.9]])
    own, others = rejections(apart, 0.6, ("a", "a", "a", "b"), np.array([0, 1, 3]))
    assert own.tolist() == [0, 1, 1]
    assert others[:2].tolist() == [1, 0.5] and np.isnan(others[2])
    own, others = rejections(apart, 0.6, ("", "", "", "b"), np.array([0, 1, 3]))
    assert np.isnan(own[:2]).all() and own[2] == 1  # the person of the first two is unknown
    assert np.isnan(others).all()
    for nothing in (rejections(apart, 0.6, None, np.arange(3)), rejections(apart, np.nan, ("a",) * 4, np.arange(3))):
        assert np.isnan(nothing).all()


def test_landmark_error_is_dlibs_points_moved_in_parts_of_the_eye_distance(faces: NDArray[np.uint8]) -> None:
    """Against dlib used directly, in the rectangle that it finds in the original."""
    decoded = blurred(faces, 3)
    found = landmark_score(faces, decoded, None, whole_set(faces, "landmarks"))["Landmark-NME"]
    assert found.shape == (1, COUNT) and found.dtype == np.float64
    predictor = dlib.shape_predictor(str(model_file(LANDMARKS_68)))
    for face, spoilt, error in zip(faces, decoded, found[0], strict=True):
        before, after = (cv2.resize(x, (256, 256), interpolation=cv2.INTER_CUBIC) for x in (face, spoilt))
        rectangles, scores, _ = dlib.get_frontal_face_detector().run(before, 0, -0.5)
        if not rectangles:
            assert np.isnan(error)
            continue
        shapes = [predictor(picture, rectangles[int(np.argmax(scores))]) for picture in (before, after)]
        points = np.array([[(shape.part(k).x, shape.part(k).y) for k in range(68)] for shape in shapes], float)
        eyes = np.hypot(*(points[0, 36] - points[0, 45]))
        assert error == pytest.approx(np.hypot(*(points[1] - points[0]).T).mean() / eyes)
    assert np.isfinite(found).any()


def test_landmarks_do_not_move_in_a_copy_and_mean_nothing_without_a_face(faces: NDArray[np.uint8]) -> None:
    pictures = np.concatenate([faces[:2], np.full((1, 64, 64, 3), 128, np.uint8)])
    masks = np.ones((3, 64, 64), bool)
    found = landmark_score(pictures, pictures, masks, whole_set(pictures, "copies"))["Landmark-NME"]
    assert np.isnan(found[0, 2])
    assert set(found[0, :2][np.isfinite(found[0, :2])]) <= {0.0}


def test_real_people_are_told_apart_until_the_picture_is_spoilt(
    people: tuple[NDArray[np.uint8], tuple[str, ...]],
) -> None:
    originals, identities = people
    whole = whole_set(originals, "people", identities)
    good = columns(originals, blurred(originals, 0.5), whole)
    assert good["ID-miss"].mean() == 0
    assert good["ID-miss-other"].mean() < 0.3
    spoilt = columns(originals, blurred(originals, 12), whole)
    assert spoilt["ID-error"].mean() > 0.9
    assert spoilt["ID-miss-other"].mean() > good["ID-miss-other"].mean()
