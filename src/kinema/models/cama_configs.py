"""Configurations of DCVC-TCM and CAMA as published: blocks, warps, entropy models as switches."""

from dataclasses import dataclass, field, replace

from kinema.models.intra import IntraConfig
from kinema.models.lstvc_configs import START_GAIN
from kinema.nn.residual import BlockKind
from kinema.parts.conditional_transforms import MotionTransformConfig
from kinema.parts.feature_transforms import FeatureTransformConfig
from kinema.parts.feature_warping import FeatureWarpConfig, WarpKind
from kinema.parts.latent_orders import Order
from kinema.parts.motion_scales import MotionScales, Way
from kinema.parts.optical_flow import FlowConfig
from kinema.parts.staged_codec import StagedConfig


def _tcm_motion() -> MotionTransformConfig:
    return MotionTransformConfig(refinement=0, blocks="residual")


def _tcm_latent(channels: int) -> StagedConfig:
    return StagedConfig(
        latent_channels=channels, hidden_channels=64, order="single", fusion="residual"
    )


@dataclass(frozen=True, kw_only=True)
class CamaPaperConfig:
    """Everything that decides the shape of the networks; as they stand, DCVC-TCM."""

    intra: IntraConfig = field(default_factory=IntraConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    motion: MotionTransformConfig = field(default_factory=_tcm_motion)
    motion_latent: StagedConfig = field(default_factory=lambda: _tcm_latent(128))
    warping: FeatureWarpConfig = field(default_factory=FeatureWarpConfig)
    contextual: FeatureTransformConfig = field(default_factory=FeatureTransformConfig)
    latent: StagedConfig = field(default_factory=lambda: _tcm_latent(96))
    prior_width: int = 64  # of the temporal prior encoder
    scales: MotionScales = field(default_factory=MotionScales)  # encoder only


def tcm_config() -> CamaPaperConfig:
    """Give the base, DCVC-TCM."""
    return CamaPaperConfig()


def cama_config(order: Order = "quadtree", way: Way = "full") -> CamaPaperConfig:
    """Give CAMA: depthwise blocks, both stages of the warp, channels of DCVC-DC.

    Args:
        order: of the latents; "single" is the entropy model of the base.
        way: of choosing the resolution for motion search; training takes the full one.
    """
    config = with_blocks(with_warp(CamaPaperConfig(), "both"), "depthwise")
    return replace(
        with_scales(config, way),
        motion=replace(config.motion, width=64),
        motion_latent=replace(config.motion_latent, latent_channels=64, order=order),
        warping=replace(config.warping, widths=(96, 64, 48), adaptors=3),
        contextual=replace(config.contextual, widths=(64, 96, 96), head=48),
        latent=replace(config.latent, latent_channels=128, order=order),
    )


def with_warp(config: CamaPaperConfig, kind: WarpKind) -> CamaPaperConfig:
    """Choose the stages of the warp."""
    return replace(config, warping=replace(config.warping, kind=kind))


def with_blocks(config: CamaPaperConfig, kind: BlockKind) -> CamaPaperConfig:
    """Choose the blocks of motion codec, contextual codec and entropy models."""
    return replace(
        config,
        motion=replace(config.motion, blocks=kind),
        motion_latent=replace(config.motion_latent, fusion=kind),
        warping=replace(config.warping, blocks=kind),
        contextual=replace(config.contextual, blocks=kind),
        latent=replace(config.latent, fusion=kind),
    )


def with_scales(config: CamaPaperConfig, way: Way) -> CamaPaperConfig:
    """Choose how the encoder finds the resolution at which it looks for motion."""
    return replace(config, scales=replace(config.scales, way=way))


def with_variable_rate(config: CamaPaperConfig, *, is_variable: bool) -> CamaPaperConfig:
    """Add gain vectors, by which one model serves all qualities; or take them away."""
    gain = START_GAIN if is_variable else None
    return replace(
        config,
        motion_latent=replace(config.motion_latent, gain=gain),
        latent=replace(config.latent, gain=gain),
    )


def tiny_config() -> CamaPaperConfig:
    """Give the base in widths for ablations on a CPU, with shortcuts for short training."""
    config = CamaPaperConfig(
        flow=FlowConfig(channels=(16, 16, 16, 16), kernel=5),
        motion=MotionTransformConfig(width=16, refinement=0, blocks="residual", has_shortcut=True),
        motion_latent=replace(_tcm_latent(32), hyper_channels=16, hidden_channels=16),
        warping=FeatureWarpConfig(
            widths=(32, 32, 16), head_channels=16, groups=2, has_shortcut=True
        ),
        contextual=FeatureTransformConfig(
            widths=(32, 32, 32), inner=16, head=16, has_shortcut=True
        ),
        latent=replace(_tcm_latent(48), hyper_channels=16, hidden_channels=32),
        prior_width=32,
    )
    return with_variable_rate(config, is_variable=True)
