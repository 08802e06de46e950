"""What the codec and its networks say to each other: coded frames, references, one traversal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from kinema.parts.channels import Channel
from kinema.parts.reference_adaptor import MAX_LEVEL


@dataclass(frozen=True, slots=True)
class Reference:
    """A coded frame that another one may predict from.

    Attributes:
        memory: what the network gave with the coded frame; of one picture, or stacked.
        distance: display index of the reference minus that of the frame; below 0 in the past.
        level: reliability, 0 to 15; 0: as if it were not there.
    """

    memory: object
    distance: int
    level: int = MAX_LEVEL


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """What coding a frame gives: picture and latent as the decoder knows them.

    Attributes:
        x_hat: (B, 96, H/8, W/8) picture units, neither rounded nor clamped.
        y_hat: (B, M, H/16, W/16) amplitudes.
        memory: what frames that refer to this one will need; nobody but the network looks inside.
    """

    x_hat: Tensor
    y_hat: Tensor
    memory: object = None


@runtime_checkable
class VideoModel(Protocol):
    """A network that codes frames, whichever system it belongs to.

    It keeps nothing between frames: all that it knows of earlier ones comes with `references`.
    """

    @property
    def encoder_only(self) -> tuple[str, ...]:
        """Prefixes of the parameters that no decoder needs."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:  # noqa: FBT001, FBT002  # as torch has it
        """Every parameter."""

    def code_frame(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        references: tuple[Reference, ...] = (),
    ) -> CodedFrame:
        """Carry pictures through `channel`.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            references: in the order of the frame header; none for I frames, one in the past for P
                frames, one in the past and one in the future for B frames. With any, B is 1.

        Returns:
            the pictures as the decoder knows them.
        """


@runtime_checkable
class RatesReferences(Protocol):
    """A network that tells how far references are to be relied on; the frame header carries it."""

    def rate_references(
        self,
        x: Tensor,
        crf: Tensor,
        size: tuple[int, int],
        references: tuple[Reference, ...],
    ) -> tuple[int, ...]:
        """Give a level for each reference; the encoder alone asks.

        Args:
            x: (1, 96, H/8, W/8) picture units.
            crf: (1,) quality, 0 to 63.
            size: (H/16, W/16).
            references: as for `code_frame`, one or two.

        Returns:
            levels, 0 to 15, in the order of the references.
        """


@runtime_checkable
class StacksMemories(Protocol):
    """A network that codes frames of several sequences at once, its memories stacked.

    With references, B may then be more than 1; see `kinema.models.stacking`.
    """

    @property
    def stacks_memories(self) -> bool:
        """Always true."""
