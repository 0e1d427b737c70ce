"""How a masker with weights is described, and how masks tell which masker made them; nothing heavy is imported."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from facebench.errors import WeightsError
from facebench.hookspecs import MaskerSpec

#: Digits of a digest that are told: enough to tell weights apart.
_DIGITS = 12


@dataclass(frozen=True)
class WeightedMaskerSpec(MaskerSpec):
    """A masker whose masks depend on ``weights`` too, a file in a package: "package:file"."""

    weights: str = ""


def described(spec: MaskerSpec) -> str:
    """Return what masks are known by: "NAME VERSION", with weights "NAME VERSION (weights DIGEST)".

    The digest is the SHA-256 of the file, shortened. Raises :class:`WeightsError` if the file is not there.
    """
    masker = f"{spec.name} {spec.version}"
    if not isinstance(spec, WeightedMaskerSpec):
        return masker
    package, _, name = spec.weights.partition(":")
    file = resources.files(package).joinpath(name)
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"masker '{spec.name}' lacks its weights {file}; install them again") from error
    return f"{masker} (weights {digest[:_DIGITS]})"


def masker_named(masks: str) -> str:
    """Return the masker's name in what :func:`described` gave."""
    match = re.fullmatch(r"(.*) -?\d+( \(weights [0-9a-f]+\))?", masks)
    return match[1] if match else masks
