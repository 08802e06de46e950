"""One traversal of a latent of published size: hyper-latent, then four steps on a fixed grid.

    s --- h_a --- z        z_hat --- h_s --- (with what is known) --- fusion --- step 1 ... step 4

Symbols are round(s), whatever is expected of them, and none goes without saying: what is known
moves bits alone. In ordinary floating point.

Source: the prior of DCVC-RT (arXiv 2502.20762) and the four steps of DCVC-DC (arXiv 2302.14402).
Deviations: a context beside the hyper-prior's features; no spatial steps of the quantiser, since
these would follow the context; symbols off a grid that means do not move.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from kinema.nn.blocks import WsiluBlock, wsilu_blocks
from kinema.parts.channels import Channel, Distribution
from kinema.parts.paper_hyper import PaperHyper
from kinema.parts.quadtree import ORDER, check_channels, cut, inside, put


@dataclass(frozen=True, kw_only=True)
class QuadtreeConfig:
    """Widths of a latent and its entropy model."""

    latent_channels: int = 256  # M, a multiple of 4
    hyper_channels: int = 128
    fusion_blocks: int = 3
    step_blocks: int = 3


class QuadtreeCodec(nn.Module):
    """Carries a latent (B, M, h, w), given what is known of it, (B, M, h, w)."""

    def __init__(self, config: QuadtreeConfig) -> None:
        super().__init__()
        latent, wide = config.latent_channels, 2 * config.latent_channels
        check_channels(latent)
        self.num_channels = latent
        self.hyper = PaperHyper(latent, config.hyper_channels)
        self.fusion = wsilu_blocks(*[wide] * (config.fusion_blocks + 1))
        self.leave = nn.Conv2d(wide, wide, 1)
        self.reduce = nn.Conv2d(wide, latent, 1)
        self.adapt = nn.ModuleList([WsiluBlock(wide, wide, force_adaptor=True) for _ in ORDER[1:]])
        self.refined = wsilu_blocks(*[wide] * (config.step_blocks + 1)).append(
            nn.Conv2d(wide, wide, 1)
        )

    def code(
        self,
        s: Tensor | None,
        known_of_it: Tensor,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Tensor:
        """Carry a latent through `channel`.

        Args:
            s: (B, M, h, w) in steps; None when decoding.
            known_of_it: context, (B, M, h, w).
            crf: (B,) qualities.
            size: (h, w).
            channel: where the symbols go to, or come from.

        Returns:
            symbols, (B, M, h, w).
        """
        z = None if s is None else self.hyper.analysis(s).float()
        usual = self.hyper.distribution(crf, tuple(-(-n // 4) for n in size))
        z_hat = channel.carry(z, replace(usual, is_binding=False))
        features = self.hyper.synthesis(z_hat)[:, :, : size[0], : size[1]]
        parameters = self.leave(self.fusion(torch.cat([features, known_of_it], 1)))
        reduced = self.reduce(parameters)
        known = torch.zeros_like(reduced)
        for index in range(len(ORDER)):
            if index:
                parameters = self.refined(self.adapt[index - 1](torch.cat([known, reduced], 1)))
            log_scale, mean = (cut(p, index).float() for p in parameters.chunk(2, 1))
            places = inside(self.num_channels, size, index, mean.device)
            told = Distribution(mean, log_scale, places, is_binding=False)
            symbols = channel.carry(None if s is None else cut(s, index), told)
            known = known + put(symbols.to(known.dtype), index, size)
        return known
