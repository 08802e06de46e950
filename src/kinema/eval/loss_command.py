"""`kinema bench --loss`: what was asked for on the command line, as settings of the benchmark."""

from collections.abc import Callable, Mapping
from typing import Any

from kinema.errors import ConfigError
from kinema.eval.bench import BenchProgress
from kinema.eval.loss import LossConfig, run_losses
from kinema.eval.loss_results import format_losses

_FOREIGN = ("preset", "structure", "intra_period", "metrics", "reference", "fresh")
_STANDARD = ("modern", "all-intra", "low-delay", None, "", False)


def report_losses(options: Mapping[str, Any], on_progress: Callable[[BenchProgress], None]) -> str:
    """Run the loss benchmark and return its tables.

    Args:
        options: of the command, by name; lists are texts with commas.
        on_progress: as `run_losses`.

    Raises:
        ConfigError: an option is wrong or has no meaning here.
        KinemaError: as `run_losses`.
    """
    for name in _FOREIGN:
        if options[name] not in _STANDARD:
            flag = name.replace("_", "-")
            raise ConfigError(f"--loss has no --{flag}: its structure is low delay, --refresh")
    crfs = _numbers(options["crf_points"] or "30", "--crf-points")
    if len(crfs) != 1:
        raise ConfigError(f"--crf-points: found {len(crfs)} values, expected 1 with --loss")
    refreshes = _numbers(options["refresh"], "--refresh")
    if any(refresh % 1 for refresh in refreshes):
        raise ConfigError(f"--refresh: found {options['refresh']!r}, expected whole numbers")
    config = LossConfig(
        clips=tuple(options["clips"]),
        models=_names(options["models"]),
        anchors=_names(options["anchors"]),
        refreshes=tuple(int(refresh) for refresh in refreshes),
        num_journeys=options["journeys"],
        seed=options["seed"],
        crf=crfs[0],
        num_frames=options["frames"],
        num_threads=options["threads"],
        device=options["device"],
        json_path=options["json_file"],
        plot_path=options["plot"],
        export_dir=options["export"],
    )
    return format_losses(run_losses(config, on_progress))


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in text.split(",") if name)


def _numbers(text: str, flag: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{flag}: found {text!r}, expected numbers with commas between"
        ) from error
