"""QCMoE: experts, chosen per position, set the quantisation steps of a latent.

    features h P@1/16 --- gate --- logits E@1/16 --- softmax --- pi
    crf --- table --- L_e, log-steps (E, M)
    step M@1/16 = 2 ** (sum_e pi_e L_e)

Source: quality-conditioned mixture of experts of the dual-domain system (arXiv 2512.10450), whose
layout is unread. How a decoder knows the steps is therefore open. Two ways are known: gates that
look at the latent and at its symbols, one on either side, whose steps differ (A); gates that look
at the entropy parameters, which know the temporal context (B). This is a third one: the gate
looks at what the hyper-prior has decoded. That is sent before the latent, depends on the frame and
its quality and on nothing else, and both sides hold the same whole numbers. So there is one step
map, known exactly before the first symbol of the latent, no second net has to guess it, and a
frame has the same symbols and the same picture whatever its references are. The price: the gate
sees no more of the frame than the hyper-latent tells.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import Activation, Arithmetic, GridConv, GridLayer, whole_tensor
from kinema.parts.powers import power_table, replace_through, softmax_shares
from kinema.parts.quality import MAX_CRF, QualityTable

AMPLITUDE_BITS = 6  # after the point of a frozen step, and so of decoded amplitudes
NUM_ROWS = 64  # of frozen tables: one for each whole crf
OCTAVE_BITS = 12  # after the point of a frozen log-step: finer than what 1/256 crf changes
OCTAVES_PER_NAT = 1 / math.log(2)
LOWEST, HIGHEST = -AMPLITUDE_BITS, 15  # octaves: steps from 1/64, the smallest there is, to 2**15
BALANCE = 0.01  # factor of the load-balance term in a loss (papers on mixtures of experts)


class StepMap(NamedTuple):
    """Quantiser steps, and how they came about.

    Attributes:
        steps: (B, M, h, w) amplitudes; fp64 multiples of 1/64 once frozen.
        weights: pi, (B, E, h, w), 0 to 1: what each expert has to say, for `balance_loss`.
    """

    steps: Tensor
    weights: Tensor


class RisingTable(QualityTable):
    """A quality table whose values never fall as crf rises.

    Values are octaves, from LOWEST to HIGHEST. A knot below an earlier one counts as much as that.
    """

    def _values(self, crf: Tensor) -> Tensor:
        knots = (self.knots.float() * self.unit).clamp(LOWEST, HIGHEST).cummax(0).values
        position = crf.float() / MAX_CRF * (len(knots) - 1)
        distance = position[:, None] - torch.arange(len(knots), device=crf.device)
        near = (1 - distance.abs()).clamp(min=0)  # of the two knots around it, the rest 0
        return (near[:, :, None] * knots).sum(1)

    def grid_tensors(self) -> dict[str, Tensor]:
        """Whole-number rows that never fall: `rows` (num_rows, channels) int32."""
        return {"rows": super().grid_tensors()["rows"].cummax(0).values}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number rows and run frozen from now on.

        Raises:
            ConfigError: another type or shape; rows that fall, or leave LOWEST to HIGHEST.
        """
        shape = torch.Size((self.num_rows, self.knots.shape[1]))
        rows = whole_tensor(tensors, "rows", torch.int32, shape)
        low, high = (bound << OCTAVE_BITS for bound in (LOWEST, HIGHEST))
        if int(rows.min()) < low or int(rows.max()) > high:
            found = f"{int(rows.min())} to {int(rows.max())}"
            raise ConfigError(f"rows: found {found}, expected {low} to {high}")
        if bool((rows[1:] < rows[:-1]).any()):
            raise ConfigError("rows: found some that fall as crf rises, expected none")
        super().load_grid_tensors(tensors)


class QualityExperts(GridLayer):
    """Quantiser steps that follow quality and content.

    Each expert is a log-step per channel that never falls as crf rises; nor does any mixture of
    them, at the same features. All begin alike, so that the steps begin as one per channel; since
    the gate begins as a random one, gradients tell the experts apart. A single expert is a plain
    `QualityTable` and has no gate.
    """

    def __init__(
        self,
        log_steps: Tensor,
        feature_channels: int,
        num_experts: int = 4,
        gate_channels: int = 32,
    ) -> None:
        """Create the layer.

        Args:
            log_steps: (knots, M), natural logarithm of the initial quantiser steps.
            feature_channels: P, of the hyper-prior's features.
            num_experts: E, 1 or more.
            gate_channels: width of the gate.

        Raises:
            ConfigError: there is no expert.
        """
        super().__init__()
        if num_experts < 1:
            raise ConfigError(f"experts: found {num_experts}, expected 1 or more")
        self.num_experts = num_experts
        self.gate: nn.Sequential | None = None
        if num_experts == 1:
            self.table = QualityTable(
                log_steps, log=True, fraction_bits=AMPLITUDE_BITS, num_rows=NUM_ROWS
            )
            return
        self.table = RisingTable(
            log_steps.repeat(1, num_experts) * OCTAVES_PER_NAT,
            unit=OCTAVES_PER_NAT,
            fraction_bits=OCTAVE_BITS,
            num_rows=NUM_ROWS,
        )
        self.gate = nn.Sequential(
            GridConv(feature_channels, gate_channels, Activation.RELU, gain=1.4),
            GridConv(gate_channels, gate_channels, depthwise=True, positive_input=True),
            GridConv(gate_channels, num_experts, Activation.LINEAR),
        )

    def base(self, crf: Tensor) -> Tensor:
        """Steps at the qualities `crf` (B,) where all experts have the same say: (B, M).

        They are known before anything is decoded; at the beginning of training, they are the steps
        of every position.
        """
        if self.gate is None:
            return self.table(crf)
        even = torch.ones(len(crf), self.num_experts, 1, device=crf.device)
        return self._mix(even, crf)[:, :, 0]

    def forward(self, features: Tensor, crf: Tensor) -> StepMap:
        """Steps at every position.

        Args:
            features: h, (B, P, h, w) on the grid.
            crf: (B,) qualities, 0 to 63.
        """
        batch, _, height, width = features.shape
        if self.gate is None:
            steps = self.table(crf)[:, :, None, None].expand(-1, -1, height, width)
            return StepMap(steps, features.new_ones(batch, 1, height, width))
        logits = self.gate(features)
        shares = softmax_shares(logits.float(), (1,), self.arithmetic)
        steps = self._mix(shares.flatten(2), crf)
        return StepMap(steps.view(batch, -1, height, width), shares)

    def _mix(self, shares: Tensor, crf: Tensor) -> Tensor:
        """Steps of mixtures with `shares` (B, E, N): (B, M, N)."""
        with torch.autocast(crf.device.type, enabled=False):
            octaves = self.table(crf).view(len(crf), self.num_experts, -1).transpose(1, 2)
            if self.arithmetic is not Arithmetic.FLOAT:
                octaves = octaves.double()
            shares = shares.to(octaves.dtype)
            mixed = torch.matmul(octaves, shares) / shares.sum(1, keepdim=True)
        if self.arithmetic is Arithmetic.FLOAT:
            return torch.exp2(mixed)
        steps = _look_up(mixed.detach())
        if self.arithmetic is Arithmetic.FROZEN:
            return steps
        return replace_through(torch.exp2(mixed), steps).float()


def _look_up(octaves: Tensor) -> Tensor:
    """2**octaves, LOWEST to HIGHEST, as fp64 multiples of 1/64; any shape."""
    parts = 1 << OCTAVE_BITS
    table = power_table(LOWEST * parts, HIGHEST * parts, parts, AMPLITUDE_BITS, octaves.device)
    index = torch.round(octaves * parts).long() - LOWEST * parts
    return table.index_select(0, index.flatten()).view(index.shape)


def balance_loss(weights: Tensor) -> Tensor:
    """Tell how unevenly experts are used: 1 where all are alike, E where one does everything.

    Source: E sum_e f_e P_e of the Switch Transformer (arXiv 2101.03961), section 2.2. Deviation: in
    a dense mixture nothing is dispatched, so the load f_e is the soft one, the mean of weights that
    are squared and normalised again; P_e is the mean weight. A loss takes BALANCE times this.

    Args:
        weights: pi, (B, E, h, w).

    Returns:
        scalar.
    """
    importance = weights.mean((0, 2, 3))
    load = weights.square()
    load = (load / load.sum(1, keepdim=True)).mean((0, 2, 3))
    return weights.shape[1] * (importance * load).sum()
