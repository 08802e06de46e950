"""The commands that edit without coding anew: `cut` and `concat`."""

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.messages import note, print_figures
from kinema.cli.options import Json, Overwrite


def cut(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT.kin")],
    start: Annotated[
        float, typer.Option(help="Begin at the intra frame at or before this time, in seconds.")
    ] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="End here, in seconds; a frame stays whole.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Refuse a start that is not at an intra frame.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Copy a stretch of a file, audio included, without coding anew."""
    from kinema.codec.cutting import CutSettings, cut_file

    settings = CutSettings(start_s=start, end_s=end, exact=exact, overwrite=overwrite)
    report = cut_file(source, target, settings, note=note)
    print_figures({"file": str(target), **report.figures()}, report.line(target), as_json=as_json)


def concat(
    sources: Annotated[list[Path], typer.Argument(metavar="INPUT.kin...")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT.kin")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put files one after the other, audio included, without coding anew."""
    from kinema.codec.joining import concat_files

    report = concat_files(sources, target, overwrite=overwrite, note=note)
    print_figures({"file": str(target), **report.figures()}, report.line(target), as_json=as_json)
