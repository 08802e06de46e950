"""Trained weights to their grids, so that what layers give changes least; the end of a run.

Rounding each weight to the nearest step forgets that inputs are alike: 64 samples of a smooth block
add their weights' errors up. Here each weight in turn is rounded, and those of its layer that are
still free make up for the error, as far as the inputs move together; the bias takes the mean.

Source: GPTQ (arXiv 2210.17323), section 3, after Optimal Brain Surgeon. Deviations: the grid is
that of the layer (`GridConv.shift`); covariances instead of second moments, since the bias takes
the mean; only 1x1 convolutions in one group, depthwise ones having 16 bits.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinema.nn.exact import BIAS_UNIT, Arithmetic, GridConv, set_arithmetic
from kinema.train.checkpoint import Ema

NUM_LOOKS = 12  # batches from which inputs are known
DAMPING = 0.01  # of the mean variance, added to all: inputs are never known that well


class _Statistics:
    """Mean and covariance of a layer's inputs."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.total = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, channels, dtype=torch.float64)

    def __call__(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Look at the input of one call, (B, C, H, W)."""
        rows = inputs[0].detach().permute(0, 2, 3, 1).flatten(0, 2).float()
        self.count += len(rows)
        self.total += rows.sum(0).double().cpu()
        self.squares += (rows.T @ rows).double().cpu()

    def mean(self) -> Tensor:
        return self.total / self.count

    def covariance(self) -> Tensor:
        """With damping, so that it can be inverted."""
        mean = self.mean()
        spread = self.squares / self.count - torch.outer(mean, mean)
        return spread + torch.eye(len(mean)) * (DAMPING * spread.diagonal().mean() + 1e-6)


@torch.no_grad()
def round_average(model: nn.Module, ema: Ema, use: Callable[[nn.Module], object]) -> int:
    """Round the averaged parameters of a run.

    Args:
        model: what was trained; it stays as it is.
        ema: its average, which is replaced where the model's parameters take gradients.
        use: runs a model on a batch of what it is for.

    Returns:
        the number of layers that were rounded.
    """
    twin = copy.deepcopy(model)
    for name, parameter in twin.named_parameters():
        parameter.copy_(ema.values[name])

    count = round_weights(twin, lambda: use(twin))
    ema.values = {name: p.detach().clone() for name, p in twin.named_parameters()}
    return count


@torch.no_grad()
def round_weights(model: nn.Module, use: Callable[[], object]) -> int:
    """Bring the layers that are being trained onto their grids, under fake quantisation.

    Args:
        model: its parameters are replaced; those that take no gradients stay as they are.
        use: runs the model on a batch of what it is for; called NUM_LOOKS times.

    Returns:
        the number of layers that were rounded.
    """
    set_arithmetic(model, Arithmetic.FAKE)
    layers = [m for m in model.modules() if isinstance(m, GridConv)]
    chosen = [m for m in layers if m.groups == 1 and m.weight.requires_grad]
    known = {layer: _Statistics(layer.weight.shape[1]) for layer in chosen}
    hooks = [layer.register_forward_pre_hook(seen) for layer, seen in known.items()]
    for _ in range(NUM_LOOKS):
        use()
    for hook in hooks:
        hook.remove()
    used = {layer: seen for layer, seen in known.items() if seen.count}
    for layer, seen in used.items():
        _round(layer, seen)
    return len(used)


def _round(layer: GridConv, seen: _Statistics) -> None:
    before, shift = layer.weight.detach().clone(), layer.shift()
    step = torch.exp2(-shift.double()).cpu()
    free = before[:, :, 0, 0].double().cpu()
    rounded = _round_in_turn(free, step, seen.covariance(), layer.weight_limit)
    layer.weight.copy_(rounded[:, :, None, None])
    coarser = (layer.shift() < shift).nonzero()[:, 0]  # its sums are at their limit
    layer.weight[coarser] = before[coarser]
    moved = before[:, :, 0, 0].double().cpu() - layer.weight[:, :, 0, 0].double().cpu()
    layer.bias.add_((moved @ seen.mean() / BIAS_UNIT).to(layer.bias))


def _round_in_turn(weight: Tensor, step: Tensor, covariance: Tensor, limit: int) -> Tensor:
    """Round columns of `weight` (out, in) to multiples of `step` (out,), errors handed on."""
    left = weight.clone()
    ways = torch.linalg.cholesky(torch.linalg.inv(covariance), upper=True)
    for index in range(weight.shape[1]):
        whole = torch.round(left[:, index] / step).clamp(-limit, limit)
        error = (left[:, index] - whole * step) / ways[index, index]
        left[:, index:] -= torch.outer(error, ways[index, index:])
        left[:, index] = whole * step
    return left
