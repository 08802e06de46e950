"""Sums of frozen 1x1 convolutions as products of bytes, on processors that multiply tiles of them.

An activation plus 2048 is 256 h + l, h in [0, 15] and l in [0, 255], and weights are bytes already.
So two products of bytes, added up in 32-bit integers and scaled by powers of two, give the bits
that fp32 gives (design: exact arithmetic), in little more than half the time where they are large.
Nothing in a file tells how its sums were made.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

_OFFSET, _BYTE = 2048, 8  # what makes activations positive; bits of l
_ADD: tuple[Any, ...] = (1.0, 0, "sum", 1.0, "none", [], "")  # to what is there
_LEAST_PRODUCTS = 80_000_000  # in fewer, cutting activations in bytes takes what is gained


class ByteProduct:
    """The sum of one layer; it never changes, so copies of the layer share it.

    Shape: (B, in_channels, H, W) fp32 -> (B, out_channels, H, W) fp32, channels last in memory.
    """

    def __init__(self, weight: Tensor, bias: Tensor, step: Tensor) -> None:
        """Pack a layer.

        Args:
            weight: (out_channels, in_channels) int8, in steps.
            bias: (out_channels,) whole numbers, in steps.
            step: (out_channels,) powers of two.
        """
        self._layer = (weight, bias, step)
        self._packed = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)
        self._step = step.float()
        self._zero = torch.zeros(len(step), dtype=torch.int64)
        self._bias = (bias.double() * step.double()).float()
        self._offset = (weight.double().sum(1) * -_OFFSET * step.double()).float()
        self._products = weight.numel()

    def __reduce__(self) -> tuple[type["ByteProduct"], tuple[Tensor, Tensor, Tensor]]:
        """What is packed belongs to this processor: another process packs for itself."""
        return ByteProduct, self._layer

    def __deepcopy__(self, memo: object) -> "ByteProduct":
        return self

    def takes(self, x: Tensor) -> bool:
        """Whether `x` is where bytes are multiplied, and enough of it that it pays."""
        positions = x.numel() // x.shape[1]
        plain = x.device.type == "cpu" and x.dtype is torch.float32 and not x.requires_grad
        return plain and positions * self._products >= _LEAST_PRODUCTS

    def __call__(self, x: Tensor) -> Tensor:
        """Add up; activations are whole numbers in [-2048, 2047]."""
        count, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels).to(torch.int16).add_(_OFFSET)
        low = rows.to(torch.uint8)
        high = rows.bitwise_right_shift_(_BYTE).to(torch.uint8)
        weight = (self._packed, self._step, self._zero)
        form = (1.0, 0, torch.float32)  # of the result
        multiply = torch.ops.onednn.qlinear_pointwise
        total = multiply(high, 2.0**_BYTE, 0, *weight, self._offset, *form, "none", [], "")
        total = multiply(low, 1.0, 0, *weight, total, self._bias, *form, *_ADD)
        return total.view(count, height, width, -1).permute(0, 3, 1, 2)


@cache
def can_multiply_bytes() -> bool:
    """Whether this processor has tiles of bytes, and their sums are what they should be."""
    if not torch.cpu._is_amx_tile_supported():  # nothing public tells
        return False
    chance = torch.Generator().manual_seed(1)
    # Extremes only: where bytes are added in 16 bits, they do not fit.
    x = torch.randint(0, 2, (1, 128, 32, 32), generator=chance) * 4095.0 - _OFFSET
    weight = torch.randint(0, 2, (128, 128), generator=chance) * 254.0 - 127
    weight[:2] = weight[:2].abs()
    bias, step = torch.full((128,), 12345.0), torch.full((128,), 2.0**-7)
    total = torch.einsum("oc,bchw->bohw", weight.double(), x.double()) + 12345
    try:
        found = ByteProduct(weight.to(torch.int8), bias, step)(x)
    except (RuntimeError, AttributeError):  # built without, or another version's operators
        return False
    return torch.equal(found.double() * 2**7, total)
