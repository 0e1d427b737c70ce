"""``facebench decode``: a file of 'facebench encode' back to a picture."""

from __future__ import annotations

from pathlib import Path

import click

from facebench.cli.options import codec_faults_named, quiet_option, registry_with_notes


@click.command("decode")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="PNG to write.  [default: FILE.png]")
@click.option("--codec", help="Operating point to decode with, where it names a weights file of your own.")
@quiet_option
def decode_command(file: Path, out: Path | None, codec: str | None, quiet: bool) -> None:
    """Decode a file written by 'facebench encode' to a PNG."""
    import cv2

    from facebench.container import unpack
    from facebench.errors import CodecError, DataError, WeightsError
    from facebench.measure import checked_picture
    from facebench.operating_point import make_codec, parse_points
    from facebench.paths import atomic_path

    if not file.exists():
        raise DataError(f"{file} does not exist: name one that 'facebench encode' wrote")
    registry = registry_with_notes(quiet)
    face = unpack(file.read_bytes(), str(file))
    points = parse_points(codec or face.point, registry)
    if len(points) != 1:
        raise CodecError(f"{file} is damaged: '{face.point}' is not one operating point")
    spec = registry.codecs[points[0].codec]
    for name, value in points[0].settings:
        setting = spec.setting(name)
        if codec is None and setting is not None and setting.names_file and ("/" in str(value) or "." in str(value)):
            raise WeightsError(f"{file} was encoded with {name}={value}: say --codec '{face.point}' to use that file")
    with codec_faults_named(f"{spec.name} cannot decode {file}"):
        made = make_codec(spec, points[0], face.size)
    if not face.has_weights(made.weights_digest):
        raise WeightsError(f"{file} was encoded with other weights of {spec.name} than the ones here")
    with codec_faults_named(f"{spec.name} cannot decode {file}"):
        image = checked_picture(made.decode(face.payload), face.size)
    target = out or file.with_name(f"{file.name}.png")
    with atomic_path(target) as path:
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
