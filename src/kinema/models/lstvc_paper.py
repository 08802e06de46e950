"""LSTVC and LSTVC+ in their published size, in ordinary floating point: for GPUs and ablations.

    x_hat before --- LongTermState --- T            x, x_hat before --- SPyNet --- m
    m --- MotionAnalysis --- StagedCodec(T) --- MotionSynthesis --- m_hat
    x_hat before, m_hat --- GuidedCompensation --- context        T, m_hat --- align --- T
    x --- ContextualAnalysis(context, T) --- StagedCodec(context, T) --- y_hat
    y_hat --- ContextualSynthesis(context, T) --- x_hat

Source: LSTVC (arXiv 2208.03754), Algorithm 1. Not exact: a stream decodes on the machine and in the
software that wrote it. Deviations: I frames are those of the shared intra codec; planes Y, U, V
with chroma repeated to full resolution instead of RGB, averaged back; docs/papers/lstvc.md.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra import IntraCodec, error_bits
from kinema.models.lstvc_configs import USES, LstvcPaperConfig, plus_config, with_gains
from kinema.nn.residual import conv
from kinema.parts.block_cosines import BlockCosines
from kinema.parts.channels import Channel, Estimate
from kinema.parts.conditional_transforms import (
    ContextualAnalysis,
    ContextualSynthesis,
    HybridPriorEncoder,
    MotionAnalysis,
    MotionPriorEncoder,
    MotionSynthesis,
)
from kinema.parts.guided_compensation import Compensated, GuidedCompensation
from kinema.parts.long_term import LongTermState
from kinema.parts.motion_scales import cheapest, find_flow, flows_at
from kinema.parts.optical_flow import FlowNet
from kinema.parts.planes import full_planes, half_planes
from kinema.parts.staged_codec import StagedCodec

MULTIPLE = 64  # pictures are padded inside until this divides their sides


class Memory(NamedTuple):
    """What a coded frame leaves: (B, 3, H, W) samples 0 to 1, padded; T, or None."""

    picture: Tensor
    state: Tensor | None


class Predicted(NamedTuple):
    """What is known of a frame once its motion is.

    Attributes:
        state: T, aligned; None where there is none.
        flow: as decoded, (B, 2, H, W).
        scales: what compensation did, by scale, coarse to fine.
    """

    state: Tensor | None
    flow: Tensor
    scales: dict[int, Compensated]

    @property
    def context(self) -> Tensor:
        """The result at full resolution, (B, C, H, W)."""
        return self.scales[1].result


class LstvcPaperCodec(nn.Module):
    """I frames of the intra codec, and P frames as published.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    encoder_only = (
        *(f"intra.{prefix}" for prefix in IntraCodec.encoder_only),
        "flow.",
        "motion_analysis.",
        "motion.hyper_analysis.",
        "analysis.",
        "contextual.hyper_analysis.",
    )

    def __init__(self, config: LstvcPaperConfig) -> None:
        super().__init__()
        self.config = config
        motion, latent = config.motion_latent.latent_channels, config.latent.latent_channels
        context, width = config.compensation.widths[-1], config.prior_width
        state = {use: config.prior_channels * (use in config.prior_for) for use in USES}
        self.intra = IntraCodec(config.intra)
        self.flow = FlowNet(config.flow)
        self.motion_analysis = MotionAnalysis(config.motion, motion)
        self.motion_synthesis = MotionSynthesis(config.motion, motion)
        self.motion = StagedCodec(config.motion_latent, has_guide=bool(state["motion"]))
        self.compensation = GuidedCompensation(config.compensation)
        self.preview = conv(context, 3)
        self.cosines = BlockCosines(latent) if config.contextual.has_shortcut else None
        shape = (config.contextual, latent, context, state["transforms"])
        self.analysis, self.synthesis = ContextualAnalysis(*shape), ContextualSynthesis(*shape)
        self.hybrid = HybridPriorEncoder(width, latent, context, state["entropy"])
        self.contextual = StagedCodec(config.latent, has_guide=True)
        if config.prior_for:
            self.long_term = LongTermState(config.prior_channels)
        if state["motion"]:
            self.motion_prior = MotionPriorEncoder(width, motion, state["motion"])
        if config.contextual.has_shortcut:
            self._begin_as_warping()

    @torch.no_grad()
    def _begin_as_warping(self) -> None:
        """Let three channels of the context be the warped picture, and the preview show them."""
        for layer in (self.compensation.pyramid.fine[0], self.preview):
            assert isinstance(layer, nn.Conv2d)
            layer.weight[:3].zero_()
            layer.weight[:3, :3, 1, 1] = torch.eye(3)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one

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
            crf: (B,) qualities, 0 to 63; for P frames they matter to gains only.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            references: none for an I frame; for a P frame the frame before it.

        Returns:
            the pictures as the decoder knows them.

        Raises:
            ConfigError: other references.
        """
        if not references:
            coded = self.intra.code_frame(x, crf, size, channel)
            return replace(coded, memory=Memory(enter(coded.x_hat).clamp(0, 1), None))
        before = references[0].memory
        if len(references) > 1 or not isinstance(before, Memory):
            raise ConfigError(f"{len(references)} references; LSTVC takes the frame before")
        picture = None if x is None else enter(x)
        flow = None if picture is None else self.try_flows(picture, before, crf)
        predicted = self.predict(picture, before, crf, channel, flow)
        x_hat, y_hat = self.code_picture(picture, predicted, crf, channel)
        shown = half_planes(x_hat[:, :, : 16 * size[0], : 16 * size[1]])
        return CodedFrame(shown, y_hat, Memory(x_hat.clamp(0, 1), predicted.state))

    def try_flows(self, picture: Tensor, before: Memory, crf: Tensor) -> Tensor | None:
        """Try all resolutions for motion, if the configuration says so; encoder only."""
        scales = self.config.scales
        if scales.way != "trial":
            return None

        def cost(flow: Tensor) -> Tensor:
            channel = Estimate(noise=False)
            predicted = self.predict(picture, before, crf, channel, flow)
            x_hat, _ = self.code_picture(picture, predicted, crf, channel)
            return channel.bits() + error_bits(half_planes(picture), half_planes(x_hat), crf)

        return cheapest(flows_at(self.flow, picture, before.picture, scales.factors), cost)

    def predict(
        self,
        picture: Tensor | None,
        before: Memory,
        crf: Tensor,
        channel: Channel,
        flow: Tensor | None = None,
    ) -> Predicted:
        """Carry the motion of a frame, and compensate: steps 1 to 5 of a P frame.

        Args:
            picture: (B, 3, H, W) samples 0 to 1, sides multiples of 64; None when decoding.
            before: what the frame before left.
            crf: (B,).
            channel: where the symbols go to, or come from.
            flow: what to code, where that is known already, (B, 2, H, W).
        """
        state = guide = None
        if self.config.prior_for:
            state = self.long_term.before_motion(before.state, before.picture)
        if "motion" in self.config.prior_for:
            guide = self.motion_prior(state)
        y = None
        if picture is not None:
            if flow is None:
                flow = find_flow(self.flow, picture, before.picture, self.config.scales)
            y = self.motion_analysis(flow)
        height, width = before.picture.shape[-2:]
        y_hat = self.motion.code(y, guide, crf, (height // 16, width // 16), channel)
        decoded = self.motion_synthesis(y_hat, before.picture).float()
        scales = self.compensation(before.picture, decoded)
        if state is not None:
            state = self.long_term.after_motion(state, decoded)
        return Predicted(state, decoded, scales)

    def code_picture(
        self, picture: Tensor | None, predicted: Predicted, crf: Tensor, channel: Channel
    ) -> tuple[Tensor, Tensor]:
        """Carry what the prediction does not tell: step 6.

        Returns:
            pictures (B, 3, H, W), samples 0 to 1, not clamped; latents (B, M, H/16, W/16).
        """
        context, state = predicted.context, predicted.state
        start = 0.5 if self.cosines is None else self.preview(context).float() + 0.5
        y = None
        if picture is not None:
            y = self.analysis(picture, context, state)
            if self.cosines is not None:
                y = y + self.cosines(picture - start)
        guide = self.hybrid(context, state)
        y_hat = self.contextual.code(y, guide, crf, guide.shape[-2:], channel)
        x_hat = self.synthesis(y_hat, context, state) + start
        if self.cosines is not None:
            x_hat = x_hat + self.cosines.inverse(y_hat)
        return x_hat, y_hat


def enter(x: Tensor) -> Tensor:
    """Pictures as the networks see them: (B, 96, H/8, W/8) to (B, 3, H, W), 0 to 1, padded."""
    planes = full_planes(x)
    height, width = planes.shape[-2:]
    return F.pad(planes, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def build_paper(*, is_variable: bool = False) -> LstvcPaperCodec:
    """Build LSTVC: 8.5 million parameters beside the intra codec.

    Args:
        is_variable: gain vectors, so that one model serves all qualities; published: one for each.
    """
    return LstvcPaperCodec(with_gains(LstvcPaperConfig(), is_variable=is_variable))


def build_paper_plus(*, is_variable: bool = False) -> LstvcPaperCodec:
    """Build LSTVC+, with heavier contextual transforms: 13.0 million parameters; as above."""
    return LstvcPaperCodec(with_gains(plus_config(), is_variable=is_variable))
