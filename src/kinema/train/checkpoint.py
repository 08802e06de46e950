"""The state of a run: saved whole, renamed into place, resumed as if nothing had happened."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import GridLayer


class Ema:
    """Exponential moving average of parameters, by name; what is shipped."""

    def __init__(self, model: nn.Module) -> None:
        self.values = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """Move towards the model's parameters: the old average keeps a share of `decay`."""
        own = [self.values[name] for name, _ in model.named_parameters()]
        torch._foreach_lerp_(own, [p.detach() for p in model.parameters()], 1.0 - decay)


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
    for name, layer in model.named_modules():
        if isinstance(layer, GridLayer):
            own = {k: found[f"{name}.{k}"] for k in layer.tensor_names if f"{name}.{k}" in found}
            if own and len(own) == len(layer.tensor_names):
                thawed |= {f"{name}.{k}": tensor for k, tensor in layer.thaw(own).items()}
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
