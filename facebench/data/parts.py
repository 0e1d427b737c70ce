"""Parts of an image set prepared by the processes of an engine: threads of one process wait for each other."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from facebench.child import ChildKilled, Isolation
from facebench.data.preparation import Arrays, PreparedPart, ReadPart, cannot_write, prepare_part
from facebench.data.set_recipe import SetRecipe, opened
from facebench.data.source import PictureSource
from facebench.errors import DataError

if TYPE_CHECKING:
    from facebench.engines import Engine

#: Of fewer pictures processes would not be done before they have begun.
_WORTH_IT = 2_000


def part_reader(recipe: SetRecipe, source: PictureSource, engine: Engine | None) -> ReadPart | None:
    """Return how ``engine`` prepares parts of ``source``, which is ``recipe`` opened; None where threads do better."""
    if engine is None or engine.remote or not engine.isolation.separate:
        return None
    if recipe.remote or len(source.ids) < _WORTH_IT:
        return None

    def submit(part: range, arrays: Arrays) -> Future[PreparedPart]:
        return engine.submit(_read, recipe, source.fingerprint, part, arrays)

    return submit


def _read(isolation: Isolation, recipe: SetRecipe, fingerprint: str, part: range, arrays: Arrays) -> PreparedPart:
    try:
        return isolation.run(_part, recipe, fingerprint, part, arrays)
    except ChildKilled as death:
        raise DataError(f"the process that read {recipe.where} ended: {death}; run again") from death


def _part(recipe: SetRecipe, fingerprint: str, part: range, arrays: Arrays) -> PreparedPart:
    source = opened(recipe)
    if source.fingerprint != fingerprint:
        opened.cache_clear()
        raise DataError(f"{recipe.where} has changed while it was read; run again")
    try:
        return prepare_part(source, recipe.preprocessing, part, arrays)
    except OSError as error:
        raise cannot_write(error) from error
