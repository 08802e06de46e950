"""The dual-domain codec in published size, in ordinary floating point: for GPUs and ablations.

    x --- Analysis --- y --- experts --- s --- round --- k --- experts --- Synthesis --- x_hat
    x, picture before --- SPyNet --- FlowAnalysis --- QuadtreeCodec --- FlowSynthesis --- flow
    picture before --- warp --- Analysis --- experts --- coarse latent
    coarse latent --- stage 1 (latent before) --- stage 2 (up to three) --- adaptor --- context
    s --- QuadtreeCodec(context) --- k                            context of an I frame: a constant

Symbols k and picture depend on frame and quality alone; the context moves bits. An I frame differs
from a P frame in its context, and in nothing else.

Source: arXiv 2512.10450, of which the abstract and summaries could be read; layouts that these
leave open are those of DCVC-RT, DCVC-DC and RVRT. Not exact: a stream decodes on the machine and in
the software that wrote it. docs/papers/dual_domain.md.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.models.dual_domain import EVERYTHING, Reach
from kinema.models.dual_domain_configs import DualDomainPaperConfig
from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra_paper import PaperAnalysis, PaperSynthesis
from kinema.nn.blocks import WsiluBlock
from kinema.parts.channels import Channel
from kinema.parts.experts import balance_loss
from kinema.parts.flow_guided import FlowGuidedStage, compose_flows
from kinema.parts.gain_experts import GainPair
from kinema.parts.motion_autoencoder import FlowAnalysis, FlowSynthesis
from kinema.parts.optical_flow import FlowNet, warp
from kinema.parts.paper_hyper import NUM_QUALITIES
from kinema.parts.planes import full_planes, half_planes
from kinema.parts.quadtree_codec import QuadtreeCodec
from kinema.parts.quality import QualityTable

STRIDE, FOLD = 16, 8  # samples on a side of a latent's place; of a place of the first features
START_GAIN = 8.0  # of latents and of motion
HALF = 0.5  # taken off samples 0 to 1


class Known(NamedTuple):
    """A latent of an earlier frame: symbols (B, M, h, w), and its qualities (B,)."""

    symbols: Tensor
    crf: Tensor


class Memory(NamedTuple):
    """What a coded frame leaves for those after it.

    Attributes:
        picture: (B, 3, H, W), samples 0 to 1.
        latents: of this frame and those before it, newest first, as many as stage 2 looks at.
        flows: decoded, of the same frames to the one before each, one less; (B, 2, h, w), latent
            samples.
        motion: latent of the last flow, (B, N, h, w); None behind an I frame.
    """

    picture: Tensor
    latents: tuple[Known, ...]
    flows: tuple[Tensor, ...]
    motion: Tensor | None


class Moved(NamedTuple):
    """Decoded motion: flow (B, 2, H, W) in samples, and its latent (B, N, h, w)."""

    flow: Tensor
    latent: Tensor


class Coded(NamedTuple):
    """A coded frame, and how unevenly experts were used, for a loss."""

    frame: CodedFrame
    unevenness: Tensor


class DualDomainPaperCodec(nn.Module):
    """I and P frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs. The analysis is not among
            them: a decoder applies it to the warped picture.
    """

    encoder_only = ("flow.", "motion_analysis.", "motion.hyper.down.", "latent.hyper.down.")

    def __init__(self, config: DualDomainPaperConfig) -> None:
        super().__init__()
        self.config = config
        latent, motion = config.latent.latent_channels, config.motion.latent_channels
        self.analysis, self.synthesis = PaperAnalysis(config.intra), PaperSynthesis(config.intra)
        self.experts = GainPair(latent, config.num_experts, config.gate_channels, START_GAIN)
        self.latent = QuadtreeCodec(config.latent)
        self.flow = FlowNet(config.flow)
        self.motion_analysis = FlowAnalysis(config.motion_width, motion)
        self.motion_synthesis = FlowSynthesis(config.motion_width, motion)
        gains = torch.full((NUM_QUALITIES, motion), math.log(START_GAIN))
        self.motion_gain = QualityTable(gains, log=True)
        self.motion_start = nn.Parameter(torch.zeros(motion))
        self.motion = QuadtreeCodec(config.motion)
        self.first = FlowGuidedStage(config.stage)
        self.second = FlowGuidedStage(config.stage)
        self.still = nn.Parameter(torch.zeros(latent))
        self.adaptor_i, self.adaptor_p = WsiluBlock(latent, latent), WsiluBlock(latent, latent)

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
            references: none for an I frame; for a P frame the frame before it.

        Returns:
            the pictures as the decoder knows them.

        Raises:
            ConfigError: other references.
        """
        before = references[0].memory if references else None
        if len(references) > 1 or not isinstance(before, Memory | None):
            raise ConfigError(f"{len(references)} references; a P frame has the frame before")
        return self.code(x, crf, size, channel, before).frame

    def code(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        before: Memory | None,
    ) -> Coded:
        """Carry pictures as `code_frame`; `before` is what the frame before left."""
        picture = None if x is None else full_planes(x)
        if before is None:
            moved, context = None, self.adaptor_i(_everywhere(self.still, crf, size))
        else:
            moved = self.code_motion(picture, before, crf, size, channel)
            context = self.look_back(before, moved.flow, crf)
        s, unevenness = None, crf.new_zeros(())
        if picture is not None:
            s, shares = self.scale(picture, crf)
            unevenness = balance_loss(shares)
        symbols = self.latent.code(s, context, crf, size, channel)
        y_hat, shares = self.experts.synthesis(symbols, crf)
        planes = F.pixel_shuffle(self.synthesis(y_hat, crf), FOLD) + HALF
        memory = self.remember(planes, Known(symbols, crf), before, moved)
        frame = CodedFrame(half_planes(planes), y_hat, memory)
        return Coded(frame, unevenness + balance_loss(shares))

    def scale(self, picture: Tensor, crf: Tensor) -> tuple[Tensor, Tensor]:
        """g_a and the encoder's experts: latent in steps (B, M, h, w), and shares of experts."""
        y = self.analysis(F.pixel_unshuffle(picture - HALF, FOLD), crf)
        return self.experts.analysis(y, crf)

    def code_motion(
        self,
        picture: Tensor | None,
        before: Memory,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Moved:
        """Carry the motion of pictures (B, 3, H, W), samples 0 to 1; None when decoding."""
        gain, s = self.motion_gain(crf)[:, :, None, None], None
        if picture is not None:
            s = self.motion_analysis(self.flow(picture, before.picture)).float() * gain
        usual = before.motion
        if usual is None:
            usual = _everywhere(self.motion_start, crf, size)
        y_hat = self.motion.code(s, usual, crf, size, channel) / gain
        return Moved(self.motion_synthesis(y_hat), y_hat)

    def look_back(
        self, before: Memory, flow: Tensor, crf: Tensor, reach: Reach = EVERYTHING
    ) -> Tensor:
        """Align what earlier frames tell: the context, (B, M, h, w).

        Args:
            before: memory of the frame before.
            flow: decoded, (B, 2, H, W), samples.
            crf: (B,) qualities of the frame.
            reach: how much of it counts.
        """
        latents = [self._as_now(known, crf) for known in before.latents[: reach.references]]
        flows = [to_latent(flow)]
        has_pixel_branch = reach.has_pixel_branch
        if has_pixel_branch is None:
            has_pixel_branch = self.config.has_pixel_branch
        if has_pixel_branch:
            query, _ = self.scale(warp(before.picture, flow), crf)
        else:
            query = warp(latents[0], flows[0])
        if reach.stages is None or reach.stages > 0:
            query, flows = self.first(query, latents[:1], flows)
        for older in before.flows[: len(latents) - 1]:
            flows.append(compose_flows(flows[-1], older))
        if reach.stages is None or reach.stages > 1:
            query, _ = self.second(query, latents, flows)
        return self.adaptor_p(query)

    def remember(
        self, planes: Tensor, known: Known, before: Memory | None, moved: Moved | None
    ) -> Memory:
        """Make the memory of a frame from its planes, its latent and what was known before."""
        picture = planes.clamp(0, 1)
        if before is None or moved is None:
            return Memory(picture, (known,), (), None)
        latents = (known, *before.latents)[: self.config.max_references]
        flows = (to_latent(moved.flow), *before.flows)[: len(latents) - 1]
        return Memory(picture, latents, flows, moved.latent)

    def _as_now(self, known: Known, crf: Tensor) -> Tensor:
        """A latent of another quality in the steps of this one."""
        if torch.equal(known.crf, crf):
            return known.symbols
        y_hat, _ = self.experts.synthesis(known.symbols, known.crf)
        scaled, _ = self.experts.analysis(y_hat, crf)
        return scaled


def to_latent(flow: Tensor) -> Tensor:
    """Mean flow of each place of the latent, in its samples: (B, 2, H, W) -> (B, 2, h, w)."""
    return F.avg_pool2d(flow, STRIDE) / STRIDE


def _everywhere(values: Tensor, crf: Tensor, size: tuple[int, int]) -> Tensor:
    """A value per channel (C,) at all places: (B, C, *size)."""
    return values[None, :, None, None].expand(len(crf), -1, *size)


def build_paper() -> DualDomainPaperCodec:
    """Build the published configuration."""
    return DualDomainPaperCodec(DualDomainPaperConfig())
