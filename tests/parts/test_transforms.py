"""Analysis and synthesis: an orthonormal start, exact sums, honest weights of errors."""

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import ConfigError
from kinema.models.intra import IntraCodec, IntraConfig
from kinema.nn.exact import GridLayer
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, STEPS_PER_LEVEL
from kinema.parts.priors import PriorConfig
from kinema.parts.transforms import PATCH_CHANNELS, Analysis, Synthesis, TransformConfig

CRF = torch.tensor([30.0])
COMPLETE = {
    "fine_channels": 8,
    "coarse_channels": 8,
    "analysis_fine_blocks": 1,
    "analysis_coarse_blocks": 1,
    "synthesis_fine_blocks": 1,
    "synthesis_coarse_blocks": 1,
}


def started(latent_channels, pictures):
    """A codec at its start: block transform from patches, branches that do nothing."""
    config = IntraConfig(
        transform=TransformConfig(latent_channels=latent_channels, **COMPLETE),
        prior=PriorConfig(latent_channels=latent_channels, hyper_channels=4, prior_channels=8),
    )
    torch.manual_seed(0)
    codec = IntraCodec(config)
    folded = F.pixel_unshuffle(pictures(64, 64, 64), 2)
    codec.start_from_patches(folded.permute(0, 2, 3, 1).flatten(0, 2))
    return codec


def test_complete_start_reconstructs_perfectly(pictures):
    codec, x = started(PATCH_CHANNELS, pictures), pictures(1, 48, 80, seed=5)
    y = codec.analysis(x, CRF)
    assert y.shape == (1, PATCH_CHANNELS, 3, 5)
    assert torch.allclose(codec.synthesis(y, CRF), x, atol=0.05)


def test_start_is_orthonormal_where_errors_are_weighed(pictures):
    codec = started(PATCH_CHANNELS, pictures)
    forward, backward = codec.analysis.linear.double(), codec.synthesis.linear.double()
    unit = torch.eye(PATCH_CHANNELS).double()
    assert torch.allclose(forward @ backward, unit, atol=1e-3)
    weight = torch.full((PATCH_CHANNELS,), 1.0).double()
    weight.view(96, 4)[64:] = 4 * CHROMA_WEIGHT / LUMA_WEIGHT
    gram = backward.T * weight @ backward
    scale = gram.diagonal().rsqrt()
    assert torch.allclose(gram * scale * scale[:, None], unit, atol=1e-3)


def test_fewer_components_lose_the_least_important(pictures):
    x = pictures(1, 64, 64)
    errors = []
    for channels in (4, 40, 200):
        codec = started(channels, pictures)
        x_hat = codec.synthesis(codec.analysis(x, CRF), CRF).detach()
        errors.append(float((x_hat - x).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[2]


def test_latent_channels_start_alike_in_spread(pictures):
    codec = started(40, pictures)
    spread = codec.analysis(pictures(64, 64, 64), CRF).square().mean((0, 2, 3)).sqrt()
    assert spread.min() > 120
    assert spread.max() < 520


def test_weight_of_a_latent_error_is_what_it_does_to_the_planes(pictures):
    codec, x = started(40, pictures), pictures(1, 16, 16)
    y = codec.analysis(x, CRF)
    before = codec.synthesis._linear(y)
    for channel in (0, 7, 39):
        moved = y.clone()
        moved[:, channel] += 3.0
        error = ((codec.synthesis._linear(moved) - before) / STEPS_PER_LEVEL).square()
        luma, chroma = error[:, :64].sum(), error[:, 64:].sum()
        # Means over the planes' samples, times the samples of a 16x16 block.
        expected = LUMA_WEIGHT * luma + CHROMA_WEIGHT * chroma * 4
        found = codec.synthesis.latent_weight()[channel] * 9
        assert found.item() == pytest.approx(expected.item(), rel=1e-3)


def test_frozen_synthesis_gives_whole_numbers_from_any_amplitudes(tiny_intra, freeze):
    synthesis = freeze(tiny_intra()).synthesis
    for reach in (1.0, 300.0, 1e9):
        y_hat = (torch.randn(1, 20, 3, 4).double() * reach * 64).round() / 64
        x_hat = synthesis(y_hat, CRF)
        assert x_hat.shape == (1, 96, 6, 8)
        assert torch.equal(x_hat, x_hat.round())


def test_block_transform_is_exact_in_any_order_of_summation(tiny_intra, freeze):
    synthesis = freeze(tiny_intra()).synthesis
    y_hat = (torch.randn(1, 20, 3, 4).double() * 3000 * 64).round() / 64
    expected = synthesis._linear(y_hat)
    whole = (synthesis.linear.T * 2**16).long()
    product = torch.einsum("mo,bmhw->bohw", whole, (y_hat * 64).long())
    folded = F.pixel_shuffle(product, 2).double() * 2**-22
    assert torch.equal(expected, folded)


def test_block_transform_beyond_exact_sums_is_refused():
    synthesis = Synthesis(TransformConfig(latent_channels=4, **COMPLETE))
    with torch.no_grad():
        synthesis.linear[5] = 2.0**14 + 1
    with pytest.raises(ConfigError, match="linear: sums reach"):
        synthesis.grid_tensors()
    whole = torch.full((PATCH_CHANNELS, 4), 2**30 + 1, dtype=torch.int32)
    with pytest.raises(ConfigError, match="linear: sums reach"):
        synthesis.load_grid_tensors({"linear": whole})
    with pytest.raises(ConfigError, match="linear: found"):
        synthesis.load_grid_tensors({"linear": whole[:-1]})


def test_quality_reaches_both_transforms(tiny_intra, pictures):
    codec, x = tiny_intra(), pictures()
    low, high = torch.tensor([3.0]), torch.tensor([50.0])
    assert not torch.equal(codec.analysis(x, low), codec.analysis(x, high))
    y = codec.analysis(x, low)
    assert not torch.equal(codec.synthesis(y, low), codec.synthesis(y, high))


def test_freezing_leaves_the_analysis_as_it_was(tiny_intra, pictures, freeze):
    codec, x = tiny_intra(), pictures()
    with torch.no_grad():
        codec.analysis.quality.knots.normal_()
    for crf in (0.0, 13.5, 63.0):
        expected = codec.analysis(x, torch.tensor([crf]))
        found = freeze(codec).analysis(x, torch.tensor([crf]))
        assert torch.allclose(found, expected, rtol=1e-3, atol=0.05)


def test_analysis_holds_nothing_of_the_grid_but_its_table():
    analysis = Analysis(TransformConfig(latent_channels=4, **COMPLETE))
    assert [n for n, m in analysis.named_modules() if isinstance(m, GridLayer)] == ["quality"]
