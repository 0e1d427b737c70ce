"""The codec contract: what a face codec is, and how it describes itself before it is imported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

SettingValue = int | float | bool | str


@dataclass(frozen=True)
class Setting:
    """One knob of a codec.

    ``kind`` is ``int``, ``float``, ``bool`` or ``str``; ``low`` and ``high`` are inclusive bounds of a
    number; ``choices`` lists the only values allowed. ``names_file`` marks a setting whose value may be
    the path of a file (its content, not its name, then identifies an operating point).
    """

    name: str
    kind: type
    default: SettingValue
    help: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[SettingValue, ...] = ()
    names_file: bool = False


@dataclass(frozen=True)
class CodecSpec:
    """A codec's description, cheap to make: ``target`` ("module:Class") is imported only when it is used.

    ``rate_setting`` names the setting that steers the rate and ``sweep`` the values of it that draw the
    codec's rate-distortion curve. ``trainer`` ("module:function") is what ``facebench train NAME`` calls.
    ``baseline`` codecs join every run: each other codec is held against their curve. ``lossless``
    codecs are not expected to lose anything. ``version`` defaults to that of the distribution that
    brings the codec; raise it when the codec's payloads or pictures change.
    """

    name: str
    target: str
    settings: tuple[Setting, ...] = ()
    rate_setting: str | None = None
    sweep: tuple[SettingValue, ...] = ()
    help: str = ""
    trainer: str | None = None
    baseline: bool = False
    lossless: bool = False
    version: str = ""

    def setting(self, name: str) -> Setting | None:
        """Return the setting of that name, or None."""
        return next((s for s in self.settings if s.name == name), None)


@dataclass(frozen=True)
class TrainedOn:
    """What a codec's weights were fitted to, so that a table can flag scores on training data.

    ``pictures`` and ``identities`` are names as image sets give them ("celeba:182638",
    "celeba:7760"); ``data_digest`` is the digest of the prepared image set.
    """

    image_set: str
    split: str
    data_digest: str
    pictures: frozenset[str] = field(default=frozenset(), repr=False)
    identities: frozenset[str] = field(default=frozenset(), repr=False)


class Codec(ABC):
    """A face-image codec at one operating point and one picture size.

    The harness makes one instance to encode and another, in a task that has not opened the originals, to
    decode: only payload bytes pass between them. What ``decode`` may know beside the payload is what the
    instance was made with: the settings and ``size``, both fixed for a run.

    A subclass takes its settings as keyword arguments of ``__init__(self, size, ...)``; all settings that
    its :class:`CodecSpec` declares are always passed. Raise :class:`facebench.UnsupportedSize` there if
    the codec does not work at ``size``.
    """

    #: Bytes of weights that decoding needs beyond the payload; shown beside the payload in every table.
    weights_bytes: int = 0
    #: SHA-256 of those weights, or None.
    weights_digest: str | None = None
    #: The training data of those weights, or None for a codec that was not trained.
    trained_on: TrainedOn | None = None

    def __init__(self, size: tuple[int, int]) -> None:
        """Make a codec for pictures of ``size`` = (height, width) in pixels."""
        self.size = size

    @abstractmethod
    def encode(self, image: Image) -> bytes:
        """Return the payload of ``image``, (height, width, 3) uint8 RGB.

        Everything that :meth:`decode` needs and that may differ between pictures is in the payload.
        """

    @abstractmethod
    def decode(self, payload: bytes) -> Image:
        """Return the picture, (height, width, 3) uint8 RGB, that ``payload`` stands for.

        Raises :class:`CodecError` on a payload that cannot be decoded. A damaged payload never hangs,
        crashes or takes memory out of proportion: it gives CodecError or some picture of the right shape.
        """

    def bits_per_image(self, payload: bytes) -> int:
        """Return the bits that ``payload`` costs: ``8 * len(payload)``, plus side information, never less."""
        return 8 * len(payload)

    def encode_batch(self, images: Image) -> list[bytes]:
        """Return the payloads of ``images``, (N, height, width, 3); the same bytes as one by one."""
        return [self.encode(image) for image in images]

    def decode_batch(self, payloads: Sequence[bytes]) -> Sequence[Image]:
        """Return the pictures of ``payloads``; the same as one by one, to within one grey level."""
        return [self.decode(payload) for payload in payloads]

    def use_device(self, device: str) -> None:
        """Move the codec to a torch device ("cpu", "cuda"); a codec that has no use for one ignores it."""
