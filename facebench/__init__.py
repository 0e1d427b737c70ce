"""facebench: a benchmark of face-image codecs. This module is the author API; it imports nothing heavy."""

from facebench.codec import Codec, CodecSpec, Setting, TrainedOn
from facebench.errors import CodecError, FacebenchError, SettingError, UnsupportedSize, WeightsError
from facebench.hookspecs import (
    API_VERSION,
    ImageSetSpec,
    MaskerSpec,
    MetricColumn,
    MetricSpec,
    hookimpl,
)

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
    "UnsupportedSize",
    "WeightsError",
    "__version__",
    "hookimpl",
]
