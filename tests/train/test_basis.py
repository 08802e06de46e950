"""A change of basis: the same words about the same picture, in cosines."""

import torch
import torch.nn.functional as F

from kinema.models.lstvc import LstvcCodec, LstvcConfig
from kinema.parts.block_cosines import folded_cosines
from kinema.train.basis import tell_in_cosines


def small_codec():
    """The shipped shape is needed for a complete basis; most of it does not matter here."""
    torch.manual_seed(0)
    codec = LstvcCodec(LstvcConfig())
    order = torch.randperm(384)
    gains = torch.rand(384, dtype=torch.float64) + 0.5
    with torch.no_grad():
        codec.analysis.linear.copy_((folded_cosines()[order] * gains[:, None]).float())
    return codec, order


def test_layers_that_read_latents_see_what_they_saw():
    codec, _ = small_codec()
    x = torch.randn(1, 96, 4, 4) * 100
    before = F.conv2d(codec.analysis.blocks(x), codec.alignment.enter.weight)
    tell_in_cosines(codec)
    after = F.conv2d(codec.cosines.free(x), codec.alignment.enter.weight)
    assert before.abs().max() > 10
    assert torch.allclose(before, after, atol=0.5)


def test_channels_keep_their_steps_and_scales_in_levels():
    codec, order = small_codec()
    torch.nn.init.normal_(codec.contextual.steps.table.knots)
    torch.nn.init.normal_(codec.contextual.spatial.log_scale.knots)
    lengths = codec.analysis.linear.norm(dim=1) * 4
    steps = (codec.contextual.steps.table.knots - lengths.log()).detach().clone()
    scales = codec.contextual.spatial.log_scale.knots.detach().clone()
    tell_in_cosines(codec)
    now = codec.contextual.steps.table.knots - codec.cosines.gain.log()
    assert torch.allclose(now[:, order], steps, atol=1e-3)
    assert torch.equal(codec.contextual.spatial.log_scale.knots[:, order], scales)


def test_means_and_scales_of_a_channel_move_with_it():
    codec, order = small_codec()
    leave = codec.contextual.spatial.leave[1]
    torch.nn.init.normal_(leave.bias)

    def by_channel():
        return leave.bias.detach().view(4, 2, 96).permute(1, 2, 0).flatten(1).clone()

    before = by_channel()
    tell_in_cosines(codec)
    after = by_channel()
    assert torch.equal(after[1][order], before[1])
    assert torch.allclose(after[0][order].sign(), before[0].sign())
