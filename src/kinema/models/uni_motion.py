"""Motion of Uni-LVC, `small`: one field for each reference, each expected from what is known.

    fields of the references --- expected field to each reference
    field to the first reference --- the second one's, if no other field passes by the frame
    picture, references --- search --- fields --- minus expected fields --- MotionCodec

A P frame codes its field as all systems with coded motion do. A B frame codes how its fields differ
from the expected ones, and its encoder leaves blocks at what is expected unless another vector is
worth its bits, given what the other reference predicts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.errors import ConfigError
from kinema.models.frames import Reference
from kinema.models.moving import Memory
from kinema.parts.channels import Channel
from kinema.parts.expectation import Motion, expect_field
from kinema.parts.motion_codec import MotionCodec
from kinema.parts.motion_field import FIELD_LIMIT
from kinema.parts.motion_search import Partner, estimate_field, settle_field
from kinema.parts.planes import unpack_planes
from kinema.parts.reference_adaptor import Standing


class Known(NamedTuple):
    """What a coded frame leaves for those that refer to it.

    Attributes:
        past: picture, latents, fields, hyper-latent and reference features.
        motions: its own fields: distance of each reference it had, and the field to it.
        crf: quality it was coded with, (B,).
    """

    past: Memory
    motions: tuple[tuple[int, Tensor], ...]
    crf: Tensor


class View(NamedTuple):
    """A reference as a frame sees it, once motion is known.

    Attributes:
        past: what it left.
        standing: direction, distance, level, quality.
        motion: decoded field to it, (B, 2, h, w).
    """

    past: Memory
    standing: Standing
    motion: Tensor


def reliable(references: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Leave out references of level 0.

    Raises:
        ConfigError: they are not none, one, or one before and one after the frame.
    """
    distances = [r.distance for r in references]
    is_known = len(distances) < 2 or (len(distances) == 2 and distances[0] < 0 < distances[1])
    if not is_known or 0 in distances:
        expected = "expected none, one, or one before and one after the frame"
        raise ConfigError(f"references at {distances}; {expected}")
    return tuple(r for r in references if r.level > 0)


def known_of(reference: Reference) -> Known:
    """Give what a reference left."""
    assert isinstance(reference.memory, Known)
    return reference.memory


def code_views(
    motion: MotionCodec,
    x: Tensor | None,
    crf: Tensor,
    size: tuple[int, int],
    channel: Channel,
    references: tuple[Reference, ...],
) -> list[View]:
    """Carry the fields to all references.

    Args:
        motion: codes fields.
        x: (B, 96, H/8, W/8) picture units, or None when decoding.
        crf: (B,) qualities, 0 to 63.
        size: (H/16, W/16).
        channel: where the symbols go to, or come from.
        references: one, or one before and one after the frame.
    """
    motions = _known_motions(references)
    wanted = [None] * len(references) if x is None else search_fields(x, crf, references)
    views: list[View] = []
    for reference, field in zip(references, wanted, strict=True):
        known = known_of(reference)
        usual = expect_field(motions, reference.distance)
        if usual is None or len(references) == 1:
            found = motion.code(field, usual, crf, size, channel).float()
        else:
            apart = None if field is None else (field - usual).clamp(-FIELD_LIMIT, FIELD_LIMIT)
            still = torch.zeros_like(usual)
            found = usual + motion.code(apart, still, crf, size, channel).float()
            found = found.clamp(-FIELD_LIMIT, FIELD_LIMIT)
        standing = Standing(reference.distance, reference.level, known.crf)
        views.append(View(known.past, standing, found))
        motions.append(Motion(0, reference.distance, found))
    return views


@torch.no_grad()
def search_fields(x: Tensor, crf: Tensor, references: tuple[Reference, ...]) -> list[Tensor]:
    """Search for the fields to all references; encoder only.

    Args:
        x: (B, 96, H/8, W/8) picture units.
        crf: (B,) qualities, 0 to 63.
        references: one, or one before and one after the frame.

    Returns:
        (B, 2, H/16, W/16) each, whole quarter luma samples.
    """
    motions = _known_motions(references)
    current = unpack_planes(x.float())[0]
    pictures = [unpack_planes(known_of(r).past.picture.float())[0] for r in references]
    usual = [expect_field(motions, r.distance) for r in references]
    pairs = zip(pictures, usual, strict=True)
    fields = [estimate_field(current, picture, one, crf) for picture, one in pairs]
    if len(references) == 1:
        return fields
    total = sum(r.level for r in references)
    for index, reference in enumerate(references):
        other, weight = 1 - index, reference.level / total
        partner = Partner(pictures[other], fields[other], weight)
        origin = expect_field(motions, reference.distance)
        own = (pictures[index], fields[index])
        fields[index] = settle_field(current, *own, origin, partner, crf)
        motions.append(Motion(0, reference.distance, fields[index]))
    return fields


def _known_motions(references: Sequence[Reference]) -> list[Motion]:
    """Fields of the references, seen from the frame that refers to them."""
    return [
        Motion(reference.distance, distance, field)
        for reference in references
        for distance, field in known_of(reference).motions
    ]
