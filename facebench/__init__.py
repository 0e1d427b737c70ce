"""facebench: a benchmark of face-image codecs. This module is the author API; it imports nothing heavy."""

from facebench.codec import Codec, CodecSpec, Setting, TrainedOn, TrainingJob
from facebench.errors import CodecError, FacebenchError, SettingError, UnsupportedSize, WeightsError
from facebench.hookspecs import (
    API_VERSION,
    ImageSetSpec,
    MaskerSpec,
    MetricColumn,
    MetricSpec,
    hookimpl,
)
from facebench.paths import kept_weights_dir
from facebench.whole_set import WholeSet

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "Codec",
    "CodecError",
    "CodecSpec",
    "FacebenchError",
    "ImageSetSpec",
    "MaskerSpec",
    "MetricColumn",
    "MetricSpec",
    "Setting",
    "SettingError",
    "TrainedOn",
    "TrainingJob",
    "UnsupportedSize",
    "WeightsError",
    "WholeSet",
    "__version__",
    "hookimpl",
    "kept_weights_dir",
]
