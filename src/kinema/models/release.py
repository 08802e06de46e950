"""From a finished training run to a file of weights and its card."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kinema.errors import ConfigError
from kinema.models.weights import export_weights


def export_run(
    network: torch.nn.Module,
    checkpoint: Path,
    target: Path,
    facts: dict[str, object],
    bases: Sequence[Path] = (),
) -> str:
    """Export the averaged parameters of a checkpoint.

    Args:
        network: of the architecture that was trained; takes the parameters.
        checkpoint: the run's `last.pt`.
        target: the `.safetensors` file; a `.json` card is written beside it.
        facts: for the card, beside what the checkpoint knows.
        bases: weights of systems that this one contains, shipped beside these; see
            `export_weights`.

    Returns:
        the fingerprint, as hexadecimal digits.

    Raises:
        ConfigError: no checkpoint, that of another network, or layers whose sums could leave the
            exact range.
    """
    content = _read(checkpoint)
    try:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(content["ema"][name])
    except (KeyError, RuntimeError) as error:
        raise ConfigError(f"{checkpoint} is of another network: {error}") from error
    fingerprint = export_weights(network, target, bases).hex()
    state = content["state"]
    card = {
        "fingerprint": fingerprint,
        "parameters": sum(p.numel() for p in network.parameters()),
        "training_minutes": round(state["seconds"] / 60, 1),
        "stage": state["stage"],
        "step": state["step"],
        **facts,
    }
    target.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return fingerprint


def _read(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's content; loading one runs no code."""
    if not checkpoint.is_file():
        raise ConfigError(f"{checkpoint} does not exist: nothing to export")
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{checkpoint} is no checkpoint: {error}") from error
    return content
