"""The state of a run: saved whole, renamed into place, resumed as if nothing had happened."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import BIAS_UNIT, GridConv
from kinema.parts.priors import PHASE_UNIT, SpatialPrior
from kinema.parts.quality import QualityTable
from kinema.parts.transforms import MATRIX_BITS, Synthesis


class Ema:
    """Exponential moving average of parameters, by name; what is shipped."""

    def __init__(self, model: nn.Module) -> None:
        self.values = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """Move towards the model's parameters: the old average keeps a share of `decay`."""
        for name, parameter in model.named_parameters():
            self.values[name].lerp_(parameter.detach(), 1.0 - decay)


def save_parameters(path: Path, ema: Ema) -> None:
    """Write the averaged parameters alone, fp16: small enough to carry to another machine."""
    save_file({name: value.half().cpu().contiguous() for name, value in ema.values.items()}, path)


def load_parameters(path: Path, model: nn.Module) -> None:
    """Begin a run with the parameters of another; those it does not name stay as they are.

    Args:
        path: what `save_parameters` wrote, or shipped weights, whose whole numbers become
            parameters again.
        model: takes the parameters.

    Raises:
        ConfigError: the file is missing, or none of its parameters fits.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: no parameters to start from")
    values = load_file(path)
    values |= _thaw(values, model)
    num_taken = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in values and values[name].shape == parameter.shape:
                parameter.copy_(values[name])
                num_taken += 1
    if not num_taken:
        raise ConfigError(f"{path} holds no parameter of this model")


def _thaw(values: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Parameters of shipped weights (`kinema.models.weights`); nothing for another kind of file."""
    found = {k.removeprefix("encoder."): v for k, v in values.items() if k.startswith("encoder.")}
    found |= {k.removeprefix("grid."): v for k, v in values.items() if k.startswith("grid.")}
    thawed = dict(found)
    for name, module in model.named_modules():
        if isinstance(module, GridConv) and f"{name}.shift" in found:
            step = torch.exp2(-found[f"{name}.shift"].float())
            thawed[f"{name}.weight"] = found[f"{name}.weight"] * step.view(-1, 1, 1, 1)
            thawed[f"{name}.bias"] = found[f"{name}.bias"] * step / BIAS_UNIT
        elif isinstance(module, QualityTable) and f"{name}.rows" in found:
            stride = (module.num_rows - 1) // (module.knots.shape[0] - 1)
            rows = found[f"{name}.rows"][::stride] * 2.0**-module.fraction_bits
            thawed[f"{name}.knots"] = (torch.log(rows) if module.log else rows) / module.unit
        elif isinstance(module, SpatialPrior) and f"{name}.phase" in found:
            for index, phase in enumerate(found[f"{name}.phase"]):
                thawed[f"{name}.phase.{index}"] = phase / PHASE_UNIT
        elif isinstance(module, Synthesis) and f"{name}.linear" in found:
            thawed[f"{name}.linear"] = found[f"{name}.linear"] * 2.0**-MATRIX_BITS
    return thawed


@dataclass
class RunState:
    """Where a run stands; stored in the checkpoint, field by field."""

    stage: int = 0
    step: int = 0  # within the stage
    seconds: float = 0.0  # of training so far
    skipped: int = 0  # steps left out because the gradient was not finite
    curve: list[dict[str, float]] = field(default_factory=list)


def save(
    path: Path,
    state: RunState,
    model: nn.Module,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    random: np.random.Generator,
) -> None:
    """Write a checkpoint; the last one is replaced only when the new one is complete."""
    content = {
        "state": vars(state),
        "model": model.state_dict(),
        "ema": ema.values,
        "optimizer": optimizer.state_dict(),
        "numpy": random.bit_generator.state,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; tensors go to `device`, states of chance stay on the CPU."""
    content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    content["torch"] = content["torch"].cpu()
    content["cuda"] = [rng.cpu() for rng in content["cuda"]]
    return content


def restore_chance(content: dict[str, Any], random: np.random.Generator) -> None:
    """Put the generators back where they were."""
    random.bit_generator.state = content["numpy"]
    torch.set_rng_state(content["torch"])
    if content["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(content["cuda"])
