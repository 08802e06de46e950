"""Quality: one real number, `crf`, from 0 (best) to 63, and everything that follows from it.

A quality table gives each channel a value that is piecewise linear in crf between knots. Frozen
tables are whole numbers, interpolated in whole numbers: every machine gets the same step.
"""

import math

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic, GridLayer, round_through, whole_tensor

MAX_CRF = 63.0
CRF_UNITS = 256  # crf travels in units of 1/256
BEST_LAMBDA, WORST_LAMBDA = 0.6, 0.001  # bit per squared 8-bit sample error, at crf 0 and 63


def rd_lambda(crf: Tensor) -> Tensor:
    """Lagrangian weight of distortion at a quality.

    Args:
        crf: any shape, 0 to 63.

    Returns:
        bits per pixel for one unit of weighted squared error (8-bit samples); log-linear in crf.
    """
    slope = math.log(WORST_LAMBDA / BEST_LAMBDA) / MAX_CRF
    return BEST_LAMBDA * torch.exp(crf * slope)


def shift_crf(crf: Tensor, factor: float) -> Tensor:
    """Qualities at which distortion weighs `factor` times as much, as far as there are such."""
    slope = math.log(WORST_LAMBDA / BEST_LAMBDA) / MAX_CRF
    return (crf + math.log(factor) / slope).clamp(0, MAX_CRF)


def crf_to_units(crf: float) -> int:
    """Quantise a quality to what the bitstream holds: 1/256 steps.

    Raises:
        ConfigError: outside 0 to 63.
    """
    if not 0.0 <= crf <= MAX_CRF:
        raise ConfigError(f"crf {crf:g} is outside 0 to {MAX_CRF:g}")
    return round(crf * CRF_UNITS)


class QualityTable(GridLayer):
    """A value per channel that follows crf.

    In training: `knots` rows of parameters, linear between them.
    Frozen: rows of whole numbers, `fraction_bits` after the point, linear between rows.
    """

    tensor_names = ("rows",)

    def __init__(
        self,
        initial: Tensor,
        *,
        unit: float = 1.0,
        log: bool = False,
        fraction_bits: int = 0,
        num_rows: int | None = None,
    ) -> None:
        """Create the table.

        Args:
            initial: (knots, channels), in the value's unit; its logarithm if `log`.
            unit: value of a parameter of 1.0; keeps learning rates alike.
            log: interpolate the logarithm and give the exponential.
            fraction_bits: the grid of frozen values is 2**-fraction_bits.
            num_rows: rows of the frozen table, 2 or more; as many as knots unless told.
        """
        super().__init__()
        self.knots = nn.Parameter(initial / unit)
        self.unit, self.log = unit, log
        self.fraction_bits = fraction_bits
        self.num_rows = num_rows or initial.shape[0]
        self.register_buffer("rows", None, persistent=False)

    def forward(self, crf: Tensor) -> Tensor:
        """Values at the qualities `crf` (B,): (B, channels), fp32; fp64 once frozen."""
        if self.arithmetic is Arithmetic.FROZEN:
            return self._frozen(crf)
        value = self._values(crf)
        if self.arithmetic is Arithmetic.FAKE:
            return round_through(value * 2.0**self.fraction_bits) * 2.0**-self.fraction_bits
        return value

    def _values(self, crf: Tensor) -> Tensor:
        value = _interpolate(self.knots.float() * self.unit, crf)
        return torch.exp(value) if self.log else value

    def grid_tensors(self) -> dict[str, Tensor]:
        """Whole-number rows, evenly spaced over crf: `rows` (num_rows, channels) int32.

        Rows of a logarithmic table, which are divisors, are 1 or more.
        """
        crf = torch.linspace(0, MAX_CRF, self.num_rows, device=self.knots.device)
        value = self._values(crf).detach().double()
        rows = torch.round(value * 2.0**self.fraction_bits).to(torch.int32)
        return {"rows": rows.clamp(min=1) if self.log else rows}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number rows and run frozen from now on.

        Raises:
            ConfigError: another type or shape; a row of a logarithmic table below 1.
        """
        shape = torch.Size((self.num_rows, self.knots.shape[1]))
        rows = whole_tensor(tensors, "rows", torch.int32, shape)
        if self.log and int(rows.min()) < 1:
            raise ConfigError(f"rows: found {int(rows.min())}, expected 1 or more")
        self.rows = rows.to(torch.int64)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The knots, which are some of the rows."""
        stride = (self.num_rows - 1) // (self.knots.shape[0] - 1)
        rows = tensors["rows"][::stride] * 2.0**-self.fraction_bits
        return {"knots": (torch.log(rows) if self.log else rows) / self.unit}

    def _frozen(self, crf: Tensor) -> Tensor:
        """Interpolate whole numbers in whole numbers, rounding half up."""
        rows = self.rows
        assert isinstance(rows, Tensor)
        spans = rows.shape[0] - 1
        total = round(MAX_CRF * CRF_UNITS)
        position = torch.round(crf.double() * CRF_UNITS).long() * spans  # in 1/total of a row
        index = torch.div(position, total, rounding_mode="floor").clamp(max=spans - 1)
        part = (position - index * total).unsqueeze(1)
        mixed = rows[index] * (total - part) + rows[index + 1] * part
        whole = torch.div(mixed + total // 2, total, rounding_mode="floor")
        return whole.double() * 2.0**-self.fraction_bits


def _interpolate(knots: Tensor, crf: Tensor) -> Tensor:
    position = crf.float() / MAX_CRF * (knots.shape[0] - 1)
    index = position.floor().clamp(max=knots.shape[0] - 2).long()
    part = (position - index).unsqueeze(1)
    return knots[index] * (1 - part) + knots[index + 1] * part
