"""Uni-LVC in its full width, in ordinary floating point: for GPUs and comparisons.

    x 192@1/8 --- first half of Analysis --- adapt_encoder --- second half --- y 256@1/16
    z --- h_s --- features 256@1/16 --- adapt_prior --- prior in four steps --- y_hat
    y_hat --- up 368@1/8 --- adapt_decoder --- rest of Synthesis --- features R --- x_hat 192@1/8

No motion is coded: attention finds what belongs together. References are the features R that the
decoder leaves before its last layer. Without references every adaptation is passed by, and what is
left is the intra codec, bit by bit.

Source: Uni-LVC (arXiv 2603.05756), of which the abstract and summaries could be read; on
`intra_paper`. Not exact: a stream decodes on the machine and in the software that wrote it.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra_paper import IntraPaperCodec, IntraPaperConfig
from kinema.parts.channels import Channel
from kinema.parts.paper_adaptation import (
    PaperAdaptation,
    PaperAdaptationConfig,
    PaperAdaptor,
    ReliabilityClassifier,
)
from kinema.parts.reference_adaptor import MAX_LEVEL


@dataclass(frozen=True, kw_only=True)
class UniLvcPaperConfig:
    """Everything that decides the shape of the networks."""

    intra: IntraPaperConfig = field(default_factory=IntraPaperConfig)
    fine: PaperAdaptationConfig = field(default_factory=PaperAdaptationConfig)  # at 1/8
    coarse: PaperAdaptationConfig = field(
        default_factory=lambda: PaperAdaptationConfig(channels=256, width=256, heads=8)
    )  # at 1/16
    first_blocks: int = 3  # of the analysis, before references are asked


class Left(NamedTuple):
    """What a coded frame leaves: features R, (B, 368, H/8, W/8), and its quality, (B,)."""

    features: Tensor
    crf: Tensor


class Asked(NamedTuple):
    """References of a frame, adapted: features at 1/8 and 1/16, and reliability, (B,) each."""

    fine: list[Tensor]
    coarse: list[Tensor]
    alphas: list[Tensor]


class UniLvcPaperCodec(IntraPaperCodec):
    """I, P and B frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    encoder_only = (*IntraPaperCodec.encoder_only, "adapt_encoder.", "classifier.")

    def __init__(self, config: UniLvcPaperConfig) -> None:
        super().__init__(config.intra)
        self.uni_config = config
        width = config.fine.reference_channels
        self.adaptor = PaperAdaptor(config.intra.feature_channels, width)
        self.down = nn.Conv2d(width, config.coarse.reference_channels, 2, stride=2)
        self.adapt_encoder = PaperAdaptation(config.fine)
        self.adapt_prior = PaperAdaptation(config.coarse)
        self.adapt_decoder = PaperAdaptation(config.fine)
        self.classifier = ReliabilityClassifier(config.fine.channels, width)

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
            x: (B, 192, H/8, W/8): three planes, samples 0 to 1, by pixel-unshuffle; None when
                decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            references: any; those of level 0 are left out.

        Returns:
            the pictures as the decoder knows them; `x_hat` in the form of `x`.
        """
        asked = self.ask(references)
        y = None if x is None else self.analyse(x, crf, asked)
        z = None if y is None else self.hyper.analysis(y)
        z_size = tuple(-(-n // 4) for n in size)
        z_hat = channel.carry(z, self.hyper.distribution(crf, z_size))
        features = self.hyper.synthesis(z_hat)[:, :, : size[0], : size[1]]
        if asked.alphas:
            features = self.adapt_prior(features, asked.coarse, asked.alphas)
        y_hat = self._code_latent(y, features, size, channel)
        x_hat, left = self.synthesise(y_hat, crf, asked)
        return CodedFrame(x_hat, y_hat, Left(left, crf))

    def ask(self, references: tuple[Reference, ...]) -> Asked:
        """Adapt the features of references."""
        fine, alphas = [], []
        for reference in references:
            left = reference.memory
            assert isinstance(left, Left)
            if reference.level:
                fine.append(self.adaptor(left.features, reference.distance, left.crf))
                alphas.append(torch.full_like(left.crf, reference.level / MAX_LEVEL))
        return Asked(fine, [self.down(f) for f in fine], alphas)

    def analyse(self, x: Tensor, crf: Tensor, asked: Asked) -> Tensor:
        """g_a, with references; encoder only."""
        f, first = self._enter(x, crf), self.uni_config.first_blocks
        f = self.analysis.blocks[:first](f)
        if asked.alphas:
            f = self.adapt_encoder(f, asked.fine, asked.alphas)
        return self.analysis.down(self.analysis.blocks[first:](f))

    def synthesise(self, y_hat: Tensor, crf: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
        """g_s, with references: pictures, and the features that later frames refer to."""
        f = self.synthesis.up(y_hat)
        if asked.alphas:
            f = self.adapt_decoder(f, asked.fine, asked.alphas)
        assert self.synthesis.quality is not None
        f = self.synthesis.blocks(f) * self.synthesis.quality(crf)[:, :, None, None]
        return self.synthesis.leave(f), f

    def reliability(
        self, x: Tensor, crf: Tensor, references: tuple[Reference, ...]
    ) -> list[Tensor]:
        """Tell the log-odds that each reference is worth having, (B,); encoder only."""
        seen = self.analysis.blocks[: self.uni_config.first_blocks](self._enter(x, crf))
        odds = []
        for reference in references:
            left = reference.memory
            assert isinstance(left, Left)
            adapted = self.adaptor(left.features, reference.distance, left.crf)
            odds.append(self.classifier(seen, adapted, reference.distance, left.crf))
        return odds

    @torch.no_grad()
    def rate_references(
        self, x: Tensor, crf: Tensor, size: tuple[int, int], references: tuple[Reference, ...]
    ) -> tuple[int, ...]:
        """Levels of reliability, 0 to 15, for the frame header; encoder only."""
        del size
        odds = self.reliability(x, crf, references)
        return tuple(round(MAX_LEVEL * float(torch.sigmoid(o).mean())) for o in odds)

    def _enter(self, x: Tensor, crf: Tensor) -> Tensor:
        assert self.analysis.quality is not None
        return self.analysis.enter(x) * self.analysis.quality(crf)[:, :, None, None]


def build_paper() -> UniLvcPaperCodec:
    """Build the full width: 57.4 million parameters."""
    return UniLvcPaperCodec(UniLvcPaperConfig())
