"""How well a face parser does on labelled pairs that it has not seen, at CelebA's framing and 64x64."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facebench.masks.parser.masker import FaceMasker
from facebench.masks.parser.network import CLASSES, SIDE
from facebench.masks.parser.training import CROP, Pairs, framed, per_person


def judged(masker: FaceMasker, pairs: Pairs) -> dict[str, Any]:
    """Return people, pictures, and the IoU (0 to 1) of the masks and of each class.

    ``mask_iou`` is the mean over people of the mean over their pictures; ``tenth_worst`` is the picture's that a tenth
    of the pictures fall below. ``class_iou`` is over the pixels of all pictures together.
    """
    pictures, masks = framed(pairs)
    given = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found, wanted = masker(given), masks.numpy()
    overlaps = (found & wanted).sum((1, 2)) / (found | wanted).sum((1, 2)).clip(min=1)
    return {
        "people": len({name.rpartition("_")[0] for name in pairs.names}),
        "pictures": len(pairs),
        "mask_iou": round(per_person(overlaps, pairs.names), 4),
        "tenth_worst": round(float(np.quantile(overlaps, 0.1)), 4),
        "class_iou": _class_overlaps(masker.classes(given), _framed_classes(pairs)),
    }


def _framed_classes(pairs: Pairs) -> NDArray[np.uint8]:
    """Return the labelled classes at 64x64, (N, 64, 64): the one that covers most of a pixel."""
    top, left = ((side - CROP) // 2 for side in pairs.classes.shape[1:])
    framed_classes = []
    for classes in pairs.classes.numpy():
        cut = classes[top : top + CROP, left : left + CROP]
        shares = [
            cv2.resize((cut == number).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for number in range(len(CLASSES))
        ]
        framed_classes.append(np.argmax(shares, axis=0).astype(np.uint8))
    return np.stack(framed_classes)


def _class_overlaps(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> dict[str, float]:
    overlaps = {}
    for number, name in enumerate(CLASSES):
        common, either = ((found == number) & (wanted == number)).sum(), ((found == number) | (wanted == number)).sum()
        overlaps[name] = round(float(common / max(either, 1)), 4)
    return overlaps
