"""Layers whose results are the same bits on every machine.

An activation is a whole number in [-2048, 2047], held in a floating-point tensor. Weights lie on a
power-of-two grid that each output channel chooses for itself, as fine as possible while every
partial sum stays below 2**24 grid steps. Such sums are exact in fp32 whatever the order of
summation, so instruction set, thread count, memory layout and device cannot change the result
(design: exact arithmetic). Only convolutions of two kinds exist, 1x1 and depthwise 3x3, because
they never take a Winograd or FFT shortcut that would leave the grid.

The same module trains in float (clamped, not rounded), trains under fake quantisation (rounded,
straight-through gradients) and runs frozen (weights already on their grid).
"""

from enum import Enum
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.byte_products import ByteProduct, can_multiply_bytes

LOW, HIGH = -2048, 2047  # activations: 12 bits
BIAS_UNIT = 64.0  # a bias parameter of 1.0 means 64 activation steps: it trains like a weight
MAX_SUM = 2**24  # partial sums beyond this are not exact in fp32
MIN_SHIFT, MAX_SHIFT = -12, 20  # coarsest and finest weight grid: 2**12, 2**-20
POINTWISE_LIMIT, DEPTHWISE_LIMIT = 127, 32767  # largest weight, in grid steps


class Arithmetic(Enum):
    """How a grid layer computes."""

    FLOAT = "float"  # training: clamped, not rounded
    FAKE = "fake"  # last training stage: rounded, gradients pass straight through
    FROZEN = "frozen"  # decoding: weights lie on their grid, results are exact


class Activation(Enum):
    """What follows the sum: only operations that are exact and cheap."""

    CLIP = "clip"  # round, clamp to [LOW, HIGH]
    RELU = "relu"  # round, clamp to [0, HIGH]
    LINEAR = "linear"  # round only: for sums that are added, or read as parameters


class _StraightThroughRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        del ctx
        return torch.round(x)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        del ctx
        return gradients[0]


def round_through(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes as if nothing had happened."""
    if not x.requires_grad:
        return torch.round(x)
    return _StraightThroughRound.apply(x)  # type: ignore[no-untyped-call]  # torch's own


class GridLayer(nn.Module):
    """Base of every layer that has an arithmetic: switched for a whole model at once.

    Attributes:
        tensor_names: what `grid_tensors` gives and `load_grid_tensors` takes.
    """

    tensor_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.arithmetic = Arithmetic.FLOAT

    def on_grid(self, x: Tensor) -> Tensor:
        """Round `x` to whole activation steps, as this layer's arithmetic demands."""
        return x if self.arithmetic is Arithmetic.FLOAT else round_through(x)

    def grid_tensors(self) -> dict[str, Tensor]:
        """Own parameters as whole numbers, for the file of weights."""
        return {}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number parameters and run frozen from now on.

        Raises:
            ConfigError: a tensor has another type, shape or range than this layer's.
        """
        del tensors
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameters, by name, that training can go on from where `grid_tensors` left off."""
        return {name: tensors[name] for name in self.tensor_names}


class GridConv(GridLayer):
    """A 1x1 or a depthwise 3x3 convolution on the activation grid.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W); whole numbers in [-2048, 2047] except
    for `Activation.LINEAR`, whose results are whole numbers below 2**24 grid steps of the weights.
    """

    tensor_names = ("weight", "bias", "shift")

    def __init__(  # noqa: PLR0913  # a layer's shape, all of it by name
        self,
        in_channels: int,
        out_channels: int,
        activation: Activation = Activation.CLIP,
        *,
        depthwise: bool = False,
        groups: int = 1,
        positive_input: bool = False,
        fraction_bits: int = 0,
        gain: float = 1.0,
    ) -> None:
        """Create the layer.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output; equal to `in_channels` if depthwise.
            activation: what follows the sum.
            depthwise: 3x3 per channel with zero padding instead of 1x1 across channels.
            groups: of a 1x1 convolution: that many, side by side, each for its part of the
                channels.
            positive_input: the input is never negative (it left a RELU); partial sums then stay
                between the sums of positive and of negative weights: one more bit for the weights.
            fraction_bits: results are multiples of 2**-fraction_bits, if the activation is linear.
            gain: factor on the initial weights; 0 starts the layer as nothing.
        """
        super().__init__()
        self.activation, self.fraction_bits = activation, fraction_bits
        self.positive_input = positive_input
        self.depthwise = depthwise
        self.groups = in_channels if depthwise else groups
        kernel, fan_in = (3, 9) if depthwise else (1, in_channels // groups)
        shape = (out_channels, in_channels // self.groups, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) * gain * (1.0 / fan_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_limit = DEPTHWISE_LIMIT if depthwise else POINTWISE_LIMIT
        self._in_bytes: ByteProduct | None = None  # another way to the same frozen sum

    def shift(self) -> Tensor:
        """Exponent of each output channel's weight grid: a step is 2**-shift; (out_channels,)."""
        weight = self.weight.detach().double().flatten(1)
        positive, negative = weight.clamp(min=0).sum(1), (-weight).clamp(min=0).sum(1)
        total = torch.maximum(positive, negative) if self.positive_input else positive + negative
        reach = total * -LOW + self.bias.detach().double().abs() * BIAS_UNIT
        # Rounding may lift each weight by half a step: (fan_in + 1) / 2 steps of slack.
        slack = weight.shape[1] * -LOW // 2 + 1
        room = torch.log2((MAX_SUM - 1 - slack) / reach.clamp(min=1e-9))
        peak = torch.log2(self.weight_limit / weight.abs().amax(1).clamp(min=1e-9))
        return torch.minimum(room, peak).floor().clamp(MIN_SHIFT, MAX_SHIFT)

    def grid_tensors(self) -> dict[str, Tensor]:
        """Weights and bias as whole numbers of grid steps, and the shift of each channel.

        Returns:
            `weight` int8 (int16 if depthwise), in the layer's shape; `bias` int32 and `shift`
            int8, (out_channels,).

        Raises:
            ConfigError: a channel's partial sums could leave the exact range of fp32.
        """
        shift = self.shift()
        scale = torch.exp2(shift)
        weight = torch.round(self.weight.detach().double() * scale.view(-1, 1, 1, 1))
        bias = torch.round(self.bias.detach().double() * BIAS_UNIT * scale)
        check_bound(weight, bias, positive_input=self.positive_input)
        return {
            "weight": weight.to(self._small),
            "bias": bias.to(torch.int32),
            "shift": shift.to(torch.int8),
        }

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number parameters and run frozen from now on.

        Raises:
            ConfigError: a tensor has another type or shape, or partial sums could leave the exact
                range of fp32.
        """
        weight = whole_tensor(tensors, "weight", self._small, self.weight.shape).double()
        bias = whole_tensor(tensors, "bias", torch.int32, self.bias.shape).double()
        shift = whole_tensor(tensors, "shift", torch.int8, self.bias.shape).double()
        if not bool(((shift >= MIN_SHIFT) & (shift <= MAX_SHIFT)).all()):
            raise ConfigError(f"weight grids outside 2**{-MIN_SHIFT} to 2**{-MAX_SHIFT}")
        check_bound(weight, bias, positive_input=self.positive_input)
        step = torch.exp2(-shift)
        if self.groups == 1 and can_multiply_bytes():
            self._in_bytes = ByteProduct(tensors["weight"].flatten(1), bias, step)
        weight = weight * step.view(-1, 1, 1, 1)
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter((bias * step).float(), requires_grad=False)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weight and bias as training has them."""
        step = torch.exp2(-tensors["shift"].float())
        weight = tensors["weight"] * step.view(-1, 1, 1, 1)
        return {"weight": weight, "bias": tensors["bias"] * step / BIAS_UNIT}

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, round and clamp."""
        if self.arithmetic is Arithmetic.FROZEN:
            if self._in_bytes is not None and self._in_bytes.takes(x):
                return self._finish(self._round(self._in_bytes(x)))
            return self._finish(self._round(self._sum(x, self.weight, self.bias)))
        weight: Tensor = self.weight
        bias = self.bias * BIAS_UNIT
        if self.arithmetic is Arithmetic.FAKE:
            step = torch.exp2(-self.shift()).to(weight.dtype)
            wide = step.view(-1, 1, 1, 1)
            weight = round_through(weight / wide) * wide
            bias = round_through(bias / step) * step
            return self._finish(self._round(self._sum(x, weight, bias)))
        return self._finish(self._sum(x, weight, bias))

    @property
    def _small(self) -> torch.dtype:
        return torch.int16 if self.depthwise else torch.int8

    def _sum(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padding = 1 if self.depthwise else 0
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), 1, padding, 1, self.groups)

    def _round(self, x: Tensor) -> Tensor:
        if self.fraction_bits:
            return round_through(x * 2.0**self.fraction_bits) * 2.0**-self.fraction_bits
        return round_through(x) if x.requires_grad else x.round_()

    def _finish(self, x: Tensor) -> Tensor:
        if self.activation is Activation.LINEAR:
            return x
        low = 0 if self.activation is Activation.RELU else LOW
        return clip(x, low) if x.requires_grad else x.clamp_(low, HIGH)


def clip(x: Tensor, low: int = LOW) -> Tensor:
    """Clamp to [low, HIGH]: `torch.clamp`, whose gradient would take five times as long."""
    return F.hardtanh(x, low, HIGH)


def add_clipped(x: Tensor, update: Tensor) -> Tensor:
    """Add a linear layer's result to the stream it belongs to; both (B, C, H, W) on the grid.

    Without gradients the sum takes the memory of `update`.
    """
    if x.requires_grad or update.requires_grad:
        return clip(x + update)
    return update.add_(x).clamp_(LOW, HIGH)


def whole_tensor(
    tensors: dict[str, Tensor], name: str, dtype: torch.dtype, shape: torch.Size
) -> Tensor:
    """Fetch a tensor from a file of weights, whatever that file holds.

    Raises:
        ConfigError: it is missing, or its type or shape is not the expected one.
    """
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype is not dtype or tensor.shape != shape:
        found = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
        raise ConfigError(f"{name}: found {found}, expected {dtype} {tuple(shape)}")
    return tensor


def check_bound(weight: Tensor, bias: Tensor, *, positive_input: bool) -> None:
    """Refuse whole-number parameters whose partial sums could pass 2**24.

    Args:
        weight: (out_channels, ...) whole numbers, in grid steps.
        bias: (out_channels,), in grid steps.
        positive_input: activations lie in [0, 2047] instead of [-2048, 2047].

    Raises:
        ConfigError: with the worst channel and its bound.
    """
    flat = weight.flatten(1)
    positive, negative = flat.clamp(min=0).sum(1), (-flat).clamp(min=0).sum(1)
    total = torch.maximum(positive, negative) if positive_input else positive + negative
    reach = total * -LOW + bias.abs()
    worst = int(reach.argmax())
    if not bool(reach[worst] < MAX_SUM):
        raise ConfigError(
            f"channel {worst}: partial sums reach {float(reach[worst]):.0f}, exact below {MAX_SUM}"
        )


def set_arithmetic(model: nn.Module, arithmetic: Arithmetic) -> None:
    """Switch every grid layer of `model`."""
    for module in model.modules():
        if isinstance(module, GridLayer):
            module.arithmetic = arithmetic
