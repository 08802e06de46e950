"""Memories of several sequences as one, so that their frames can be decoded at once.

Such memories are made of tensors, whose first dimension counts pictures, of None, and of tuples of
these, named or not.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


def layout(memory: object) -> Hashable:
    """Tell what a memory is made of; those that are equal in it can be stacked."""
    if isinstance(memory, Tensor):
        return (memory.dtype, *memory.shape[1:])
    if isinstance(memory, tuple):
        return (type(memory), *map(layout, memory))
    return memory


def stack(memories: Sequence[Any]) -> Any:  # noqa: ANN401  # the network's own kind of value
    """Make one memory of several pictures of memories that are equal in `layout`."""
    first = memories[0]
    if len(memories) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(memories))
    return _like(first, [stack(parts) for parts in zip(*memories, strict=True)])


def unstack(memory: Any, count: int) -> list[Any]:  # noqa: ANN401  # likewise
    """Make memories of one picture each; the inverse of `stack`."""
    if count == 1 or memory is None:
        return [memory] * count
    if isinstance(memory, Tensor):
        return list(torch.split(memory, 1))
    parts = [unstack(part, count) for part in memory]
    return [_like(memory, [part[place] for part in parts]) for place in range(count)]


def _like(kind: tuple[Any, ...], parts: list[Any]) -> tuple[Any, ...]:
    """A tuple of the kind of another, named or not."""
    return kind._make(parts) if hasattr(kind, "_make") else tuple(parts)
