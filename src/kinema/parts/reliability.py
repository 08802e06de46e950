"""How far references can be relied upon, seen from the picture that is to be coded; encoder only.

    picture at half size, references --- motion search --- predictions
    what a prediction misses --- block transform --- bits, energy        the picture --- bits
    bits against bits of the picture alone, energies against each other --- levels

A reference from behind a scene cut misses as much as there is: its level is 0 without anybody
looking for cuts. Of two references the better one has its full level, the other one less in
proportion to the energies that they miss, by which the mean of both is best.

Source: Uni-LVC (arXiv 2603.05756), reliability-aware classifier, of which the layout is unread;
instead of a network, estimates of what the codec will spend.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.parts.motion_field import BLOCK, FIELD_LIMIT
from kinema.parts.motion_search import estimate_field
from kinema.parts.planes import unpack_planes
from kinema.parts.reference_adaptor import MAX_LEVEL
from kinema.parts.warping import warp_picture

USELESS, USEFUL = 0.9, 0.45  # bits over those without reference, of levels 0 and 15
LEAST_ENERGY = 0.5  # squared picture units; what is smaller counts as this

Transform = Callable[[Tensor], Tensor]


@torch.no_grad()
def rate(
    x: Tensor, pictures: Sequence[Tensor], crf: Tensor, transform: Transform, steps: Tensor
) -> list[int]:
    """Rate references.

    Args:
        x: (B, 96, H/8, W/8) picture units.
        pictures: of the references, likewise, as the decoder knows them.
        crf: (B,) qualities.
        transform: block transform, to (B, M, H/16, W/16).
        steps: of the quantiser, (B, M).

    Returns:
        levels, 0 to 15; one for each reference, of the whole batch.
    """
    alone = _alone(transform(x), steps)
    shares, energies = [], []
    for picture in pictures:
        missed = x - warp_picture(picture, _search(x, picture, crf))
        shares.append(float(_bits(transform(missed), steps).sum() / alone.clamp(min=1)))
        energies.append(max(float(missed.square().mean()), LEAST_ENERGY))
    least = min((e for e, s in zip(energies, shares, strict=True) if s < USELESS), default=0.0)
    return [_level(share, least / e) for share, e in zip(shares, energies, strict=True)]


def _level(share: float, portion: float) -> int:
    """From bits over those without reference, and the best energy over the reference's own."""
    if share >= USELESS:
        return 0
    sure = min(1.0, (USELESS - share) / (USELESS - USEFUL))
    return max(1, round(MAX_LEVEL * sure * min(portion, 1.0)))


def _search(x: Tensor, picture: Tensor, crf: Tensor) -> Tensor:
    """Find a field at half the size: (B, 2, H/16, W/16)."""
    current, other = (_halve(p) for p in (x, picture))
    found = 2 * estimate_field(current, other, None, crf)
    found = found.clamp(-FIELD_LIMIT, FIELD_LIMIT)
    wide = found.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return wide[..., : x.shape[2] // 2, : x.shape[3] // 2]


def _halve(x: Tensor) -> Tensor:
    """Luma at half the size, padded to whole blocks."""
    luma = F.avg_pool2d(unpack_planes(x.float())[0], 2)
    height, width = luma.shape[-2:]
    return F.pad(luma, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")


def _bits(y: Tensor, steps: Tensor) -> Tensor:
    """Roughly what coding a latent takes, by channel: (M,)."""
    return 0.5 * torch.log2(1 + (y / steps[:, :, None, None]).square()).sum((0, 2, 3))


def _alone(y: Tensor, steps: Tensor) -> Tensor:
    """Bits of a latent by itself; channels that follow their surroundings are told from these."""
    around = F.avg_pool2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), 3, 1) * (9 / 8) - y / 8
    return torch.minimum(_bits(y, steps), _bits(y - around, steps)).sum()
