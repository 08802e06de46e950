"""Options that several commands share."""

from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing target.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads.")]
Start = Annotated[float, typer.Option(help="Begin here, in seconds after the first frame.")]
Frames = Annotated[int | None, typer.Option(help="Stop after this many frames.")]
Workers = Annotated[int | None, typer.Option(help="Divide the work among so many processes.")]
Ray = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Divide it on a Ray cluster: auto, HOST:PORT.")
]
