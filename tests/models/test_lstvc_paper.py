"""LSTVC as published: size, switches, and one traversal for all channels."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.models.frames import Reference
from kinema.models.lstvc_configs import LstvcPaperConfig
from kinema.models.lstvc_configs import tiny_config as narrow
from kinema.models.lstvc_paper import LstvcPaperCodec, Memory, build_paper, build_paper_plus
from kinema.models.weights import export_weights
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write

MEBI, GIGA = 2**20, 1e9
PIXELS = 1920 * 1088
PUBLISHED = [(build_paper, 32, 2969), (build_paper_plus, 49, 4547)]  # MB of fp32, GMAC at 1080p


@pytest.fixture
def tiny(tiny_config):
    """Make a tiny LSTVC around a tiny intra codec, with no parameter at zero."""
    plain = narrow()

    def make(seed=0, **settings):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = LstvcPaperCodec(replace(plain, intra=tiny_config, **settings))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not name.startswith("intra."):
                    parameter += 0.02 * torch.randn_like(parameter)
        return network

    return make


def code_two(network, x, crf, channels):
    """An I frame and a P frame behind it."""
    size = (x[0].shape[2] // 2, x[0].shape[3] // 2) if x[0] is not None else (4, 6)
    first = network.code_frame(x[0], crf, size, channels[0])
    references = (Reference(first.memory, -1),)
    return first, network.code_frame(x[1], crf, size, channels[1], references)


def count(network):
    """Multiplications of convolutions per pixel of a P frame."""
    macs = []

    def add(module, inputs, output):
        sites = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        macs.append(sites.numel() * module.weight[0].numel())

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not name.startswith("intra."):
            module.register_forward_hook(add)
    memory = Memory(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 16, 16))
    with torch.no_grad():
        network.code_frame(
            torch.zeros(1, 96, 8, 8),
            torch.zeros(1),
            (4, 4),
            Estimate(noise=False),
            (Reference(memory, -1),),
        )
    return sum(macs) / 64**2


@pytest.mark.parametrize(("build", "megabytes", "gmacs"), PUBLISHED)
def test_size_is_near_the_published_one(build, megabytes, gmacs):
    network = build()
    own = [p for name, p in network.named_parameters() if not name.startswith("intra.")]
    assert sum(4 * p.numel() for p in own) / MEBI == pytest.approx(megabytes, rel=0.02)
    assert count(network) * PIXELS / GIGA == pytest.approx(gmacs, rel=0.02)


@torch.no_grad()
def test_what_is_written_is_read_without_the_encoder(tiny, pictures, tables):
    network, crf = tiny(), torch.tensor([36.0])
    x = [pictures(1, 64, 96, seed) for seed in (0, 1)]
    writers = [SymbolWriter() for _ in x]
    coded = code_two(network, x, crf, [Write([writer], tables) for writer in writers])
    for name, parameter in network.named_parameters():
        if name.startswith(network.encoder_only):
            parameter.fill_(torch.nan)
    readers = [SymbolReader(writer.finish()) for writer in writers]
    decoded = code_two(network, [None, None], crf, [Read([reader], tables) for reader in readers])
    for a, b, reader in zip(coded, decoded, readers, strict=True):
        reader.finish()
        assert a.x_hat.shape == (1, 96, 8, 12)
        assert torch.equal(a.x_hat, b.x_hat)
        assert torch.equal(a.memory.picture, b.memory.picture)
    assert torch.equal(coded[1].memory.state, decoded[1].memory.state)


@torch.no_grad()
def test_pictures_of_any_size_in_sixteenths(tiny, pictures):
    x = [pictures(1, 48, 80, seed) for seed in (0, 1)]
    _, coded = code_two(tiny(), x, torch.tensor([36.0]), [Estimate(noise=False)] * 2)
    assert coded.x_hat.shape == (1, 96, 6, 10)
    assert coded.memory.picture.shape == (1, 3, 64, 128)
    assert coded.memory.state.shape == (1, 32, 16, 32)


def test_without_uses_there_is_no_temporal_prior(tiny):
    plain = tiny(prior_for=())
    names = [name for name, _ in plain.named_parameters()]
    assert not [name for name in names if "from_state" in name or "long_term" in name]
    assert not hasattr(plain, "motion_prior")
    assert plain.motion.from_guide is None
    memory = Memory(torch.rand(1, 3, 64, 64), None)
    channel = Estimate(noise=False)
    assert plain.predict(torch.rand(1, 3, 64, 64), memory, torch.zeros(1), channel).state is None


@pytest.mark.parametrize("use", ["motion", "entropy", "transforms"])
@torch.no_grad()
def test_each_use_of_the_prior_is_a_switch(tiny, use):
    """What the state says matters to the stated use, and to no other."""
    network, crf = tiny(prior_for=(use,)), torch.tensor([36.0])
    picture = torch.rand(1, 3, 64, 64)
    results = []
    for seed in (0, 1):
        state = torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(seed))
        before, motion, rest = Memory(picture, state), Estimate(noise=False), Estimate(noise=False)
        predicted = network.predict(picture, before, crf, motion)
        context = torch.zeros_like(predicted.context)
        scale = predicted.scales[1]._replace(result=context)
        fixed = predicted._replace(scales={1: scale})
        x_hat, _ = network.code_picture(picture, fixed, crf, rest)
        results.append((motion.bits(), rest.bits(), x_hat))
    same = [torch.equal(a, b) for a, b in zip(*results, strict=True)]
    assert same[0] == (use != "motion")
    assert same[1] == (use == "motion")


def test_gains_serve_all_qualities_and_are_a_switch(tiny):
    fixed = replace(narrow().latent, gain=None)
    assert tiny(latent=fixed).contextual.gains is None
    gains = tiny().contextual.gains(torch.tensor([20.0, 50.0]))
    assert (gains[0] > gains[1]).all()


def test_unknown_uses_and_references_are_refused(tiny):
    with pytest.raises(ConfigError, match="prior for 'sound'"):
        LstvcPaperConfig(prior_for=("sound",))
    references = (Reference("elsewhere", -1),)
    with pytest.raises(ConfigError, match="LSTVC takes the frame before"):
        tiny().code_frame(None, torch.zeros(1), (4, 4), Estimate(noise=True), references)


def test_shortcuts_begin_as_motion_compensation():
    torch.manual_seed(1)  # one in six seeds has a symbol of motion that is not zero
    network = LstvcPaperCodec(narrow())
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        predicted = network.predict(
            picture, Memory(picture, None), torch.tensor([36.0]), Estimate(noise=False)
        )
        x_hat, _ = network.code_picture(
            picture, predicted, torch.tensor([36.0]), Estimate(noise=False)
        )
    assert torch.allclose(predicted.flow, torch.zeros_like(predicted.flow), atol=0.01)
    assert torch.allclose(x_hat, picture, atol=0.01)


def test_floating_point_weights_are_not_exported_as_exact(tmp_path, tiny):
    with pytest.raises(ConfigError, match="not on a grid"):
        export_weights(tiny(), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
