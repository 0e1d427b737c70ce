"""What every check works with in a child process: the codec, its time, and what a check can raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facebench.codec import Codec, SettingValue
from facebench.testing.job import Job

Image = NDArray[np.uint8]


class CheckFailure(Exception):
    """The codec breaks the contract."""


class CheckSkipped(Exception):
    """The check does not apply to this codec."""


class CheckWarning(Exception):
    """The codec does something odd, but allowed."""


@dataclass
class Context:
    """One child's work: the job, and ``doing(what, seconds)``, which tells the parent what may now take how long."""

    job: Job
    doing: Callable[[str, float], None]
    limit_memory: Callable[[int], None]
    _codec: Codec | None = field(default=None, repr=False)

    @property
    def codec(self) -> Codec:
        """The instance that encodes, made on first use."""
        if self._codec is None:
            self._codec = self.fresh()
        return self._codec

    @property
    def patience(self) -> float:
        """Seconds that one ordinary operation may take."""
        return 6 * self.job.time_limit

    def fresh(self, size: tuple[int, int] | None = None, settings: Mapping[str, SettingValue] | None = None) -> Codec:
        """Return a new instance of the codec, some of its settings changed."""
        self.doing("making an instance", 2 * self.patience)
        return self.job.make(size, settings)

    def encode(self, codec: Codec, image: Image, what: str) -> bytes:
        """Return the payload, if it is bytes."""
        self.doing(f"encoding {what}", self.patience)
        return checked_bytes(codec.encode(image), f"encoding {what}")

    def decode(self, codec: Codec, payload: bytes, what: str) -> Image:
        """Return the picture, if it is one of the codec's size."""
        self.doing(f"decoding {what}", self.patience)
        return checked_picture(codec.decode(payload), codec.size, f"decoding {what}")


def checked_bytes(payload: Any, what: str) -> bytes:
    """Return ``payload`` if it is bytes; raises CheckFailure."""
    if type(payload) is not bytes:  # a subclass could carry more than its bytes
        raise CheckFailure(f"{what} gives {type(payload).__name__}, not bytes")
    return payload


def checked_picture(picture: Any, size: tuple[int, int], what: str) -> Image:
    """Return ``picture`` if it is (height, width, 3) uint8; raises CheckFailure."""
    if not isinstance(picture, np.ndarray):
        raise CheckFailure(f"{what} gives {type(picture).__name__}, not a numpy array")
    if picture.dtype != np.uint8 or picture.shape != (*size, 3):
        raise CheckFailure(f"{what} gives {picture.shape} {picture.dtype}, not {(*size, 3)} uint8")
    return picture


def difference(first: Image, second: Image) -> int:
    """Return the largest difference between two pictures, in grey levels."""
    return int(np.abs(first.astype(np.int16) - second.astype(np.int16)).max())


def describe(error: BaseException) -> str:
    """Return an exception as one line, with the place in the code that raised it."""
    text = " ".join(str(error).split())[:300]
    place = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return f"{type(error).__name__}{': ' + text if text else ''}{place}"
