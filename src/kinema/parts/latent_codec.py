"""One traversal of a latent: hyper-latent first, then the latent in four steps.

The same lines run in training, encoding and decoding; only the channel differs (Estimate, Write,
Read). The grid of symbols is round(y / step), free of context.

    y --- hyper_analysis --- z --- [channel] --- hyper_synthesis --- h P@1/16
    y/step --- step 1 --- [channel] --- step 2 --- [channel] --- ... --- symbols
               (mean, scale) from h and all symbols of earlier steps
"""

import torch
from torch import Tensor

from kinema.nn.exact import HIGH, LOW, GridLayer
from kinema.parts.channels import Channel, Distribution
from kinema.parts.priors import HyperPrior, PriorConfig, SpatialPrior, step_selections
from kinema.parts.quality import QualityTable
from kinema.parts.transforms import AMPLITUDE_BITS


class LatentCodec(GridLayer):
    """Codes a latent at a quality, through any channel."""

    def __init__(self, config: PriorConfig, log_steps: Tensor) -> None:
        """Create the codec.

        Args:
            config: widths.
            log_steps: (knots, M), natural logarithm of the initial quantiser steps.
        """
        super().__init__()
        self.num_channels = config.latent_channels
        self.steps = QualityTable(log_steps, log=True, fraction_bits=AMPLITUDE_BITS, num_rows=64)
        self.hyper = HyperPrior(config)
        self.spatial = SpatialPrior(config)

    def code(
        self,
        y: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Carry a latent through `channel`.

        Args:
            y: (B, M, h, w) latent amplitudes, or None when decoding.
            crf: (B,) qualities.
            size: (h, w).
            channel: where the symbols go to, or come from.
            weight: (B, M) bits that a squared latent error costs, for the encoder's decisions.

        Returns:
            y_hat, (B, M, h, w): amplitudes as the decoder knows them.
        """
        step = self.steps(crf)[:, :, None, None]
        s = None if y is None else y / step
        z = None if s is None else self.hyper.analysis(s)
        z_size = tuple(-(-n // 4) for n in size)
        z_hat = channel.carry(z, self.hyper.distribution(crf, z_size))
        features = self.hyper.synthesis(z_hat, crf)[:, :, : size[0], : size[1]]
        y_hat = torch.zeros((), device=crf.device)
        cost = None if weight is None else weight * step[:, :, 0, 0].square()
        selections = step_selections(self.num_channels, size, crf.device)
        for index, select in enumerate(selections):
            known = self.on_grid(y_hat).float().clamp(LOW, HIGH) if index else None
            mean, log_scale = self.spatial.predict(index, features, known, crf)
            mean = mean.to(step.dtype) / step  # correctly rounded, so exact once steps are fp64
            symbols = channel.carry(s, Distribution(mean, log_scale, select, cost))
            y_hat = y_hat + symbols * step
        return y_hat
