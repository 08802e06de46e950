"""Configurations of the dual-domain system as published: every width; one for tests."""

from dataclasses import dataclass, field

from kinema.errors import ConfigError
from kinema.models.intra_paper import IntraPaperConfig
from kinema.parts.flow_guided import FlowGuidedConfig
from kinema.parts.optical_flow import FlowConfig
from kinema.parts.quadtree_codec import QuadtreeConfig


def _backbone() -> IntraPaperConfig:
    """The transforms of the intra codec; quality is the experts' business."""
    return IntraPaperConfig(has_scales=False)


@dataclass(frozen=True, kw_only=True)
class DualDomainPaperConfig:
    """Everything that decides the shape of the networks."""

    intra: IntraPaperConfig = field(default_factory=_backbone)  # of it, the transforms
    num_experts: int = 4
    gate_channels: int = 64
    latent: QuadtreeConfig = field(default_factory=QuadtreeConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    motion_width: int = 64
    motion: QuadtreeConfig = field(
        default_factory=lambda: QuadtreeConfig(latent_channels=64, hyper_channels=64)
    )
    stage: FlowGuidedConfig = field(default_factory=FlowGuidedConfig)
    max_references: int = 3  # of the second stage
    has_pixel_branch: bool = True  # False: latent-only, whose entropy decoding needs no picture

    def __post_init__(self) -> None:
        found = (self.intra.latent_channels, self.latent.latent_channels, self.stage.channels)
        if len(set(found)) > 1:
            raise ConfigError(f"latent channels of transforms, prior, stages: {found}; one number")
        if self.max_references < 1 or self.intra.has_scales:
            raise ConfigError("expected one reference or more, and transforms without scales")


def tiny_config() -> DualDomainPaperConfig:
    """Give widths for tests on a CPU."""
    return DualDomainPaperConfig(
        intra=IntraPaperConfig(
            feature_channels=16,
            latent_channels=8,
            analysis_blocks=1,
            synthesis_blocks=1,
            has_scales=False,
        ),
        num_experts=3,
        gate_channels=8,
        latent=QuadtreeConfig(latent_channels=8, hyper_channels=8, fusion_blocks=1, step_blocks=1),
        flow=FlowConfig(channels=(4, 4, 4, 4), kernel=3, levels=2),
        motion_width=8,
        motion=QuadtreeConfig(latent_channels=4, hyper_channels=4, fusion_blocks=1, step_blocks=1),
        stage=FlowGuidedConfig(channels=8, heads=2, hidden_channels=8, offset_blocks=1),
    )
