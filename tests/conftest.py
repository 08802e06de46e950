"""Tiny systems with seeded weights, and pictures to code; torch is imported where it is needed."""

import copy

import pytest

THREADS = 1  # of torch, in tests: they share the machine


@pytest.fixture
def tiny_config():
    """The intra system with hardly any channels."""
    from kinema.models.intra import IntraConfig
    from kinema.parts.priors import PriorConfig
    from kinema.parts.transforms import TransformConfig

    return IntraConfig(
        transform=TransformConfig(
            latent_channels=20,
            fine_channels=16,
            coarse_channels=12,
            analysis_fine_blocks=1,
            analysis_coarse_blocks=1,
            synthesis_fine_blocks=1,
            synthesis_coarse_blocks=1,
        ),
        prior=PriorConfig(latent_channels=20, hyper_channels=8, prior_channels=12),
    )


@pytest.fixture
def tiny_moving(tiny_config):
    """Arguments of the configs of systems with motion, with hardly any channels."""
    from kinema.parts.deformable import DeformableConfig
    from kinema.parts.motion_codec import MotionConfig
    from kinema.parts.temporal import ContextConfig

    stage = DeformableConfig(
        stream_channels=8, latent_channels=20, value_channels=8, heads=2, hidden_channels=8
    )
    return {
        "intra": tiny_config,
        "motion": MotionConfig(width=8),
        "context": ContextConfig(stage=stage),
    }


@pytest.fixture
def tiny_lstvc_config(tiny_moving):
    """LSTVC with hardly any channels."""
    from kinema.models.lstvc import LstvcConfig

    return LstvcConfig(**tiny_moving, state_channels=8, refinement_channels=8, refinement_blocks=1)


@pytest.fixture
def tiny_cama_config(tiny_moving):
    """CAMA with hardly any channels."""
    from kinema.models.cama import CamaConfig
    from kinema.parts.feature_alignment import FeatureConfig

    features = FeatureConfig(widths=(8, 8, 4), groups=(2, 2, 1), hidden_channels=4)
    narrow = {"state_channels": 8, "refinement_channels": 8, "refinement_blocks": 1}
    return CamaConfig(**tiny_moving, **narrow, features=features)


@pytest.fixture
def tiny_uni_lvc_config(tiny_moving):
    """Uni-LVC with hardly any channels."""
    from kinema.models.uni_lvc import UniLvcConfig
    from kinema.parts.cross_adaptation import AdaptationConfig

    return UniLvcConfig(
        **tiny_moving,
        state_channels=8,
        refinement_channels=8,
        refinement_blocks=1,
        adaptation=AdaptationConfig(far_heads=1),
    )


@pytest.fixture
def pictures():
    """Make seeded pictures: (B, 96, H/8, W/8) in picture units, smooth with some texture."""
    import torch
    import torch.nn.functional as F

    from kinema.parts.planes import pack_planes

    def make(batch=1, height=64, width=96, seed=0):
        chance = torch.Generator().manual_seed(seed)
        planes = []
        for shrink in (1, 2, 2):
            size = (height // shrink, width // shrink)
            coarse = torch.rand(batch, 1, 4, 5, generator=chance) * 200 + 28
            fine = torch.randn(batch, 1, *size, generator=chance) * 3
            smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
            planes.append((smooth + fine).round().clamp(0, 255))
        return pack_planes(*planes)

    return make


@pytest.fixture
def tiny_intra(tiny_config, pictures):
    """Make a float intra codec that starts from a transform and has no parameter at zero."""
    import torch
    import torch.nn.functional as F

    from kinema.models.intra import IntraCodec

    torch.set_num_threads(THREADS)

    def make(seed=0):
        torch.manual_seed(seed)
        network = IntraCodec(tiny_config)
        folded = F.pixel_unshuffle(pictures(24, 64, 64, seed), 2)
        network.start_from_patches(folded.permute(0, 2, 3, 1).flatten(0, 2))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name != "cosines.gain":  # which must stay above 0
                    spread = float(parameter.abs().mean())
                    parameter += torch.randn_like(parameter) * (0.05 * spread if spread else 0.02)
        return network

    return make


@pytest.fixture
def freeze():
    """Make an exact copy of a network: every grid layer on its grid."""
    from kinema.nn.exact import GridLayer

    def make(network):
        network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        for layer in list(network.modules()):
            if isinstance(layer, GridLayer):
                layer.load_grid_tensors(layer.grid_tensors())
        return network

    return make


@pytest.fixture
def tables():
    """Probability tables of the channels that touch bytes."""
    from kinema.parts.coding import build_tables

    return build_tables()
