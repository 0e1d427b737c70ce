"""The checks with damaged payloads; limits of time and memory are watched from the parent process."""

from __future__ import annotations

from facebench import memory
from facebench.errors import CodecError
from facebench.testing import hostile
from facebench.testing.context import CheckFailure, Context, Image, checked_picture, describe, difference


def empty_payload(ctx: Context) -> str:
    """An empty payload gives CodecError."""
    _warm_up(ctx)
    if (outcome := _survives(ctx, "an empty payload", b"")) != "CodecError":
        raise CheckFailure("an empty payload gives a picture, not CodecError" if outcome == "picture" else outcome)
    return ""


def hostile_payloads(ctx: Context, kind: str) -> str:
    """Damaged payloads give CodecError or a picture of the right shape, and leave the decoder sound."""
    good, before = _warm_up(ctx)
    counts = {"CodecError": 0, "picture": 0}
    last = b""
    for what, damaged in hostile.KINDS[kind](good):
        outcome = _survives(ctx, what, damaged)
        if outcome not in counts:
            raise CheckFailure(outcome)
        counts[outcome] += 1
        last = damaged
    outcome = _survives(ctx, "a batch of a sound and a damaged payload", good[0], last)
    if outcome not in counts:
        raise CheckFailure(outcome)
    if difference(ctx.decode(ctx.codec, good[0], "a sound payload afterwards"), before) > 1:
        raise CheckFailure("a sound payload decodes differently after damaged ones")
    return f"{counts['CodecError']} refused, {counts['picture']} gave a picture"


def _warm_up(ctx: Context) -> tuple[list[bytes], Image]:
    """Decode once, so that what a codec allocates for good is not counted, and set the memory limit."""
    good = ctx.job.read_payloads()
    before = ctx.decode(ctx.codec, good[0], "a sound payload").copy()
    ctx.doing("decoding a sound batch", ctx.patience)
    ctx.codec.decode_batch(good[:2])
    ctx.limit_memory(ctx.job.memory_limit)
    return good, before


def _survives(ctx: Context, what: str, *payloads: bytes) -> str:
    """Decode damaged payloads; return "CodecError", "picture", or a line saying what is wrong."""
    ctx.doing(f"decoding {what}", ctx.job.time_limit)
    before = memory.reset_peak()
    try:
        decoded = [ctx.codec.decode(payloads[0])] if len(payloads) == 1 else list(ctx.codec.decode_batch(payloads))
    except CodecError:
        decoded = []
    except BaseException as error:
        return f"decoding {what} raises {describe(error)}, not CodecError"
    grown = memory.peak() - before
    if grown > ctx.job.memory_limit:
        return f"decoding {what} takes {grown >> 20} MiB of memory, more than {ctx.job.memory_limit >> 20}"
    for picture in decoded:
        try:
            checked_picture(picture, ctx.job.size, f"decoding {what}")
        except CheckFailure as error:
            return str(error)
    return "picture" if decoded else "CodecError"
