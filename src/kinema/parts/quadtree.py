"""The four-step order of a latent: which elements each step codes, cut out and put back.

In every 2x2 cell of the latent each step codes all four places, at each place another quarter of
the channels; after four steps everything is coded once. What one step codes is itself a small
latent, (B, C, ceil(h/2), ceil(w/2)), quarter of channels after quarter, so that nets need not
compute what is not coded.

Source: DCVC-DC (arXiv 2302.14402), section 3.3.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ConfigError

NUM_QUARTERS = 4
# Place of quarter q (channels q, q + 4, q + 8, ...) in each 2x2 cell, by step: (row, column).
ORDER = (
    ((0, 0), (0, 1), (1, 0), (1, 1)),
    ((1, 1), (1, 0), (0, 1), (0, 0)),
    ((1, 0), (1, 1), (0, 0), (0, 1)),
    ((0, 1), (0, 0), (1, 1), (1, 0)),
)


def check_channels(channels: int) -> None:
    """Refuse a number of channels that has no quarters.

    Raises:
        ConfigError: it is not a multiple of four.
    """
    if channels % NUM_QUARTERS:
        raise ConfigError(f"{channels} latent channels; a multiple of {NUM_QUARTERS} is needed")


def cut(y: Tensor, index: int, beyond: float = 0.0) -> Tensor:
    """Take what step `index` codes out of a latent.

    Args:
        y: (B, C, h, w).
        index: 0 to 3.
        beyond: value where a cell of an odd latent reaches beyond it.

    Returns:
        (B, C, ceil(h/2), ceil(w/2)), quarters one after the other.
    """
    if y.stride(2) == y.stride(3) == 0:  # the same everywhere: what is cut out takes no memory
        cells = (-(-y.shape[2] // 2), -(-y.shape[3] // 2))
        return by_quarter(y[:, :, 0, 0])[:, :, None, None].expand(-1, -1, *cells)
    y = _to_cells(y, beyond)
    places = enumerate(ORDER[index])
    return torch.cat([y[:, q::NUM_QUARTERS, r::2, c::2] for q, (r, c) in places], 1)


def cut_all_channels(f: Tensor, index: int) -> Tensor:
    """Take all channels of features at the places of step `index`, quarter after quarter.

    Returns:
        (B, 4 C, ceil(h/2), ceil(w/2)): first the places of quarter 0, then those of quarter 1.
    """
    f = _to_cells(f)
    return torch.cat([f[:, :, r::2, c::2] for r, c in ORDER[index]], 1)


def put(coded: Tensor, index: int, size: tuple[int, int], onto: Tensor | None = None) -> Tensor:
    """Put what step `index` coded back in its places.

    Args:
        coded: (B, C, ceil(h/2), ceil(w/2)), as `cut` gives it.
        index: 0 to 3.
        size: (h, w) of the latent.
        onto: what earlier calls gave; it is written to unless it has a gradient.

    Returns:
        (B, C, h, w), zeros where nothing has been put.
    """
    y = _empty_latent(coded, size) if onto is None else onto
    if onto is not None and (onto.requires_grad or coded.requires_grad):
        y = onto.clone()
    for q, ((r, c), part) in enumerate(
        zip(ORDER[index], coded.chunk(NUM_QUARTERS, 1), strict=True)
    ):
        places = y[:, q::NUM_QUARTERS, r::2, c::2]
        places.copy_(part[:, :, : places.shape[2], : places.shape[3]])
    return y


def _empty_latent(like: Tensor, size: tuple[int, int]) -> Tensor:
    return like.new_zeros(len(like), *size, like.shape[1]).permute(0, 3, 1, 2)


def by_quarter(values: Tensor) -> Tensor:
    """Bring values per channel, (B, C), into the order of what a step codes."""
    return values.view(len(values), -1, NUM_QUARTERS).transpose(1, 2).flatten(1)


@lru_cache(maxsize=32)
def inside(channels: int, size: tuple[int, int], index: int, device: torch.device) -> Tensor | None:
    """Tell which elements of a step lie inside the latent.

    Args:
        channels: C of the latent.
        size: (h, w) of the latent.
        index: step, 0 to 3.
        device: where the positions are needed; they are kept for the next call.

    Returns:
        ascending positions in rows, columns, channels of what the step codes; None if all.
    """
    if not (size[0] % 2 or size[1] % 2):
        return None
    with torch.inference_mode(mode=False):  # what is kept must also serve a training step
        mask = cut(torch.ones(1, channels, *size, dtype=torch.bool, device=device), index)
        return mask.permute(0, 2, 3, 1).flatten().nonzero().squeeze(1)


@lru_cache(maxsize=32)
def coded_before(channels: int, size: tuple[int, int], index: int, device: torch.device) -> Tensor:
    """Mark what the steps before `index` code: 1 there, else 0; (1, C, *size), kept."""
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    with torch.inference_mode(mode=False):  # as above
        ones = torch.ones(1, channels, rows, columns, device=device)
        parts = [put(ones, before, size) for before in range(index)]
        return torch.stack(parts).sum(0)


def _to_cells(y: Tensor, beyond: float = 0.0) -> Tensor:
    height, width = y.shape[-2:]
    missing = (0, width % 2, 0, height % 2)
    return F.pad(y, missing, value=beyond) if any(missing) else y
