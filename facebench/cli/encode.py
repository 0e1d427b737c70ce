"""``facebench encode``: one picture to a small self-describing file."""

from __future__ import annotations

from pathlib import Path

import click

from facebench.cli.options import codec_faults_named, note, quiet_option, registry_with_notes


@click.command("encode")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--codec", required=True, help="One operating point, such as cvae or jpeg:quality=20.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: PICTURE.face]")
@click.option("--size", default=64, show_default=True, help="Side of the square picture to encode, in pixels.")
@click.option("--crop", default="square", show_default=True, help="full (squashed), square or centre-N.")
@click.option("--filter", default="area", show_default=True, help="Resize filter: area, bilinear, bicubic, lanczos.")
@quiet_option
def encode_command(picture: Path, codec: str, out: Path | None, size: int, crop: str, filter: str, quiet: bool) -> None:
    """Encode one picture file; the file written tells 'facebench decode' all it needs."""
    from facebench.container import FaceFile
    from facebench.data.preprocess import Preprocessing
    from facebench.data.source import decode_picture
    from facebench.errors import CodecError, DataError, SettingError
    from facebench.measure import checked_payload
    from facebench.operating_point import label, make_codec, parse_points
    from facebench.paths import atomic_path

    if not picture.exists():
        raise DataError(f"{picture} does not exist: name a picture to encode")
    registry = registry_with_notes(quiet)
    points = parse_points(codec, registry)
    if len(points) != 1:
        raise SettingError(f"'{codec}' names {len(points)} operating points; encode takes one")
    spec = registry.codecs[points[0].codec]
    preprocessing = Preprocessing(crop, size, filter)
    image = preprocessing.picture(decode_picture(picture.read_bytes(), str(picture)), str(picture))
    with codec_faults_named(f"{spec.name} cannot encode {picture}"):
        made = make_codec(spec, points[0], image.shape[:2])
        payload, bits = checked_payload(made, made.encode(image))
    budget = points[0].budget or (int(points[0].values()[spec.budget_setting]) if spec.budget_setting else 0)
    if budget and bits > 8 * budget:
        raise CodecError(
            f"{label(spec, points[0])} does not fit {picture}: {-(-bits // 8)} bytes at the least; allow more, or "
            "smaller pictures with +downscale"
        )
    file = FaceFile(label(spec, points[0]), image.shape[:2], made.weights_digest, payload).pack()
    target = out or picture.with_name(f"{picture.name}.face")
    with atomic_path(target) as path:
        path.write_bytes(file)
    note(f"{target}: payload {len(payload)} bytes, file {len(file)} bytes", quiet)
