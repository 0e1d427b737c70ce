"""The checks themselves, as they run in a child process: each returns one line about what it saw, or raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from facebench.codec import TrainedOn
from facebench.errors import UnsupportedSize
from facebench.testing import hostile, pictures
from facebench.testing.context import (
    CheckFailure,
    CheckSkipped,
    CheckWarning,
    Context,
    Image,
    checked_bytes,
    checked_picture,
    difference,
)
from facebench.testing.hostile_steps import empty_payload, hostile_payloads


def _mean_size(payloads: Sequence[bytes]) -> float:
    return sum(map(len, payloads)) / len(payloads)


def _faces(ctx: Context) -> Image:
    return pictures.faces(ctx.job.size)


def construction(ctx: Context) -> str:
    """The class can be made at the size asked for, and says what it must about its weights."""
    codec = ctx.codec
    if getattr(codec, "size", None) != ctx.job.size:
        raise CheckFailure("self.size is not the size asked for; call super().__init__(size)")
    weights, digest, trained = codec.weights_bytes, codec.weights_digest, codec.trained_on
    if not isinstance(weights, int) or weights < 0:
        raise CheckFailure(f"weights_bytes is {weights!r}, not a number of bytes")
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", str(digest)):
        raise CheckFailure(f"weights_digest is {digest!r}, not None or a SHA-256 in hexadecimal")
    if trained is not None and not isinstance(trained, TrainedOn):
        raise CheckFailure(f"trained_on is {trained!r}, not None or a facebench.TrainedOn")
    if trained is not None and digest is None:
        raise CheckFailure("trained_on is given, but weights_digest is None")
    ctx.doing("use_device('cpu')", ctx.patience)
    codec.use_device("cpu")
    return f"{weights:,} bytes of weights"


def round_trip(ctx: Context) -> str:
    """Faces encode to bytes, which another instance decodes to pictures; kept for other processes."""
    faces = _faces(ctx)
    payloads = [ctx.encode(ctx.codec, face, f"face {i}") for i, face in enumerate(faces)]
    ctx.job.write_payloads(payloads)
    decoder = ctx.fresh()
    decoded = np.stack([ctx.decode(decoder, p, f"face {i}") for i, p in enumerate(payloads)])
    np.save(Path(ctx.job.folder) / "pictures.npy", decoded)
    error = np.abs(decoded.astype(float) - faces).mean()
    return f"{_mean_size(payloads):.0f} bytes, {error:.1f} grey levels off on average at {_text(ctx.job.size)}"


def plain_pictures(ctx: Context) -> str:
    """Black, white, noise, gradient and checker pictures go through."""
    decoder = ctx.fresh()
    plain = pictures.plain(ctx.job.size)
    sizes = []
    for name, image in plain.items():
        payload = ctx.encode(ctx.codec, image, f"the {name} picture")
        sizes.append(f"{name} {len(payload)}")
        ctx.decode(decoder, payload, f"the {name} picture")
    return f"bytes: {', '.join(sizes)}"


def other_size(ctx: Context, size: tuple[int, int]) -> str:
    """Faces and noise go through at another size."""
    try:
        encoder, decoder = ctx.fresh(size), ctx.fresh(size)
        payloads = []
        for what, image in (("a face", pictures.faces(size, 1)[0]), ("noise", pictures.plain(size)["noise"])):
            payloads.append(ctx.encode(encoder, image, f"{what} of {_text(size)}"))
            ctx.decode(decoder, payloads[-1], f"{what} of {_text(size)}")
    except UnsupportedSize as error:
        raise CheckSkipped(f"unsupported: {error}") from error
    return f"a face in {len(payloads[0])} bytes"


def determinism(ctx: Context) -> str:
    """The same picture gives the same bytes, at another time, in another order and from another instance."""
    faces = _faces(ctx)
    first = [ctx.encode(ctx.codec, face, f"face {i}") for i, face in enumerate(faces)]
    again = [ctx.encode(ctx.codec, face, f"face {i}") for i, face in reversed(list(enumerate(faces)))][::-1]
    other = ctx.fresh()
    fresh = [ctx.encode(other, face, f"face {i}") for i, face in enumerate(faces)]
    for i, payload in enumerate(first):
        if again[i] != payload:
            raise CheckFailure(f"encoding face {i} a second time gives other bytes")
        if fresh[i] != payload:
            raise CheckFailure(f"encoding face {i} in a second instance gives other bytes")
    return ""


def batch_as_single(ctx: Context) -> str:
    """Batches give what single pictures give: the same bytes, and pictures within one grey level."""
    faces = np.concatenate([_faces(ctx), pictures.plain(ctx.job.size)["noise"][None]])
    singles = [ctx.encode(ctx.codec, face, f"picture {i}") for i, face in enumerate(faces)]
    decoded = [ctx.decode(ctx.codec, payload, f"picture {i}") for i, payload in enumerate(singles)]
    for order in ([0], list(range(len(faces))), [3, 1]):
        ctx.doing(f"encoding a batch of {len(order)}", ctx.patience)
        payloads = list(ctx.codec.encode_batch(faces[order]))
        if len(payloads) != len(order):
            raise CheckFailure(f"encode_batch gives {len(payloads)} payloads for {len(order)} pictures")
        for place, i in enumerate(order):
            if checked_bytes(payloads[place], "encode_batch") != singles[i]:
                raise CheckFailure(f"encode_batch of {len(order)} gives other bytes than encode for picture {i}")
        ctx.doing(f"decoding a batch of {len(order)}", ctx.patience)
        batch = list(ctx.codec.decode_batch([singles[i] for i in order]))
        if len(batch) != len(order):
            raise CheckFailure(f"decode_batch gives {len(batch)} pictures for {len(order)} payloads")
        for place, i in enumerate(order):
            off = difference(checked_picture(batch[place], ctx.job.size, "decode_batch"), decoded[i])
            if off > 1:
                raise CheckFailure(f"decode_batch of {len(order)} is {off} grey levels off decode for picture {i}")
    return ""


def honest_bits(ctx: Context) -> str:
    """bits_per_image is a whole number, and never less than the payload's own bits."""
    faces, plain = _faces(ctx), pictures.plain(ctx.job.size)
    extra = 0
    for what, image in [*((f"face {i}", face) for i, face in enumerate(faces)), *plain.items()]:
        payload = ctx.encode(ctx.codec, image, what)
        bits = ctx.codec.bits_per_image(payload)
        if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
            raise CheckFailure(f"bits_per_image gives {bits!r}, not an int")
        if bits < 8 * len(payload):
            raise CheckFailure(f"bits_per_image says {bits} for {what}, but the payload has {8 * len(payload)} bits")
        extra = max(extra, int(bits) - 8 * len(payload))
    return f"up to {extra} bits of side information" if extra else ""


def input_untouched(ctx: Context) -> str:
    """Read-only and non-contiguous pictures are taken, give the same bytes, and none is changed."""
    face = _faces(ctx)[0]
    payload = ctx.encode(ctx.codec, face.copy(), "a face")
    wider = np.zeros((ctx.job.size[0], 2 * ctx.job.size[1], 3), np.uint8)
    wider[:, ::2] = face
    views = {
        "a writable": face.copy(),
        "a read-only": face.copy(),
        "a mirrored": face[:, ::-1].copy()[:, ::-1],
        "a column-major": np.asfortranarray(face),
        "a sliced": wider[:, ::2],
    }
    views["a read-only"].flags.writeable = False
    for kind, image in views.items():
        if ctx.encode(ctx.codec, image, f"{kind} picture") != payload:
            raise CheckFailure(f"{kind} picture gives other bytes than its plain copy")
        if not np.array_equal(image, face):
            raise CheckFailure(f"encode changes {kind} picture that it is given")
    batch = np.stack([face, face])
    batch.flags.writeable = False
    ctx.doing("encoding a read-only batch", ctx.patience)
    if list(ctx.codec.encode_batch(batch)) != [payload, payload]:
        raise CheckFailure("a read-only batch gives other bytes than single pictures")
    return ""


def independent_decoder(ctx: Context) -> str:
    """Decoding hangs on the payload alone: not on the instance, nor on what it decoded before."""
    faces = _faces(ctx)
    payloads = [ctx.encode(ctx.codec, face, f"face {i}") for i, face in enumerate(faces)]
    decoder = ctx.fresh()
    backwards = [ctx.decode(decoder, p, f"face {i}") for i, p in reversed(list(enumerate(payloads)))][::-1]
    kept = [picture.copy() for picture in backwards]
    own = [ctx.decode(ctx.codec, p, f"face {i}").copy() for i, p in enumerate(payloads)]
    again = [ctx.decode(decoder, p, f"face {i}").copy() for i, p in enumerate(payloads)]
    for i in range(len(faces)):
        if difference(kept[i], own[i]) > 1:
            raise CheckFailure(f"an instance that did not encode face {i} decodes it differently")
        if not np.array_equal(kept[i], again[i]):
            raise CheckFailure(f"decoding face {i} a second time gives another picture")
        if not np.array_equal(kept[i], backwards[i]):
            raise CheckFailure(f"the picture returned for face {i} changed while others were decoded")
    return ""


def lossless(ctx: Context) -> str:
    """A codec that says it is lossless is."""
    if not ctx.job.lossless:
        raise CheckSkipped("the codec does not say that it is lossless")
    decoder = ctx.fresh()
    for what, image in [*((f"face {i}", f) for i, f in enumerate(_faces(ctx))), *pictures.plain(ctx.job.size).items()]:
        decoded = ctx.decode(decoder, ctx.encode(ctx.codec, image, what), what)
        if not np.array_equal(decoded, image):
            raise CheckFailure(f"says it is lossless, but {what} comes back up to {difference(decoded, image)} off")
    return ""


def sweep(ctx: Context) -> str:
    """Every point of the sweep works; a warning if the sizes do not go one way."""
    setting = ctx.job.rate_setting
    if setting is None or not ctx.job.sweep:
        raise CheckSkipped("the codec declares no sweep")
    faces = _faces(ctx)[:2]
    sizes = []
    for value in ctx.job.sweep:
        codec = ctx.fresh(settings={setting: value})
        payloads = [ctx.encode(codec, face, f"a face at {setting}={value}") for face in faces]
        for payload in payloads:
            ctx.decode(codec, payload, f"a face at {setting}={value}")
        sizes.append(_mean_size(payloads))
    line = f"{setting}={'/'.join(map(str, ctx.job.sweep))} gives {'/'.join(f'{s:.0f}' for s in sizes)} bytes"
    if len(sizes) > 1:
        rising = sizes if sizes[-1] > sizes[0] else sizes[::-1]
        if any(second < 0.98 * first - 1 for first, second in pairwise(rising)) or sizes[0] == sizes[-1]:
            raise CheckWarning(f"sizes do not go one way: {line}")
    return line


def decode_elsewhere(ctx: Context) -> str:
    """Decode the payloads of :func:`round_trip` in this process, which never saw a picture; keep the pictures."""
    payloads, size = ctx.job.read_payloads(), ctx.job.batch
    decoded: list[Image] = []
    for start in range(0, len(payloads), size):
        part = payloads[start : start + size]
        if size == 1:
            decoded.append(ctx.decode(ctx.codec, part[0], f"face {start} in a fresh process"))
            continue
        ctx.doing(f"decoding a batch of {len(part)} in a fresh process", ctx.patience)
        decoded += [checked_picture(p, ctx.job.size, "decode_batch") for p in ctx.codec.decode_batch(part)]
    np.save(Path(ctx.job.folder) / ctx.job.output, np.stack(decoded))
    return ""


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


_STEPS: dict[str, Callable[[Context], str]] = {
    "construction": construction,
    "round trip": round_trip,
    "plain pictures": plain_pictures,
    "determinism": determinism,
    "batch as single": batch_as_single,
    "honest bits": honest_bits,
    "input untouched": input_untouched,
    "independent decoder": independent_decoder,
    "lossless": lossless,
    "sweep": sweep,
    "another process": decode_elsewhere,
    "empty payload": empty_payload,
}


def run_step(name: str, ctx: Context) -> str:
    """Run the check of that name; returns its line, or raises what it found."""
    if match := re.fullmatch(r"size (\d+)x(\d+)", name):
        return other_size(ctx, (int(match[1]), int(match[2])))
    if name in hostile.KINDS:
        return hostile_payloads(ctx, name)
    return _STEPS[name](ctx)
