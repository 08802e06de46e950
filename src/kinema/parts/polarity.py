"""Linear attention that keeps signs apart, over all cells of a reference; exact.

    query --- asked --- positive, negative parts --- powers ---.
    reference --- keys --- positive, negative parts --- powers --- sums over all cells
              '-- values, two halves ------------------------------'        |
    same signs --- first half, opposite signs --- second half --- times gate --- found

A part counts as its power 1 + 2 sigmoid(w), learned for each channel: what is strong stands out, as
a softmax would have it, though nothing but sums over cells is kept of a reference. Frozen powers
come from whole-number tables; sums are whole numbers below 2**53 in fp64, and every quotient is
rounded once.

Source: Uni-LVC (arXiv 2603.05756), polarity-aware linear cross-attention; PolaFormer (ICLR 2025).
Deviations: powers up to 3 instead of 5, so that sums stay exact; a depthwise 3x3 convolution of the
keys instead of learned absolute positions; no path for values that are not aligned.
"""

import math

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    add_clipped,
    round_through,
    whole_tensor,
)
from kinema.parts.powers import power_table, replace_through

HEAD_CHANNELS = 16
MOST_POWER = 2.0  # above 1
POWER_PARTS = 16  # frozen powers are multiples of 1/16
LOG_PARTS = 64  # of an octave, in tables of logarithms
ONE = 256  # activation steps whose power is 1
TOP_OCTAVE = 8  # powers end at 2**8
POWER_BITS = 12  # after the point, of powers in the tables
MEAN_BITS = 4  # that means over cells lose
GATE_ONE = 1024.0  # activation steps of a gate that lets everything pass


class PolarityAttention(GridLayer):
    """What a reference as a whole answers to each cell of a stream.

    Shape: (B, P, h, w), (B, M, h, w) -> (B, V, h, w), all on the grid; V = heads * 16.
    """

    tensor_names = ("powers",)

    def __init__(self, stream_channels: int, reference_channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise ConfigError(f"found {heads} heads; expected 1 or more")
        self.heads, width = heads, heads * HEAD_CHANNELS
        self.ask = GridConv(stream_channels, 2 * width)
        self.offer = GridConv(reference_channels, 2 * width)
        self.place = GridConv(width, width, Activation.LINEAR, depthwise=True, gain=0.3)
        self.powers = nn.Parameter(torch.zeros(width))

    def forward(self, stream: Tensor, reference: Tensor) -> Tensor:
        """Ask a reference."""
        asked, gate = self.ask(stream).float().chunk(2, 1)
        keys, values = self.offer(reference).float().chunk(2, 1)
        with torch.autocast(stream.device.type, enabled=False):
            keys = add_clipped(keys, self.place(keys))
            found = self._sum_up(asked, keys, values)
            gated = found * (gate + GATE_ONE) * (1 / GATE_ONE / 2)
        return self.on_grid(gated).clamp(LOW, HIGH)

    def grid_tensors(self) -> dict[str, Tensor]:
        """Powers in sixteenths: `powers` (V,) int16."""
        return {"powers": torch.round(self._powers().detach() * POWER_PARTS).to(torch.int16)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number powers and run frozen from now on.

        Raises:
            ConfigError: another type or shape, or powers that are not between 1 and 3.
        """
        powers = whole_tensor(tensors, "powers", torch.int16, self.powers.shape)
        least, most = POWER_PARTS, round((1 + MOST_POWER) * POWER_PARTS)
        if int(powers.min()) < least or int(powers.max()) > most:
            raise ConfigError(f"powers: found {int(powers.min())} to {int(powers.max())}")
        self.powers = nn.Parameter(powers.float() / POWER_PARTS, requires_grad=False)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Powers as training has them."""
        share = (tensors["powers"] / POWER_PARTS - 1) / MOST_POWER
        return {"powers": torch.logit(share, eps=1e-3)}

    def _powers(self) -> Tensor:
        """From 1 to 3, (V,)."""
        if self.arithmetic is Arithmetic.FROZEN:
            return self.powers
        return 1 + MOST_POWER * torch.sigmoid(self.powers.float())

    def _sum_up(self, asked: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Weighted means of both halves of the values: (B, V, h, w)."""
        size = asked.shape[2:]
        q, k = (
            self._by_head(self._raise(parts)) for parts in (self._signed(asked), self._signed(keys))
        )
        v = values.double().reshape(len(values), self.heads, HEAD_CHANNELS, -1)
        first, second = v.chunk(2, 2)
        opposite = q.roll(HEAD_CHANNELS, 2)
        found = [self._answer(one, k, half) for one, half in ((q, first), (opposite, second))]
        return torch.cat(found, 2).float().reshape(len(asked), -1, *size)

    def _answer(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mean of values (B, heads, 8, cells), for each query (B, heads, 32, cells)."""
        count = torch.full((), k.shape[3] << MEAN_BITS, dtype=torch.float64, device=k.device)
        sums = self.on_grid(torch.matmul(v, k.transpose(2, 3)) / count)
        weights = self.on_grid(k.sum(3, keepdim=True) / count)
        above, below = torch.matmul(sums, q), (weights * q).sum(2, keepdim=True)
        mean = above / torch.where(below > 0, below, torch.ones_like(below))
        return self.on_grid(torch.where(below > 0, mean, torch.zeros_like(mean)))

    @staticmethod
    def _signed(x: Tensor) -> Tensor:
        """Positive, then negative parts of (B, V, h, w): (B, 2, V, cells), 0 or more."""
        return torch.stack([x, -x], 1).clamp(min=0).flatten(3)

    def _by_head(self, parts: Tensor) -> Tensor:
        """(B, 2, V, cells) to (B, heads, 2 * 16, cells)."""
        split = parts.reshape(len(parts), 2, self.heads, HEAD_CHANNELS, -1)
        return split.transpose(1, 2).flatten(2, 3)

    def _raise(self, parts: Tensor) -> Tensor:
        """Powers of parts (B, 2, V, cells), fp64, in steps of 2**-POWER_BITS of a power of ONE."""
        powers = self._powers()[:, None]
        if self.arithmetic is Arithmetic.FROZEN:
            return exact_powers(parts, torch.round(powers * POWER_PARTS).long())
        base = (parts * (1 / ONE)).clamp(min=2.0**-16)
        free = (base**powers).clamp(max=2.0**TOP_OCTAVE).double() * 2.0**POWER_BITS
        free = torch.where(parts > 0, free, torch.zeros_like(free))
        if self.arithmetic is Arithmetic.FLOAT:
            return free
        whole = round_through(powers * POWER_PARTS).detach().long()
        return replace_through(free, exact_powers(round_through(parts).detach(), whole))


def exact_powers(parts: Tensor, powers: Tensor) -> Tensor:
    """(parts / ONE) to the powers, from tables.

    Args:
        parts: (..., V, cells), whole numbers 0 to 2048.
        powers: (V, 1) int64, in 1/POWER_PARTS, 1 to 3.

    Returns:
        fp64 whole numbers in steps of 2**-POWER_BITS, up to 2**TOP_OCTAVE; 0 stays 0.
    """
    logs = _log_table(parts.device)
    exponent = logs[parts.long()] * powers  # in 1/POWER_PARTS of what the table counts
    lowest = -(POWER_BITS + 1) * LOG_PARTS
    index = torch.div(exponent + POWER_PARTS // 2, POWER_PARTS, rounding_mode="floor")
    index = index.clamp(lowest, TOP_OCTAVE * LOG_PARTS) - lowest
    table = power_table(lowest, TOP_OCTAVE * LOG_PARTS, LOG_PARTS, POWER_BITS, parts.device)
    raised = table.index_select(0, index.flatten()).view(index.shape) * 2.0**POWER_BITS
    return torch.where(parts > 0, raised, torch.zeros_like(raised))


def _log_table(device: torch.device) -> Tensor:
    """Logarithms of 0 (as if 1) to 2048, over ONE, to the base of two, in 1/LOG_PARTS: int64."""
    middle = round(math.log2(ONE)) * LOG_PARTS
    entries = [(max(x, 1) ** LOG_PARTS).bit_length() - 1 - middle for x in range(2049)]
    return torch.tensor(entries, dtype=torch.int64, device=device)
