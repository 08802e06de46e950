"""Symbols to bytes and back: constriction's ANS coder, fed with runs that share a table.

One push, and the pull that mirrors it, handle their symbols in this order: all by ascending table
(equal tables in array order), an escape symbol standing for each one outside its table; then, in
the same order, the prefixes of the escapes, then their mantissas. The coder is a stack of 32-bit
words and a 64-bit state that starts at 0; writing runs backwards, so that reading runs forwards.
The bytes are the words, little-endian, the state last, zero bytes at the end left out.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from kinema.entropy.escape import (
    PREFIX_FREQUENCIES,
    EscapeCode,
    decode_escapes,
    encode_escapes,
    mantissa_sizes,
)
from kinema.entropy.table_set import MAX_TABLES, Integers, TableSet, as_symbols, exact_model
from kinema.errors import BitstreamError

_PREFIX_MODEL = exact_model(PREFIX_FREQUENCIES)
_UNIFORM = constriction.stream.model.Uniform()  # exact for the powers of two that it is given


class SymbolWriter:
    """Collects the symbols of one payload; the bytes come out of `finish`."""

    def __init__(self) -> None:
        self._jobs: list[tuple[Any, ...]] = []  # arguments of the coder, in reading order

    def push(self, symbols: Integers, table_index: Integers, tables: TableSet) -> None:
        """Append symbols.

        Args:
            symbols: integers within +-SYMBOL_LIMIT, any shape, taken in C order.
            table_index: 0..tables.num_indices - 1, same shape.
            tables: the tables the indices mean.

        Raises:
            ShapeError: not integers, or shapes that differ.
            LimitError: a symbol beyond the limit.
            WeightsMismatchError: a table index that the tables do not have.
        """
        values = as_symbols(symbols, table_index).ravel()
        runs = _find_runs(table_index, tables)
        values = values[runs.order]
        entries = np.minimum((values - runs.first).view(np.uint32), runs.escape.view(np.uint32))
        entries = entries.view(np.int32)
        segments = [entries[start:stop] for start, stop in pairwise(runs.bounds)]
        self._jobs.extend(zip(segments, runs.models, strict=True))
        outside = np.flatnonzero(entries == runs.escape)
        if outside.size:
            code = encode_escapes(values[outside], *runs.ends(outside))
            self._jobs.append((code.prefix, _PREFIX_MODEL))
            self._jobs.append((code.mantissa, _UNIFORM, code.num_values))

    def finish(self) -> bytes:
        """Code everything pushed so far and give the payload."""
        coder = constriction.stream.stack.AnsCoder()
        encode = coder.encode_reverse
        for job in reversed(self._jobs):
            encode(*job)
        return bytes(coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))


class SymbolReader:
    """Reads back, pull by pull, what the same pushes wrote.

    Any bytes whatever can be read: damaged ones give other symbols, or a BitstreamError from
    `pull` or, nearly always, from `finish`. Bytes that are far too few may pass unseen: once the
    coder is empty it goes on giving first entries. Damage is for the packet's checksum to find.
    """

    def __init__(self, data: bytes) -> None:
        """Open a payload.

        Raises:
            BitstreamError: the last byte is zero, which no writer leaves.
        """
        if data.endswith(b"\0"):
            raise BitstreamError(
                f"entropy-coded payload of {len(data)} bytes ends with a zero byte"
            )
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        self._coder = constriction.stream.stack.AnsCoder(words)
        self._length_bytes = len(data)

    def pull(self, table_index: Integers, tables: TableSet) -> NDArray[np.int32]:
        """Read one symbol per table index.

        Returns:
            Symbols, in the shape of `table_index`.

        Raises:
            LimitError: the bytes say a symbol beyond +-SYMBOL_LIMIT (a BitstreamError).
            ShapeError, WeightsMismatchError: as for `SymbolWriter.push`.
        """
        runs = _find_runs(table_index, tables)
        symbols = np.empty(table_index.shape, np.int32)
        if not symbols.size:
            return symbols
        entries = np.concatenate(list(map(self._coder.decode, runs.models, runs.counts.tolist())))
        values = entries + runs.first
        outside = np.flatnonzero(entries == runs.escape)
        if outside.size:
            values[outside] = decode_escapes(self._pull_escapes(len(outside)), *runs.ends(outside))
        symbols.reshape(-1)[runs.order] = values
        return symbols

    def finish(self) -> None:
        """Check that the payload ends where the symbols do.

        Raises:
            BitstreamError: coded data is left over: damage, or tables other than the writer's.
        """
        if not self._coder.is_empty():
            raise BitstreamError(
                f"entropy-coded payload of {self._length_bytes} bytes does not end with its symbols"
            )

    def _pull_escapes(self, count: int) -> EscapeCode:
        prefix = self._coder.decode(_PREFIX_MODEL, count)
        num_values = mantissa_sizes(prefix)
        return EscapeCode(prefix, num_values, self._coder.decode(_UNIFORM, num_values))


class _Runs(NamedTuple):
    """Positions grouped by table; R runs over N symbols."""

    order: NDArray[np.intp]  # (N,) position of each sorted symbol in the array given
    bounds: list[int]  # (R + 1,) where runs start and stop among the sorted symbols
    counts: NDArray[np.intp]  # (R,)
    models: list[constriction.stream.model.Categorical]  # (R,)
    first: NDArray[np.int32]  # (N,) first symbol of the table of each sorted symbol
    escape: NDArray[np.int32]  # (N,) entry of its escape symbol

    def ends(self, chosen: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Give the first and last symbols of the tables of chosen sorted symbols."""
        first = self.first[chosen]
        return first, first + self.escape[chosen] - 1


def _find_runs(table_index: Integers, tables: TableSet) -> _Runs:
    order, table = _sort_by_table(tables.tables_of(table_index).ravel())
    is_start = np.ones(len(table), np.bool_)
    np.not_equal(table[1:], table[:-1], out=is_start[1:])
    starts = np.flatnonzero(is_start)
    used = table[starts]
    bounds = np.append(starts, len(table))
    counts = np.diff(bounds)
    models = tables.models
    return _Runs(
        order=order,
        bounds=bounds.tolist(),
        counts=counts,
        models=[models[t] for t in used.tolist()],
        first=np.repeat(tables.first_symbols[used], counts),
        escape=np.repeat(tables.sizes[used] - 1, counts),
    )


def _sort_by_table(table: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give the stable sorting order of tables and the sorted tables.

    Sorting keys made of table and position is several times faster than a stable argsort.
    """
    shift = len(table).bit_length()
    small = shift + (MAX_TABLES - 1).bit_length() <= 32
    keys: NDArray[np.unsignedinteger[Any]] = table.astype(np.uint32 if small else np.uint64)
    keys <<= shift
    keys |= np.arange(len(table), dtype=keys.dtype)
    keys.sort()
    return (keys & ((1 << shift) - 1)).astype(np.intp), (keys >> shift).astype(np.intp)
