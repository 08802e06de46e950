"""Symbols to bytes and back: the channels of encoding and decoding.

Everything that selects a probability is a whole number: scale index, mean in sixteenths.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.entropy.table_set import TableSet
from kinema.entropy.tables import gaussian_tables
from kinema.parts.channels import Distribution, choose_symbols
from kinema.parts.gaussian import NUM_FRACTIONS, scale_index, table_scales

MEAN_LIMIT = 2.0**20  # steps; beyond it come hostile streams only


def build_tables() -> TableSet:
    """Make the integer tables that `Write` and `Read` index; done once, at export."""
    return gaussian_tables(table_scales(), NUM_FRACTIONS)


class Write:
    """Writes symbols, one writer per picture of the batch.

    With `decide`, a symbol moves one step towards its mean where that saves more bits than the
    error is worth (rate-distortion optimised quantisation; encoder only, no syntax).

    Source: RDOQ of the HEVC and VVC reference encoders, for one symbol at a time: what a symbol
    does to the distributions after it is left out.
    """

    def __init__(
        self, writers: Sequence[SymbolWriter], tables: TableSet, *, decide: float = 1.0
    ) -> None:
        """Open the channel.

        Args:
            writers: one per picture.
            tables: what indices mean.
            decide: factor on the worth of an error in decisions; 0 rounds to nearest always.
        """
        self._writers, self._tables, self._decide = writers, tables, decide

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Choose and write symbols.

        Raises:
            TypeError: there is no latent to write.
            LimitError: a symbol lies beyond what tables and escapes reach.
        """
        if s is None:
            raise TypeError("writing needs the latent itself")
        mean, floor, index = _select(distribution)
        (symbols,) = distribution.gather(s.double())
        if distribution.weight is not None and self._decide:
            (log_scale,) = distribution.gather(distribution.log_scale)
            cost = self._decide * distribution.costs()
            symbols = choose_symbols(symbols, mean, log_scale, cost)
        symbols = torch.round(symbols)
        residual = (symbols - floor).to(torch.int32).cpu().numpy()
        for writer, row, table in zip(self._writers, residual, index, strict=True):
            writer.push(row, table, self._tables)
        return distribution.scatter(symbols)


class Read:
    """Reads symbols, one reader per picture of the batch."""

    def __init__(self, readers: Sequence[SymbolReader], tables: TableSet) -> None:
        self._readers, self._tables = readers, tables

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Read symbols; `s` is ignored.

        Raises:
            BitstreamError: the bytes are not those that the same distributions wrote.
        """
        del s
        _, floor, index = _select(distribution)
        rows = [
            reader.pull(table, self._tables)
            for reader, table in zip(self._readers, index, strict=True)
        ]
        symbols = torch.from_numpy(np.stack(rows)).to(floor.device) + floor
        return distribution.scatter(symbols)


def _select(distribution: Distribution) -> tuple[Tensor, Tensor, NDArray[np.int32]]:
    """Means and their floors of the selected elements (B, N), and their table indices."""
    mean, log_scale = distribution.gather(distribution.mean, distribution.log_scale)
    mean = mean.double().clamp(-MEAN_LIMIT, MEAN_LIMIT)
    scale = scale_index(log_scale)
    parts = torch.floor(mean * NUM_FRACTIONS + 0.5)
    floor = torch.floor(parts * (1 / NUM_FRACTIONS))
    index = scale * NUM_FRACTIONS + (parts - floor * NUM_FRACTIONS)
    return parts * (1 / NUM_FRACTIONS), floor, index.to(torch.int32).cpu().numpy()
