"""What conditional coding adds to alignment: a long-term state, and a decoder that looks back.

    latent of the previous frame --- supply --- (+) state --- mix --- state C@1/16, moved along
    picture so far, warped picture --- enter --- (+) --- blocks@1/8 --- head --- (+) picture
    context P@1/16 --------- up to 1/8 -----------'

Source: LSTVC (see docs/papers/lstvc.md): temporal prior, section III-B; contextual transforms,
III-D. Deviations: the temporal prior lies at 1/16 instead of 1/4 and is fed with latents instead of
pictures, since the decoder must do it exactly and in real time; the contextual decoder corrects
the picture of the intra synthesis instead of replacing it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.blocks import GridBlock
from kinema.nn.exact import HIGH, LOW, Activation, GridConv, GridLayer, add_clipped
from kinema.parts.motion_field import sample_cells
from kinema.parts.planes import CHANNELS, FRACTION_BITS
from kinema.parts.quality import QualityTable

KNOTS = 8


class LongTermPrior(GridLayer):
    """The temporal prior: a state that begins with an I frame and takes in each decoded frame."""

    def __init__(self, latent_channels: int, state_channels: int, stream_channels: int) -> None:
        super().__init__()
        self.begin = GridConv(latent_channels, state_channels)
        self.supply = GridConv(latent_channels, state_channels, Activation.LINEAR, gain=0.3)
        self.mix = GridBlock(state_channels)
        self.tell = GridConv(state_channels, stream_channels, Activation.LINEAR, gain=0.0)

    def forward(self, state: Tensor | None, latent: Tensor, field: Tensor) -> Tensor:
        """Take in the previous frame, and move along to the present one.

        Args:
            state: as it was at the previous frame, (B, C, h, w) on the grid; None after an I frame.
            latent: of the previous frame, (B, M, h, w) on the grid.
            field: to the previous frame, (B, 2, h, w), quarter luma samples.

        Returns:
            (B, C, h, w) on the grid.
        """
        new = self.begin(latent) if state is None else add_clipped(state, self.supply(latent))
        moved = self.on_grid(sample_cells(self.mix(new).float(), field))
        return moved.clamp(LOW, HIGH).contiguous(memory_format=torch.channels_last)


class ContextualRefinement(GridLayer):
    """The contextual decoder's part: corrects a picture with what references show. Starts as none.

    Shape: (B, 96, 2h, 2w) -> (B, 96, 2h, 2w), picture units.
    """

    def __init__(self, stream_channels: int, width: int, num_blocks: int) -> None:
        super().__init__()
        self.enter = GridConv(2 * CHANNELS, width, Activation.LINEAR)
        self.up = GridConv(stream_channels, 4 * width, Activation.LINEAR, gain=0.3)
        self.quality = QualityTable(torch.zeros(KNOTS, width), unit=64.0)
        self.blocks = nn.Sequential(*[GridBlock(width) for _ in range(num_blocks)])
        self.head = GridConv(
            width, CHANNELS, Activation.LINEAR, fraction_bits=FRACTION_BITS, gain=0.0
        )

    def forward(
        self,
        x_hat: Tensor,
        warped: Tensor,
        stream: Tensor,
        crf: Tensor,
        more: Tensor | None = None,
    ) -> Tensor:
        """Correct `x_hat`; arguments as `look`."""
        return x_hat + self.head(self.look(x_hat, warped, stream, crf, more))

    def look(
        self,
        x_hat: Tensor,
        warped: Tensor,
        stream: Tensor,
        crf: Tensor,
        more: Tensor | None = None,
    ) -> Tensor:
        """Features of which `head` makes the correction, (B, width, 2h, 2w) on the grid.

        Args:
            x_hat: picture so far, (B, 96, 2h, 2w), in 2**-FRACTION_BITS.
            warped: likewise, on the grid.
            stream: context, (B, P, h, w).
            crf: (B,).
            more: what else is known, (B, width, 2h, 2w).
        """
        whole = self.on_grid(x_hat)
        both = torch.cat([whole.clamp(LOW, HIGH), (whole - warped).clamp(LOW, HIGH)], 1)
        f = self.enter(both.contiguous(memory_format=torch.channels_last))
        f = f + self.quality(crf)[:, :, None, None].to(f.dtype)
        f = add_clipped(f, F.pixel_shuffle(self.up(stream), 2))
        if more is not None:
            f = add_clipped(more, f)  # in the memory of f: others may look at `more` again
        return self.blocks(f)
