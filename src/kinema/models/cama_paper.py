"""DCVC-TCM and CAMA in their published size, in ordinary floating point: for GPUs and ablations.

    x, x_hat before --- SPyNet, perhaps on smaller pictures --- m
    m --- MotionAnalysis --- StagedCodec --- MotionSynthesis --- m_hat
    F before, m_hat --- FeatureWarping --- contexts @1/4, 1/2, 1/1
    x --- FeatureAnalysis(contexts) --- StagedCodec(contexts) --- y_hat
    y_hat --- FeatureSynthesis(contexts) --- x_hat, F

Source: DCVC-TCM (arXiv 2111.13850) and its public code; CAMA (arXiv 2512.12936), of which the
abstract and summaries could be read. Not exact: a stream decodes on the machine and in the software
that wrote it. Deviations: I frames are those of the shared intra codec; planes Y, U, V with chroma
repeated to full resolution instead of RGB, averaged back; docs/papers/cama.md.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.models.cama_configs import (
    CamaPaperConfig,
    cama_config,
    tcm_config,
    with_variable_rate,
)
from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra import IntraCodec, error_bits
from kinema.models.lstvc_paper import enter
from kinema.nn.residual import conv
from kinema.parts.block_cosines import BlockCosines
from kinema.parts.channels import Channel, Estimate
from kinema.parts.conditional_transforms import MotionAnalysis, MotionSynthesis
from kinema.parts.feature_transforms import (
    FeatureAnalysis,
    FeatureSynthesis,
    TemporalPriorEncoder,
)
from kinema.parts.feature_warping import FeatureWarping
from kinema.parts.latent_orders import Order
from kinema.parts.motion_scales import Way, cheapest, find_flow, flows_at
from kinema.parts.optical_flow import FlowNet
from kinema.parts.planes import half_planes
from kinema.parts.staged_codec import StagedCodec


class Memory(NamedTuple):
    """What a coded frame leaves for those after it.

    Attributes:
        picture: (B, 3, H, W) samples 0 to 1, padded.
        features: F, (B, C, H, W); None behind an I frame.
        place: distance to the I frame.
    """

    picture: Tensor
    features: Tensor | None
    place: int


class Predicted(NamedTuple):
    """What is known of a frame once its motion is.

    Attributes:
        flow: as decoded, (B, 2, H, W).
        contexts: coarse to fine, (B, C, H/4, W/4), then at 1/2 and 1/1.
    """

    flow: Tensor
    contexts: list[Tensor]


class CamaPaperCodec(nn.Module):
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

    def __init__(self, config: CamaPaperConfig) -> None:
        super().__init__()
        self.config = config
        motion, latent = config.motion_latent.latent_channels, config.latent.latent_channels
        contexts = config.warping.widths
        self.intra = IntraCodec(config.intra)
        self.flow = FlowNet(config.flow)
        self.motion_analysis = MotionAnalysis(config.motion, motion)
        self.motion_synthesis = MotionSynthesis(config.motion, motion)
        self.motion = StagedCodec(config.motion_latent, has_guide=False)
        self.warping = FeatureWarping(config.warping, config.contextual.head)
        has_shortcut = config.contextual.has_shortcut
        self.preview = conv(contexts[-1], 3) if has_shortcut else None
        self.cosines = BlockCosines(latent) if has_shortcut else None
        self.analysis = FeatureAnalysis(config.contextual, latent, contexts)
        self.synthesis = FeatureSynthesis(config.contextual, latent, contexts)
        self.temporal = TemporalPriorEncoder(config.prior_width, latent, contexts)
        self.contextual = StagedCodec(config.latent, has_guide=True)
        if self.preview is not None:
            self._begin_as_warping(self.preview)

    @torch.no_grad()
    def _begin_as_warping(self, preview: nn.Conv2d) -> None:
        """Let three channels of the context be the warped picture, and the preview show them."""
        self.warping.begin_as_picture()
        preview.weight.zero_()
        preview.weight[:, :3, 1, 1] = torch.eye(3)
        nn.init.zeros_(preview.bias)  # type: ignore[arg-type]  # it has one

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
            crf: (B,) qualities, 0 to 63; for P frames they matter to gains and choices only.
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
            return replace(coded, memory=Memory(enter(coded.x_hat).clamp(0, 1), None, 0))
        before = references[0].memory
        if len(references) > 1 or not isinstance(before, Memory):
            raise ConfigError(f"{len(references)} references; CAMA takes the frame before")
        picture = flow = None
        if x is not None:
            picture = enter(x)
            flow = self.find_flow(picture, before, crf)
        predicted = self.predict(flow, before, crf, channel)
        x_hat, y_hat, features = self.code_picture(picture, predicted, crf, channel)
        shown = half_planes(x_hat[:, :, : 16 * size[0], : 16 * size[1]])
        return CodedFrame(shown, y_hat, Memory(x_hat.clamp(0, 1), features, before.place + 1))

    def find_flow(self, picture: Tensor, before: Memory, crf: Tensor) -> Tensor:
        """Look for motion at the resolution that the configuration demands; encoder only."""
        scales = self.config.scales
        if scales.way != "trial":
            return find_flow(self.flow, picture, before.picture, scales)

        def cost(flow: Tensor) -> Tensor:
            channel = Estimate(noise=False)
            predicted = self.predict(flow, before, crf, channel)
            x_hat, _, _ = self.code_picture(picture, predicted, crf, channel)
            return channel.bits() + error_bits(half_planes(picture), half_planes(x_hat), crf)

        return cheapest(flows_at(self.flow, picture, before.picture, scales.factors), cost)

    def predict(
        self, flow: Tensor | None, before: Memory, crf: Tensor, channel: Channel
    ) -> Predicted:
        """Carry the motion of a frame, and align.

        Args:
            flow: as found, (B, 2, H, W); None when decoding.
            before: what the frame before left.
            crf: (B,).
            channel: where the symbols go to, or come from.
        """
        y = None if flow is None else self.motion_analysis(flow)
        height, width = before.picture.shape[-2:]
        y_hat = self.motion.code(y, None, crf, (height // 16, width // 16), channel)
        decoded = self.motion_synthesis(y_hat, before.picture).float()
        contexts = self.warping(before.features, before.picture, decoded, before.place + 1)
        return Predicted(decoded, contexts)

    def code_picture(
        self, picture: Tensor | None, predicted: Predicted, crf: Tensor, channel: Channel
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Carry what the prediction does not tell.

        Returns:
            pictures (B, 3, H, W), samples 0 to 1, not clamped; latents (B, M, H/16, W/16);
            features F, (B, C, H, W).
        """
        contexts = predicted.contexts
        start = 0.5 if self.preview is None else self.preview(contexts[-1]).float() + 0.5
        y = None
        if picture is not None:
            y = self.analysis(picture, contexts)
            if self.cosines is not None:
                y = y + self.cosines(picture - start)
        guide = self.temporal(contexts)
        y_hat = self.contextual.code(y, guide, crf, guide.shape[-2:], channel)
        x_hat, features = self.synthesis(y_hat, contexts)
        x_hat = x_hat + start
        if self.cosines is not None:
            x_hat = x_hat + self.cosines.inverse(y_hat)
        return x_hat, y_hat, features


def build_tcm(*, is_variable: bool = False) -> CamaPaperCodec:
    """Build DCVC-TCM: 10.7 million parameters beside the intra codec.

    Args:
        is_variable: gain vectors, so that one model serves all qualities; published: one for each.
    """
    return CamaPaperCodec(with_variable_rate(tcm_config(), is_variable=is_variable))


def build_paper(
    *, is_variable: bool = False, order: Order = "quadtree", way: Way = "full"
) -> CamaPaperCodec:
    """Build CAMA: 14.8 million parameters; arguments as `build_tcm` and `cama_config`."""
    return CamaPaperCodec(with_variable_rate(cama_config(order, way), is_variable=is_variable))
