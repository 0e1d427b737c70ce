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
_MISS = (
    "1 if, of all scored originals of known identity, the one whose embedding (as in ID-distance) is nearest to the "
    "decoded picture's is of another person; else 0. The picture's own original is among them. The mean is the "
    "rank-1 identification error; it depends on the set's size. n/a if the picture's identity is unknown, and for +Mask"
)
_MISS_OTHER = (
    "as ID-miss, with the picture's own original left out: 1 if the nearest other original is of another person. Only "
    "over pictures whose person has another picture in the set, n/a for the rest"
)


@hookimpl
def facebench_metrics() -> Iterable[MetricSpec]:
    """Return the identity family; it costs so much time that it has to be asked for."""
    columns = (
        MetricColumn("ID-distance", 1, _DISTANCE),
        MetricColumn("ID-error", 1, _ERROR),
        MetricColumn("ID-miss", 1, _MISS),
        MetricColumn("ID-miss-other", 1, _MISS_OTHER),
    )
    return [MetricSpec("identity", "facebench_identity.score:score", columns, whole_set=True, default=False)]
