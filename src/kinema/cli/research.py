"""The commands of research: `bench` and `train`."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinema.cli.options import Device, Json
from kinema.codec.target import parse_amount

if TYPE_CHECKING:
    from kinema.eval.bench import BenchProgress


def bench(
    context: typer.Context,
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...")],
    models: Annotated[str | None, typer.Option(help="Names, comma-separated; '' for none.")] = None,
    anchors: Annotated[
        str | None, typer.Option(help="x264,x265-slow,svtav1-6,vvenc-medium ...; '' for none.")
    ] = None,
    preset: Annotated[str, typer.Option(help="modern or paper.")] = "modern",
    structure: Annotated[str, typer.Option(help="Delay class of all codecs.")] = "all-intra",
    intra_period: Annotated[int | None, typer.Option(help="-1: one intra frame.")] = None,
    frames: Annotated[int, typer.Option(help="Of each clip, at most.")] = 96,
    crf_points: Annotated[str | None, typer.Option(help="Of our models, comma-separated.")] = None,
    metrics: Annotated[str, typer.Option(help="Extra: psnr_rgb,ms_ssim_y,vmaf.")] = "",
    reference: Annotated[str | None, typer.Option(help="The codec compared with.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of every codec.")] = 2,
    device: Device = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not use cached anchors.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Results; - for standard output.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Curves, .png .pdf .svg.")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for CSV and for CompressAI's and DCVC's layouts.")
    ] = None,
    effort: Annotated[int, typer.Option(help="Of our encoders, see `kinema encode`.")] = 0,
    loss: Annotated[bool, typer.Option("--loss", help="Lose packets on the way.")] = False,
    refresh: Annotated[str, typer.Option(help="--loss: frames per intra frame.")] = "4,8,16",  # noqa: ARG001  # in context
    journeys: Annotated[int, typer.Option(help="--loss: how often clips are sent.")] = 4,  # noqa: ARG001  # in context
    seed: Annotated[int, typer.Option(help="--loss: source of chance.")] = 0,  # noqa: ARG001  # in context
) -> None:
    """Compare with x264, x265, SVT-AV1 and VVenC; scores come from decoded files."""
    if loss:
        from kinema.eval.loss_command import report_losses

        print(report_losses(context.params, _show_point))
        return
    from kinema.eval.bench import DEFAULT_CRFS, BenchConfig, run_bench
    from kinema.eval.reports import format_report
    from kinema.eval.results import result_document

    points = _names(crf_points)
    is_printed = json_file == Path("-")
    result = run_bench(
        BenchConfig(
            clips=tuple(clips),
            models=_names(models),
            anchors=_names(anchors),
            preset=preset,
            structure=structure,
            intra_period=intra_period,
            num_frames=frames,
            num_threads=threads,
            crfs=tuple(parse_amount(p, "--crf-points") for p in points) if points else DEFAULT_CRFS,
            reference=reference,
            extra_metrics=_names(metrics) or (),
            effort=effort,
            device=device,
            use_cache=not fresh,
            json_path=None if is_printed else json_file,
            plot_path=plot,
            export_dir=export,
        ),
        _show_point,
    )
    if is_printed:
        print(json.dumps(result_document(result), default=str))
    else:
        print(format_report(result))


def train(
    config: Annotated[str, typer.Argument(help="A recipe: intra-small, ...")],
    data: Annotated[list[Path] | None, typer.Option(help="Folder of videos or frames.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run.")] = False,
    budget: Annotated[float | None, typer.Option(help="Stop after this many minutes.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    start_from: Annotated[Path | None, typer.Option(help="parameters.safetensors.")] = None,
    scale: Annotated[float, typer.Option(help="Times the steps of every stage.")] = 1.0,
    batch: Annotated[int, typer.Option(help="Times the batch of every stage; for GPUs.")] = 1,
    seed: Annotated[int, typer.Option(help="Source of chance.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write weights here at the end.")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; stop and resume as you like."""
    from kinema.train.loop import TrainConfig, Trainer

    run_dir = run or Path("runs") / config
    trainer = Trainer(
        TrainConfig(
            recipe=config,
            data=tuple(data or ()),
            run_dir=run_dir,
            resume=resume,
            start_from=start_from,
            budget_minutes=math.inf if budget is None else budget,
            scale=scale,
            batch=batch,
            seed=seed,
        ),
        lambda line: print(line, flush=True, file=sys.stderr if as_json else sys.stdout),
    )
    state = trainer.run()
    figures: dict[str, object] = {
        "run": str(run_dir),
        "stage": state.stage,
        "step": state.step,
        "minutes": round(state.seconds / 60, 3),
        "skipped": state.skipped,
    }
    if export is not None and trainer.group.is_first:
        from kinema.models.release import export_run  # here: training needs no entropy coder

        network = trainer.recipe.build()
        fingerprint = export_run(network, trainer.path, export, {"recipe": config})
        figures |= {"file": str(export), "weights": fingerprint}
        if not as_json:
            print(f"{export}: {fingerprint}")
    if as_json and trainer.group.is_first:
        print(json.dumps(figures))


def _show_point(progress: "BenchProgress") -> None:
    if sys.stderr.isatty():
        print(f"{progress.num_done}/{progress.num_total} {progress.what}", file=sys.stderr)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in text.split(",") if name)
