"""Configurations of LSTVC as published: every width, uses of the temporal prior, three sizes."""

from dataclasses import dataclass, field, replace

from kinema.errors import ConfigError
from kinema.models.intra import IntraConfig
from kinema.parts.conditional_transforms import ContextualTransformConfig, MotionTransformConfig
from kinema.parts.guided_compensation import CompensationConfig
from kinema.parts.motion_scales import MotionScales
from kinema.parts.optical_flow import FlowConfig
from kinema.parts.staged_codec import StagedConfig

USES = ("motion", "entropy", "transforms")  # of the temporal prior
START_GAIN = 4.0  # where there are gain vectors


@dataclass(frozen=True, kw_only=True)
class LstvcPaperConfig:
    """Everything that decides the shape of the networks; as they stand, LSTVC."""

    intra: IntraConfig = field(default_factory=IntraConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    motion: MotionTransformConfig = field(default_factory=MotionTransformConfig)
    motion_latent: StagedConfig = field(default_factory=lambda: StagedConfig(latent_channels=128))
    compensation: CompensationConfig = field(default_factory=CompensationConfig)
    contextual: ContextualTransformConfig = field(default_factory=ContextualTransformConfig)
    latent: StagedConfig = field(default_factory=lambda: StagedConfig(latent_channels=96))
    prior_channels: int = 64  # of the temporal prior T, at 1/4
    prior_width: int = 64  # of the prior encoders
    prior_for: tuple[str, ...] = USES  # entropy models of motion and pictures; their transforms
    scales: MotionScales = field(default_factory=MotionScales)  # ours; encoder only

    def __post_init__(self) -> None:
        unknown = set(self.prior_for) - set(USES)
        if unknown:
            raise ConfigError(f"prior for {sorted(unknown)[0]!r}; known: {', '.join(USES)}")


def plus_config() -> LstvcPaperConfig:
    """Give LSTVC+: heavier contextual transforms."""
    heavier = ContextualTransformConfig(width=128, head=132, extra_blocks=3)
    return LstvcPaperConfig(contextual=heavier)


def with_gains(config: LstvcPaperConfig, *, is_variable: bool) -> LstvcPaperConfig:
    """Add gain vectors, by which one model serves all qualities; or take them away."""
    gain = START_GAIN if is_variable else None
    return replace(
        config,
        motion_latent=replace(config.motion_latent, gain=gain),
        latent=replace(config.latent, gain=gain),
    )


def tiny_config() -> LstvcPaperConfig:
    """Give widths for ablations on a CPU; variable rate, and shortcuts for short training."""
    return LstvcPaperConfig(
        flow=FlowConfig(channels=(16, 16, 16, 16), kernel=5),
        motion=MotionTransformConfig(width=16, refinement=16, has_shortcut=True),
        motion_latent=StagedConfig(
            latent_channels=32, hyper_channels=16, hidden_channels=16, gain=START_GAIN
        ),
        compensation=CompensationConfig(widths=(32, 32, 16), head_channels=16, groups=2),
        contextual=ContextualTransformConfig(width=32, head=16, has_shortcut=True),
        latent=StagedConfig(
            latent_channels=48, hyper_channels=16, hidden_channels=32, gain=START_GAIN
        ),
        prior_channels=32,
        prior_width=32,
    )
