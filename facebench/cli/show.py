"""``facebench show``: a contact sheet of pictures as codecs leave them at equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facebench.cli.options import note, quiet_option, registry_with_notes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAMPLE = "sample:"


@click.command("show")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--codecs", required=True, help="Codecs, each a column: facet,webp:headerless=true,jpeg ...")
@click.option(
    "--bytes", "--budget", "budgets", default="64,128,256,512", show_default=True, help="Byte budgets, each a row."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), default="sheet.png", show_default=True, help="PNG file.")
@click.option("--size", default=64, show_default=True, help="Side of the square picture to encode, in pixels.")
@click.option("--crop", default="square", show_default=True, help="full (squashed), square or centre-N.")
@click.option("--filter", default="area", show_default=True, help="Resize filter: area, bilinear, bicubic, lanczos.")
@click.option("--zoom", type=click.IntRange(1, 32), help="Enlarge cells so many times.  [default: to 160 pixels]")
@quiet_option
def show_command(
    pictures: tuple[str, ...],
    codecs: str,
    budgets: str,
    out: Path,
    size: int,
    crop: str,
    filter: str,
    zoom: int | None,
    quiet: bool,
) -> None:
    """Write a contact sheet of picture files at equal bytes, and print its table.

    Each codec is tuned to the most that fits each budget; what fits at a smaller size only is downscaled first, and
    says so. PICTURE may also be sample:N, one of facebench's 256 synthetic faces.
    """
    from dataclasses import replace

    import numpy as np
    from tqdm import tqdm

    from facebench.data.preprocess import Preprocessing
    from facebench.errors import SettingError
    from facebench.operating_point import budget_points, curve_label, parse_budgets, parse_points
    from facebench.paths import atomic_path
    from facebench.report.budget_cells import Sheet, budget_cells
    from facebench.report.contact_sheet import Layout, chosen_zoom, sheet_markdown, sheet_png

    if out.suffix.lower() != ".png":
        raise SettingError(f"--out {out}: the sheet is a PNG file, name it {out.with_suffix('.png')}")
    if out.resolve() in [Path(name).resolve() for name in pictures]:
        raise SettingError(f"--out {out} is one of the pictures: name another file")
    registry = registry_with_notes(quiet)
    wanted = parse_budgets(budgets)
    if any(point.budget is not None for point in parse_points(codecs, registry)):
        raise SettingError(f"--codecs {codecs}: leave the budget after @ out; --bytes says what each codec gets")
    points = budget_points(codecs, registry, wanted)
    columns = list(dict.fromkeys(replace(point, budget=None) for point in points))
    names = [curve_label(registry.codecs[point.codec], point) for point in columns]
    preprocessing = Preprocessing(crop, size, filter)
    zoom = zoom or chosen_zoom(size)
    Layout.of(len(pictures), size, names, wanted, zoom)  # before the work: is the sheet too large?
    originals = np.stack([preprocessing.picture(_opened(name), name) for name in pictures])
    with tqdm(points, desc="encoding", unit="cell", disable=quiet, delay=1, leave=False) as bar:
        made = {point: budget_cells(originals, point, registry) for point in bar}
    cells = [
        [[made[replace(column, budget=budget)][index] for column in columns] for budget in wanted]
        for index in range(len(pictures))
    ]
    shown = [name if name.startswith(_SAMPLE) else Path(name).name for name in pictures]
    sheet = Sheet(shown, originals, preprocessing.describe(), names, wanted, cells)
    with atomic_path(out) as path:
        path.write_bytes(sheet_png(sheet, zoom))
    click.echo(sheet_markdown(sheet))
    note(f"written: {out}", quiet)


def _opened(name: str) -> NDArray[np.uint8]:
    """Return the picture file, or the sample ``sample:N``, as (H, W, 3) uint8 RGB."""
    from facebench.data.samples import COUNT, open_source
    from facebench.data.source import decode_picture
    from facebench.errors import DataError

    if not name.startswith(_SAMPLE):
        if not Path(name).is_file():
            what = "is a folder" if Path(name).is_dir() else "does not exist"
            raise DataError(f"{name} {what}: name picture files, or {_SAMPLE}0 to {_SAMPLE}{COUNT - 1}")
        return decode_picture(Path(name).read_bytes(), name)
    number = name.removeprefix(_SAMPLE)
    if not number.isdecimal() or int(number) >= COUNT:
        raise DataError(f"no picture {name}: samples are sample:0 to sample:{COUNT - 1}")
    return open_source(None, "all").read(int(number))
