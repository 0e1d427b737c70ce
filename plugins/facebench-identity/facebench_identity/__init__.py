"""Is the decoded face still the same person? Only the metrics' descriptions are here: dlib is imported on use."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import MetricColumn, MetricSpec, hookimpl

FACEBENCH_API = 1

_DISTANCE = (
    "Euclidean distance between the 128-value face embeddings of the original and the decoded picture, by dlib's "
    "dlib_face_recognition_resnet_model_v1. Both pictures are scaled to 256x256 (bicubic; area if larger) and the "
    "same 150x150 face chip (padding 0.25) is taken from both, aligned by dlib's 5 landmarks. Landmarks come from the "
    "original alone: in the best rectangle of dlib's frontal face detector, in a fixed one if it finds none; nothing "
    "is detected in the decoded picture. Whole picture only: n/a for +Mask"
)
_ERROR = (
    "1 if ID-distance is 0.6 or more, dlib's published threshold, so that the decoded face is not verified as the "
    "original's person; else 0. The mean is the verification error. n/a for +Mask"
)
_FRR = (
    "1 if ID-distance is at or above the threshold at which 1 % of the pairs of two persons' originals in the set "
    "would be taken for one person (no decoded picture takes part; rounded down to 0.0001), else 0. The mean is the "
    "false reject rate at a false accept rate of 1 %, 1 minus the verification rate; it depends on the set. n/a "
    "where identities are unknown or make fewer than 1,000 such pairs, and for +Mask"
)
_FRR_OTHER = (
    "as ID-FRR, against the other originals of the picture's person in place of its own: the share of them at or above "
    "the threshold. Only over pictures whose person has another picture in the set, n/a for the rest"
)
_MISS = (
    "1 if, of all scored originals of known identity, the one whose embedding (as in ID-distance) is nearest to the "
    "decoded picture's is of another person; else 0. The picture's own original is among them. The mean is the "
    "rank-1 identification error; it depends on the set's size. n/a if the picture's identity is unknown, and for +Mask"
)
_MISS_OTHER = (
    "as ID-miss, with the picture's own original left out: 1 if the nearest other original is of another person. Only "
    "over pictures whose person has another picture in the set, n/a for the rest"
)
_LANDMARKS = (
    "mean distance between the 68 facial points of the original and of the decoded picture, divided by the distance of "
    "the original's outer eye corners (points 36 and 45, from 0). By dlib's shape_predictor_68_face_landmarks, both "
    "pictures scaled as in ID-distance, in the same rectangle: the best of dlib's frontal face detector in the "
    "original; nothing is detected in the decoded picture. n/a if none is found there, and for +Mask"
)


@hookimpl
def facebench_metrics() -> Iterable[MetricSpec]:
    """Return both families; they have to be asked for: they are slow, and the landmarks' terms are not for everyone."""
    columns = (
        MetricColumn("ID-distance", 1, _DISTANCE),
        MetricColumn("ID-error", 1, _ERROR),
        MetricColumn("ID-FRR", 1, _FRR),
        MetricColumn("ID-FRR-other", 1, _FRR_OTHER),
        MetricColumn("ID-miss", 1, _MISS),
        MetricColumn("ID-miss-other", 1, _MISS_OTHER),
    )
    points = (MetricColumn("Landmark-NME", 1, _LANDMARKS),)
    return [
        MetricSpec("identity", "facebench_identity.score:score", columns, whole_set=True, default=False),
        MetricSpec("landmarks", "facebench_identity.landmarks:score", points, whole_set=True, default=False),
    ]
