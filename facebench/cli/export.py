"""``facebench export``: a run's curves as files of other tools."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["compressai", "codec-compare"]), required=True)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE_OR_FOLDER",
    help="Folder, or a .json file for one curve.",
)
@click.option("--curve", help="Only this curve, named as the leaderboard names it: jpeg:headerless=true.")
@click.option("--face", is_flag=True, help="Scores over face pixels only (compressai; codec-compare has both).")
def export_command(runs: tuple[Path, ...], form: str, out: Path, curve: str | None, face: bool) -> None:
    """Write the curves of one or more results folders for another tool to read.

    compressai: its results JSON, one file per curve, for its plot: python -m compressai.utils.plot -f OUT/*.json
    codec-compare: a batch per curve with one row per picture, and batches.json, which its viewer opens:
    index.html?load=OUT/batches.json. No pictures are written.
    """
    from facebench.analysis.merge import merge_runs
    from facebench.cli.options import note
    from facebench.exchange.documents import write_export
    from facebench.store import read_run

    run = merge_runs([read_run(folder) for folder in runs])
    if form == "compressai":
        from facebench.exchange.compressai import results_export

        export = results_export(run, mask="face" if face else "none")
    else:
        from facebench.exchange.codec_compare import batches_export

        export = batches_export(run)
    if curve is not None:
        export = export.of_curve(curve)
    files = write_export(export, out)
    for line in export.notes:
        note(line)
    click.echo("\n".join(str(file) for file in files))
