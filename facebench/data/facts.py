"""What an image set knows of each of its pictures, as a table that is kept with a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facebench.data.pose import POINTS, face_size, yaw

if TYPE_CHECKING:
    import pandas as pd

    from facebench.data.imageset import ImageSet

#: Columns with attributes are named by this and the attribute's own name.
ATTRIBUTE = "attribute "
YAW, FACE_SIZE = "yaw", "face size"


def picture_facts(images: ImageSet) -> pd.DataFrame | None:
    """Return one row per picture, in the set's order; None if the set has neither attributes nor landmarks.

    Columns: ``picture``, ``position``, ``identity`` ("" where unknown), ``attribute NAME`` (bool) for each attribute,
    and from five landmarks ``yaw`` (:func:`facebench.data.pose.yaw`) and ``face size`` (pixels of the scored picture).
    """
    if not images.attributes and images.landmarks is None:
        return None
    import pandas as pd

    columns: dict[str, Any] = {
        "picture": list(images.ids),
        "position": range(len(images)),
        "identity": list(images.identities or [""] * len(images)),
        **{ATTRIBUTE + name: values for name, values in images.attributes.items()},
    }
    if images.landmarks is not None and images.landmarks.shape[1] == POINTS:
        columns |= {YAW: yaw(images.landmarks), FACE_SIZE: face_size(images.landmarks)}
    return pd.DataFrame(columns)
