"""Symbols to bytes and back: the channels of encoding and decoding.

Everything that selects a probability is a whole number: scale index, mean in sixteenths. Where a
table leaves no doubt about its symbol, nothing is written: the symbol goes without saying, whatever
the latent is (a third of all symbols at good quality, most of them at low rates).

Source: skipping of positions with small scales, DCVC-RT (arXiv 2502.20762); ours by table.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.entropy.table_set import TableSet
from kinema.entropy.tables import laplace_tables
from kinema.parts.channels import Distribution, choose_symbols, in_coding_order
from kinema.parts.laplace import NUM_FRACTIONS, scale_index, table_scales

MEAN_LIMIT = 2.0**20  # steps; beyond it come hostile streams only


def build_tables() -> TableSet:
    """Make the integer tables that `Write` and `Read` index; done once, at export."""
    return laplace_tables(table_scales(), NUM_FRACTIONS)


class Write:
    """Writes symbols, one writer per picture of the batch.

    With `decide`, a symbol moves one step towards its mean where that saves more bits than the
    error is worth (rate-distortion optimised quantisation; encoder only, no syntax).

    Source: RDOQ of the HEVC and VVC reference encoders, for one symbol at a time: what a symbol
    does to the distributions after it is left out.
    """

    is_final = True

    def __init__(
        self,
        writers: Sequence[SymbolWriter],
        tables: TableSet,
        *,
        decide: float = 1.0,
        passes: int = 0,
    ) -> None:
        """Open the channel.

        Args:
            writers: one per picture.
            tables: what indices mean.
            decide: factor on the worth of an error in decisions; 0 rounds to nearest always.
            passes: of refinement (`kinema.parts.refinement`).
        """
        self._writers, self._tables, self._decide = writers, tables, decide
        self.passes = passes

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Choose and write symbols.

        Raises:
            TypeError: there is no latent to write.
            LimitError: a symbol lies beyond what tables and escapes reach.
        """
        if s is None:
            raise TypeError("writing needs the latent itself")
        floor, index = _locate(distribution)
        symbols = distribution.only_coded(self._choose(s, distribution))
        residual = (symbols - floor).to(torch.int32).cpu().numpy()
        is_sure = _find_sure(index, self._tables, distribution)
        residual = np.where(is_sure, self._tables.likeliest[index], residual)
        for writer, row, table, sure in zip(self._writers, residual, index, is_sure, strict=True):
            writer.push(row[~sure], table[~sure], self._tables)
        return distribution.scatter(torch.from_numpy(residual).to(floor.device) + floor)

    def rehearsal(self) -> "Write":
        """Give a channel that chooses symbols as this one does; nobody asks for its bytes."""
        return Write([SymbolWriter() for _ in self._writers], self._tables, decide=self._decide)

    def _choose(self, s: Tensor, distribution: Distribution) -> Tensor:
        """Symbols in coding order, coded or not; (B, h w C)."""
        symbols = torch.round(in_coding_order(s).double())
        if distribution.weight is None or not self._decide:
            return symbols
        is_open = symbols != torch.round(in_coding_order(distribution.mean))
        choices = is_open.flatten().nonzero()[:, 0]  # elsewhere there is nothing to choose
        of = (s, distribution.mean, distribution.log_scale, distribution.weight * self._decide)
        known = [in_coding_order(values).flatten().index_select(0, choices) for values in of]
        symbols.view(-1).index_copy_(0, choices, choose_symbols(*known).double())
        return symbols


class Read:
    """Reads symbols, one reader per picture of the batch."""

    is_final, passes = True, 0

    def __init__(self, readers: Sequence[SymbolReader], tables: TableSet) -> None:
        self._readers, self._tables = readers, tables

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Read symbols; `s` is ignored.

        Raises:
            BitstreamError: the bytes are not those that the same distributions wrote.
        """
        del s
        floor, index = _locate(distribution)
        residual = self._tables.likeliest[index]
        is_sure = _find_sure(index, self._tables, distribution)
        for reader, row, table, sure in zip(self._readers, residual, index, is_sure, strict=True):
            coded = np.flatnonzero(~sure)
            row[coded] = reader.pull(table[coded], self._tables)
        symbols = torch.from_numpy(residual).to(floor.device) + floor
        return distribution.scatter(symbols)

    def rehearsal(self) -> "Read":
        """There is nothing to choose when reading.

        Raises:
            TypeError: always.
        """
        raise TypeError("a reader chooses no symbols")


def _find_sure(
    index: NDArray[np.int32], tables: TableSet, distribution: Distribution
) -> NDArray[np.bool_]:
    """Tell which symbols go without saying; (B, N)."""
    return tables.is_sure[index] if distribution.is_binding else np.zeros(index.shape, np.bool_)


def _locate(distribution: Distribution) -> tuple[Tensor, NDArray[np.int32]]:
    """Floors of the means of the coded elements, and their table indices; both (B, N)."""
    mean = distribution.gather(distribution.mean).double().clamp(-MEAN_LIMIT, MEAN_LIMIT)
    scale = scale_index(distribution.gather(distribution.log_scale))
    parts = torch.floor(mean * NUM_FRACTIONS + 0.5)
    floor = torch.floor(parts * (1 / NUM_FRACTIONS))
    index = scale * NUM_FRACTIONS + (parts - floor * NUM_FRACTIONS)
    return floor, index.to(torch.int32).cpu().numpy()
