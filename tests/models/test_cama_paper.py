"""DCVC-TCM and CAMA as published: size, switches, and one traversal for all channels."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.models.cama_configs import tcm_config, with_blocks, with_scales, with_warp
from kinema.models.cama_configs import tiny_config as narrow
from kinema.models.cama_paper import CamaPaperCodec, Memory, build_paper, build_tcm
from kinema.models.configs import from_dict, to_dict
from kinema.models.frames import Reference
from kinema.nn.residual import DepthwiseBlock
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.latent_orders import QuadtreeContext, SingleStep
from kinema.parts.optical_flow import warp

MEGA, GIGA = 1e6, 1e9
PIXELS = 1920 * 1088
SIZES = {  # millions of parameters beside the intra codec, GMAC of a P frame at 1080p
    "tcm": (build_tcm, 10.65, 2964),  # published: about 10.7 million
    "cama": (build_paper, 14.75, 3539),
    "cama with the base's entropy model": (lambda: build_paper(order="single"), 11.61, 3514),
}


@pytest.fixture
def tiny(tiny_config):
    """Make a tiny base around a tiny intra codec, changed as told, with no parameter at zero."""

    def make(change=lambda config: config, seed=0):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = CamaPaperCodec(change(replace(narrow(), intra=tiny_config)))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not name.startswith("intra."):
                    parameter += 0.02 * torch.randn_like(parameter)
        return network

    return make


def full(config):
    """CAMA: every switch on."""
    config = with_blocks(with_warp(config, "both"), "depthwise")
    return replace(
        config,
        warping=replace(config.warping, adaptors=3),
        motion_latent=replace(config.motion_latent, order="quadtree"),
        latent=replace(config.latent, order="quadtree"),
    )


def code(network, frames, crf, channels):
    """An I frame and P frames behind it."""
    coded, references = [], ()
    for x, channel in zip(frames, channels, strict=True):
        size = (4, 6) if x is None else (x.shape[2] // 2, x.shape[3] // 2)
        coded.append(network.code_frame(x, crf, size, channel, references))
        references = (Reference(coded[-1].memory, -1),)
    return coded


def count(network):
    """Multiplications of convolutions per pixel of a P frame."""
    macs = []

    def add(module, inputs, output):
        sites = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        macs.append(sites.numel() * module.weight[0].numel())

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not name.startswith("intra."):
            module.register_forward_hook(add)
    features = torch.rand(1, network.config.contextual.head, 64, 64)
    references = (Reference(Memory(torch.rand(1, 3, 64, 64), features, 1), -1),)
    x = torch.zeros(1, 96, 8, 8)
    with torch.no_grad():
        network.code_frame(x, torch.zeros(1), (4, 4), Estimate(noise=False), references)
    return sum(macs) / 64**2


@pytest.mark.parametrize("name", SIZES)
def test_size_is_what_the_page_says(name):
    build, millions, gmacs = SIZES[name]
    network = build()
    own = [p for name, p in network.named_parameters() if not name.startswith("intra.")]
    assert sum(p.numel() for p in own) / MEGA == pytest.approx(millions, abs=0.01)
    assert count(network) * PIXELS / GIGA == pytest.approx(gmacs, rel=1e-3)


@pytest.mark.parametrize("change", [lambda config: config, full], ids=["tcm", "cama"])
@torch.no_grad()
def test_what_is_written_is_read_without_the_encoder(change, tiny, pictures, tables):
    network, crf = tiny(change), torch.tensor([36.0])
    x = [pictures(1, 64, 96, seed) for seed in range(3)]
    writers = [SymbolWriter() for _ in x]
    coded = code(network, x, crf, [Write([writer], tables) for writer in writers])
    for name, parameter in network.named_parameters():
        if name.startswith(network.encoder_only):
            parameter.fill_(torch.nan)
    readers = [SymbolReader(writer.finish()) for writer in writers]
    decoded = code(network, [None] * 3, crf, [Read([reader], tables) for reader in readers])
    for a, b, reader in zip(coded, decoded, readers, strict=True):
        reader.finish()
        assert torch.equal(a.x_hat, b.x_hat)
    assert torch.equal(coded[-1].memory.features, decoded[-1].memory.features)
    assert [frame.memory.place for frame in decoded] == [0, 1, 2]


@torch.no_grad()
def test_pictures_of_any_size_in_sixteenths(tiny, pictures):
    x = [pictures(1, 48, 80, seed) for seed in (0, 1)]
    coded = code(tiny(), x, torch.tensor([36.0]), [Estimate(noise=False)] * 2)[1]
    assert coded.x_hat.shape == (1, 96, 6, 10)
    assert coded.memory.picture.shape == (1, 3, 64, 128)
    assert coded.memory.features.shape == (1, 16, 64, 128)


def test_switches_change_what_they_name(tiny):
    def blocks(network):
        return sum(isinstance(module, DepthwiseBlock) for module in network.modules())

    base, changed = tiny(), tiny(full)
    assert blocks(base) == 0 < blocks(changed)
    assert isinstance(base.contextual.steps, SingleStep)
    assert isinstance(base.motion.steps, SingleStep)
    assert isinstance(changed.contextual.steps, QuadtreeContext)
    assert isinstance(changed.motion.steps, QuadtreeContext)
    assert [len(base.warping.adapt), len(changed.warping.adapt)] == [1, 3]
    names = {name for name, _ in tiny(lambda c: with_warp(c, "coarse")).named_parameters()}
    plain = {name for name, _ in base.named_parameters()}
    more = names - plain
    assert more
    assert all(name.startswith("warping.warps.") for name in more)
    assert plain < names


@torch.no_grad()
def test_what_is_added_begins_as_nothing(tiny_config):
    """With both stages and four steps, an untrained codec is that of plain warps and one step."""

    def more(config):
        return replace(with_warp(config, "both"), latent=replace(config.latent, order="quadtree"))

    plain = replace(narrow(), intra=tiny_config)
    torch.manual_seed(0)
    base, other = CamaPaperCodec(plain), CamaPaperCodec(more(plain))
    other.load_state_dict(base.state_dict(), strict=False)
    picture, before = torch.rand(1, 3, 64, 64), Memory(torch.rand(1, 3, 64, 64), None, 0)
    found = []
    for network in (base, other):
        channel, crf = Estimate(noise=False), torch.tensor([36.0])
        flow = network.find_flow(picture, before, crf)
        predicted = network.predict(flow, before, crf, channel)
        x_hat, _, _ = network.code_picture(picture, predicted, crf, channel)
        found.append((x_hat, channel.bits()))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-4)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-3)


@torch.no_grad()
def test_features_of_the_frame_before_matter(tiny, pictures):
    network, crf = tiny(full), torch.tensor([36.0])
    x = [pictures(1, 64, 64, seed) for seed in range(3)]
    coded = code(network, x, crf, [Estimate(noise=False)] * 3)
    memory = coded[1].memory._replace(features=-coded[1].memory.features)
    other = network.code_frame(x[2], crf, (4, 4), Estimate(noise=False), (Reference(memory, -1),))
    assert not torch.equal(other.x_hat, coded[2].x_hat)


@torch.no_grad()
def test_shortcuts_begin_as_motion_compensation():
    torch.manual_seed(0)
    network = CamaPaperCodec(narrow())
    picture, crf = torch.rand(1, 3, 64, 64), torch.tensor([36.0])
    features, channel = torch.zeros(1, 16, 64, 64), Estimate(noise=False)
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0] = 3.0
    predicted = network.predict(flow, Memory(picture, features, 1), crf, channel)
    assert torch.allclose(predicted.flow[..., 16:48, 16:48], flow[..., 16:48, 16:48], atol=0.5)
    moved = warp(picture, predicted.flow)
    x_hat, _, _ = network.code_picture(moved, predicted, crf, channel)
    assert torch.allclose(x_hat, moved, atol=0.01)


@pytest.mark.parametrize("way", ["rule", "trial"])
@torch.no_grad()
def test_no_decoder_knows_at_which_resolution_motion_was_looked_for(way, tiny, pictures, tables):
    network = tiny(lambda config: with_scales(config, way))
    crf, x = torch.tensor([36.0]), [pictures(1, 64, 96, seed) for seed in (0, 1)]
    writers = [SymbolWriter() for _ in x]
    coded = code(network, x, crf, [Write([writer], tables) for writer in writers])
    readers = [SymbolReader(writer.finish()) for writer in writers]
    plain = tiny()
    decoded = code(plain, [None] * 2, crf, [Read([reader], tables) for reader in readers])
    assert torch.equal(coded[1].x_hat, decoded[1].x_hat)


def test_configurations_survive_as_plain_values():
    for config in (tcm_config(), full(tcm_config())):
        assert from_dict(type(config), to_dict(config)) == config


def test_other_references_are_refused(tiny):
    references = (Reference("elsewhere", -1),)
    with pytest.raises(ConfigError, match="CAMA takes the frame before"):
        tiny().code_frame(None, torch.zeros(1), (4, 4), Estimate(noise=True), references)
