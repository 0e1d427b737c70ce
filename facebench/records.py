"""The records of one shard: for each picture the whole-picture row, then the face row if there are masks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from facebench.measure import Encoded, Scored

MASK_NONE, MASK_FACE = "none", "face"


def shard_records(encoded: Encoded, scored: Scored) -> pa.Table:
    """Return a shard's records without the names of its operating point and pictures: see results/README.md.

    Scores and seconds are float32, sizes int64, all else strings.
    """
    count = len(encoded.payloads)
    repeat = len(next(iter(scored.scores.values())))  # variants: 1, or 2 with masks
    columns = {
        "mask": pa.array([MASK_NONE, MASK_FACE][:repeat] * count),
        "payload_bytes": np.repeat([len(payload) for payload in encoded.payloads], repeat),
        "bits": np.repeat(encoded.bits, repeat),
        **{name: values.T.reshape(-1).astype(np.float32) for name, values in scored.scores.items()},
        "encode_seconds": np.full(count * repeat, encoded.seconds / count, np.float32),
        "decode_seconds": np.full(count * repeat, scored.seconds / count, np.float32),
        "status": pa.array(np.repeat(scored.statuses, repeat)),
        "detail": pa.array(np.repeat(scored.details, repeat)),
    }
    return pa.table(columns)
