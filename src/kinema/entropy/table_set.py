"""A set of integer probability tables: what the coder sees of a distribution.

A table gives every symbol of a range, and last the escape symbol, a frequency of at least 1;
the frequencies of a table sum to 2**PRECISION. A table *index* (what a model selects) leads
through `lookup` to a *table*; several indices share one where their distributions (nearly) agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import constriction
import numpy as np
from numpy.typing import NDArray

from kinema.entropy.escape import SYMBOL_LIMIT, check_symbols, escape_bits
from kinema.errors import ShapeError, WeightsMismatchError

PRECISION = 24  # bits; fixed in constriction's Python interface
TOTAL = 1 << PRECISION
SURE_REST = 1 << 12  # left to all other entries of a table whose symbol may go without saying
MAX_TABLES = 1 << 12  # distinct tables, so that table and position fit one sort key
MAX_TABLE_INDICES = 1 << 16
MAX_ENTRIES = 1 << 22  # frequencies of all tables together

Integers: TypeAlias = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class TableSet:
    """Tables of one alphabet family; validated when made, never changed. All arrays are int32.

    Attributes:
        frequencies: all tables one after the other, escape last in each, (sum of sizes,).
        sizes: number of frequencies of each table, the escape included, (T,), 2 or more.
        first_symbols: the symbol of the first frequency of each table, (T,).
        lookup: table of each table index, (number of indices,).
    """

    frequencies: NDArray[np.int32]
    sizes: NDArray[np.int32]
    first_symbols: NDArray[np.int32]
    lookup: NDArray[np.int32]

    def __post_init__(self) -> None:
        _check_layout(self)
        _check_contents(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as arrays; constriction's models cannot."""
        return TableSet.from_arrays, (self.to_arrays(),)

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """Give the arrays to store beside a model's weights."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "TableSet":
        """Rebuild what `to_arrays` gave.

        Raises:
            WeightsMismatchError: an array is missing, or its type, shape or values are not allowed.
        """
        if set(arrays) != set(cls.__dataclass_fields__):
            expected = sorted(cls.__dataclass_fields__)
            raise WeightsMismatchError(f"table arrays {sorted(arrays)}, expected {expected}")
        return cls(**{name: np.ascontiguousarray(array) for name, array in arrays.items()})

    @property
    def num_indices(self) -> int:
        """How many table indices there are: valid ones are 0..num_indices - 1."""
        return len(self.lookup)

    @cached_property
    def offsets(self) -> NDArray[np.intp]:
        """Position of each table in `frequencies`, (T,)."""
        return np.cumsum(self.sizes, dtype=np.intp) - self.sizes

    @cached_property
    def models(self) -> list[constriction.stream.model.Categorical]:
        """The tables as constriction's models, made at the first use; see `exact_model`."""
        return [exact_model(row) for row in np.split(self.frequencies, self.offsets[1:])]

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Price in bits of each entry of `frequencies`."""
        return (PRECISION - np.log2(self.frequencies)).astype(np.float32)

    @cached_property
    def is_sure(self) -> NDArray[np.bool_]:
        """Whether one symbol of a table index has all but SURE_REST, (number of indices,)."""
        rows = np.split(self.frequencies, self.offsets[1:])
        sure = [row[:-1].max() >= TOTAL - SURE_REST for row in rows]
        return np.array(sure)[self.lookup]

    @cached_property
    def likeliest(self) -> NDArray[np.int32]:
        """The likeliest symbol of each table index, (number of indices,)."""
        rows = np.split(self.frequencies, self.offsets[1:])
        place = np.array([row[:-1].argmax() for row in rows], np.int32)
        return (self.first_symbols + place)[self.lookup]

    def tables_of(self, table_index: Integers) -> NDArray[np.int32]:
        """Look up the tables of table indices, any shape.

        Raises:
            ShapeError: the indices are not integers.
            WeightsMismatchError: an index is outside 0..num_indices - 1.
        """
        if not np.issubdtype(table_index.dtype, np.integer):
            raise ShapeError(f"table indices of type {table_index.dtype}, expected integers")
        if table_index.size and not 0 <= table_index.min() <= table_index.max() < self.num_indices:
            found = f"{table_index.min()}..{table_index.max()}"
            raise WeightsMismatchError(f"table index {found}, expected 0..{self.num_indices - 1}")
        return self.lookup[table_index]

    def bits(self, symbols: Integers, table_index: Integers) -> NDArray[np.float32]:
        """Price symbols exactly as the coder will, up to its few bytes at the end.

        Args:
            symbols: any shape, within +-SYMBOL_LIMIT.
            table_index: same shape.

        Returns:
            Bits of every symbol, same shape.

        Raises:
            ShapeError, WeightsMismatchError, LimitError: as for writing them.
        """
        values = as_symbols(symbols, table_index)
        table = self.tables_of(table_index)
        first, escape = self.first_symbols[table], self.sizes[table] - 1
        entry = np.minimum((values - first).view(np.uint32), escape.view(np.uint32))
        bits = self.costs[self.offsets[table] + entry]
        outside = entry == escape
        if outside.any():
            first, last = first[outside], (first + escape - 1)[outside]
            bits[outside] += escape_bits(values[outside], first, last)
        return bits

    def window_bits(self, lowest: int, highest: int) -> NDArray[np.float32]:
        """Price the symbols lowest..highest under every table index, for encoder-side decisions.

        Returns:
            (num_indices, highest - lowest + 1); entry [i, j] is the price of `lowest + j`.
        """
        window = np.arange(lowest, highest + 1, dtype=np.int32)
        index = np.arange(self.num_indices, dtype=np.int32)
        return self.bits(*np.broadcast_arrays(window[None, :], index[:, None]))


def exact_model(frequencies: NDArray[np.int32]) -> constriction.stream.model.Categorical:
    """Make constriction use exactly these frequencies.

    Its fast quantisation gives entry i the left end `floor(sum(p[:i]) * (2**24 - n) / sum(p)) + i`.
    With `p = frequency - 1` the factor is 1 and every sum a small integer in float64: no rounding
    anywhere, on any machine.
    """
    weights = (frequencies - 1).astype(np.float64)
    return constriction.stream.model.Categorical(weights, lazy=False, perfect=False)


def as_symbols(symbols: Integers, table_index: Integers) -> NDArray[np.int32]:
    """Check symbols to be written and give them as int32.

    Raises:
        ShapeError: not integers, or not the shape of `table_index`.
        LimitError: a symbol is beyond SYMBOL_LIMIT.
    """
    if not np.issubdtype(symbols.dtype, np.integer):
        raise ShapeError(f"symbols of type {symbols.dtype}, expected integers")
    if symbols.shape != table_index.shape:
        raise ShapeError(f"symbols {symbols.shape} with table indices {table_index.shape}")
    check_symbols(symbols, "to write")
    return symbols.astype(np.int32, copy=False)


def _check_layout(tables: TableSet) -> None:
    for name, array in tables.to_arrays().items():
        if array.dtype != np.int32 or array.ndim != 1:
            found = f"{array.dtype} with {array.ndim} axes"
            raise WeightsMismatchError(f"table array {name} is {found}, expected int32 with 1")
    _check_range("number of tables", len(tables.sizes), 1, MAX_TABLES)
    _check_range("number of table indices", len(tables.lookup), 1, MAX_TABLE_INDICES)
    _check_range("number of frequencies", len(tables.frequencies), 2, MAX_ENTRIES)
    if len(tables.first_symbols) != len(tables.sizes):
        counts = f"{len(tables.first_symbols)} first symbols for {len(tables.sizes)} tables"
        raise WeightsMismatchError(f"found {counts}, expected one each")


def _check_contents(tables: TableSet) -> None:
    sizes = tables.sizes.astype(np.int64)
    _check_values("table sizes", sizes, 2, len(tables.frequencies))
    if sizes.sum() != len(tables.frequencies):
        found = f"{len(tables.frequencies)} frequencies"
        raise WeightsMismatchError(f"{found}, expected the sum of table sizes, {sizes.sum()}")
    _check_values("frequencies", tables.frequencies, 1, TOTAL - 1)
    totals = np.add.reduceat(tables.frequencies.astype(np.int64), tables.offsets)
    _check_values("sums of frequencies", totals, TOTAL, TOTAL)
    _check_values("first symbols", tables.first_symbols, -SYMBOL_LIMIT, SYMBOL_LIMIT)
    _check_values("last symbols", tables.first_symbols + sizes - 2, -SYMBOL_LIMIT, SYMBOL_LIMIT)
    _check_values("tables of indices", tables.lookup, 0, len(sizes) - 1)


def _check_values(name: str, values: Integers, lowest: int, highest: int) -> None:
    _check_range(name, int(values.min()), lowest, highest)
    _check_range(name, int(values.max()), lowest, highest)


def _check_range(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        expected = lowest if lowest == highest else f"{lowest}..{highest}"
        raise WeightsMismatchError(f"{name}: found {value}, expected {expected}")
