"""The codec contract: what a face codec is, and how it describes itself before it is imported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
    codec's rate-distortion curve, the one of fewest bytes first. ``budget_setting`` names an int setting, if there
    is one, that makes the codec itself fit each picture into so many bytes. ``trainer`` ("module:function") is
    what ``facebench train NAME`` calls, and ``parallel_training`` says that several processes may, see
    :class:`TrainingJob`. ``baseline`` codecs join every run: each other codec is held against
    their curve. ``lossless``
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
    budget_setting: str | None = None
    parallel_training: bool = False

    def setting(self, name: str) -> Setting | None:
        """Return the setting of that name, or None."""
        return next((s for s in self.settings if s.name == name), None)


@dataclass(frozen=True)
class TrainedOn:
    """What a codec's weights were fitted to, so that a table can flag scores on training data.

    ``watched`` is the split on which the training was watched or its tables fitted, or ''.

    ``pictures`` and ``identities`` are names as image sets give them ("celeba:182638",
    "celeba:7760"); ``data_digest`` is the digest of the prepared image set.
    """

    image_set: str
    split: str
    data_digest: str
    watched: str = ""
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

    def training_card(self) -> Mapping[str, Any] | None:
        """Return how the weights were trained, as the card beside their file tells, or None where nothing tells it.

        Reports show its ``recipe``, ``seed``, ``steps``, ``seconds``, ``stopped`` and ``curve`` (``steps``, ``valid``).
        """
        return None

    def use_device(self, device: str) -> None:
        """Move the codec to a torch device ("cpu", "cuda"); a codec that has no use for one ignores it."""


class TrainingImages(Protocol):
    """What a trainer sees of a prepared image set."""

    images: NDArray[np.uint8]  # (N, height, width, 3) RGB
    masks: NDArray[np.bool_] | None  # (N, height, width), true on the face
    identities: Sequence[str] | None  # (N,) names of the people, or None where unknown

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class TrainingJob:
    """What ``facebench train NAME`` asks of a codec's trainer: a function of one job that returns the weights file.

    ``out`` is the weights file to write, or None for the trainer's own choice below
    :func:`facebench.kept_weights_dir`. ``recipe``, ``loss`` and ``epochs`` are None unless the user chose. A
    trainer with checkpoints continues them if ``resume``. ``minutes`` limits the training time. ``log`` takes
    one line for the user; ``progress`` a step, the steps in all or None, and figures to show. ``trained_on``
    and ``card()`` (command, seed, data) belong into the weights file.

    Under torchrun a trainer with ``parallel_training`` is called in each process with the same job. They are
    torch.distributed's default group (gloo); on "cuda" each has a GPU of its own, the current one. ``log`` and
    ``progress`` of all but the first (rank 0) say nothing, and only the first may write files.
    """

    codec: str
    train: TrainingImages
    valid: TrainingImages
    seed: int
    device: str
    command: str
    trained_on: dict[str, Any]
    out: Path | None = None
    recipe: str | None = None
    loss: str | None = None
    epochs: int | None = None
    minutes: float | None = None
    resume: bool = False
    log: Callable[[str], None] = lambda line: None
    progress: Callable[[int, int | None, dict[str, float]], None] = lambda step, total, figures: None

    def card(self) -> dict[str, Any]:
        """Return how the weights are made, for the card beside them."""
        return {
            "command": self.command,
            "seed": self.seed,
            "train_digest": self.train.digest,
            "valid_digest": self.valid.digest,
        }
