"""Memories of several sequences as one, and back."""

from typing import NamedTuple

import torch

from kinema.models.stacking import layout, stack, unstack


class Known(NamedTuple):
    """A memory as networks have them."""

    picture: torch.Tensor
    latents: tuple[torch.Tensor, ...]
    state: torch.Tensor | None = None


def known(seed, count=2, width=4):
    random = torch.Generator().manual_seed(seed)
    draw = [torch.randn(1, 3, width, generator=random) for _ in range(count + 1)]
    return Known(draw[0], tuple(draw[1:]))


def same(a, b):
    if isinstance(a, tuple):
        return type(a) is type(b) and all(map(same, a, b))
    return a is b if a is None else torch.equal(a, b)


def test_what_is_unstacked_is_what_was_stacked():
    memories = [known(seed) for seed in range(3)]
    stacked = stack(memories)
    assert isinstance(stacked, Known)
    assert stacked.picture.shape == (3, 3, 4)
    assert stacked.state is None
    parts = unstack(stacked, 3)
    assert all(map(same, parts, memories))


def test_one_memory_stays_as_it_is():
    memory = known(0)
    assert stack([memory]) is memory
    assert unstack(memory, 1) == [memory]


def test_layouts_tell_what_can_be_stacked():
    assert layout(known(0)) == layout(known(1))
    assert layout(known(0)) != layout(known(0, count=1))
    assert layout(known(0)) != layout(known(0, width=5))
    assert layout(known(0)) != layout(tuple(known(0)))
    assert layout(known(0)) != layout(known(0)._replace(state=torch.zeros(1)))
    assert layout(torch.zeros(1, 2)) != layout(torch.zeros(1, 2, dtype=torch.float64))
