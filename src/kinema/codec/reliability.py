"""How far references are to be relied on: a network tells, the frame header carries it."""

from dataclasses import replace

from torch import Tensor

from kinema.errors import BitstreamError, ConfigError
from kinema.models.frames import RatesReferences, Reference, VideoModel
from kinema.parts.reference_adaptor import MAX_LEVEL

LEVEL_BITS = 4  # of each reference in the frame header's flags, the first one in the low bits


def rated(
    network: VideoModel,
    x: Tensor,
    crf: Tensor,
    size: tuple[int, int],
    references: tuple[Reference, ...],
) -> tuple[tuple[Reference, ...], int]:
    """Ask a network about references, if it knows levels.

    Args:
        network: the encoder's.
        x: (1, 96, H/8, W/8) picture units.
        crf: (1,) quality, 0 to 63.
        size: (H/16, W/16).
        references: of the frame.

    Returns:
        the references with their levels, and the flags that tell them to decoders.

    Raises:
        ConfigError: what the network says are no levels.
    """
    if not references or not isinstance(network, RatesReferences):
        return references, 0
    levels = network.rate_references(x, crf, size, references)
    if len(levels) != len(references) or not all(0 <= level <= MAX_LEVEL for level in levels):
        raise ConfigError(
            f"levels {levels} for {len(references)} references, each 0 to {MAX_LEVEL}"
        )
    flags = sum(level << LEVEL_BITS * place for place, level in enumerate(levels))
    return _with_levels(references, levels), flags


def as_told(
    network: VideoModel, references: tuple[Reference, ...], flags: int
) -> tuple[Reference, ...]:
    """Give references the levels that a frame header tells, if the network knows levels.

    Raises:
        BitstreamError: there are levels for more references than the frame has.
    """
    if not isinstance(network, RatesReferences):
        return references
    if flags >> LEVEL_BITS * len(references):
        raise BitstreamError(f"flags {flags}: levels for more than {len(references)} references")
    levels = [flags >> LEVEL_BITS * place & MAX_LEVEL for place in range(len(references))]
    return _with_levels(references, tuple(levels))


def _with_levels(
    references: tuple[Reference, ...], levels: tuple[int, ...]
) -> tuple[Reference, ...]:
    pairs = zip(references, levels, strict=True)
    return tuple(replace(reference, level=level) for reference, level in pairs)
