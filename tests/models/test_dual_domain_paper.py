"""The dual-domain system as published: one transform for all frames, sizes, one traversal."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError, ShapeError
from kinema.models.configs import from_dict, to_dict
from kinema.models.dual_domain import Reach
from kinema.models.dual_domain_configs import DualDomainPaperConfig, tiny_config
from kinema.models.dual_domain_paper import (
    DualDomainPaperCodec,
    Known,
    Memory,
    build_paper,
    to_latent,
)
from kinema.models.frames import Reference
from kinema.models.intra_paper import IntraPaperConfig
from kinema.models.weights import export_weights
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write

CRF, SIZE = torch.tensor([24.0]), (4, 5)
# Parameters in millions and thousands of multiplications per pixel of a P frame, encoder's.
COUNTS = {
    "analysis": (8.55, 246.5),  # applied twice: to the frame, to the warped picture
    "synthesis": (14.91, 227.9),
    "experts": (0.04, 0.2),
    "latent": (21.94, 134.6),
    "flow": (0.96, 318.6),
    "motion_analysis": (0.21, 14.3),
    "motion_synthesis": (0.58, 24.3),
    "motion": (1.57, 8.7),
    "first": (0.98, 3.8),
    "second": (0.98, 3.8),
    "adaptor_p": (0.53, 2.1),
}


@pytest.fixture
def network():
    """Tiny, with no parameter at zero."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = DualDomainPaperCodec(tiny_config())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network


@pytest.fixture
def clip(pictures):
    """Five frames that have little to do with each other."""
    return [pictures(1, SIZE[0] * 16, SIZE[1] * 16, seed) for seed in range(5)]


def code_clip(network, frames, make_channel, memory=None, crf=CRF):
    """Code frames, the first as an I frame, each other one from that before it."""
    coded = []
    for x in frames:
        references = () if memory is None else (Reference(memory, -1),)
        channel, finish = make_channel()
        with torch.no_grad():
            frame = network.code_frame(x, crf, SIZE, channel, references)
        coded.append((frame, finish()))
        memory = frame.memory
    return coded


def writing(tables):
    def make():
        writer = SymbolWriter()
        return Write([writer], tables), writer.finish

    return make


def symbols_of(frame):
    return frame.memory.latents[0].symbols


def test_counts_of_the_published_size():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, macs = build_paper(), {}

    def hook(name):
        def add(module, _inputs, output):
            macs[name] = macs.get(name, 0) + output.numel() * module.weight[0].numel()

        return add

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook(name.partition(".")[0]))
    memory = Memory(torch.rand(1, 3, 64, 64), (Known(torch.zeros(1, 256, 4, 4), CRF),), (), None)
    references = (Reference(memory, -1),)
    with torch.no_grad():
        network.code_frame(torch.zeros(1, 96, 8, 8), CRF, (4, 4), Estimate(noise=False), references)
    for name, (millions, thousands) in COUNTS.items():
        parameters = sum(p.numel() for p in getattr(network, name).parameters())
        assert parameters / 1e6 == pytest.approx(millions, abs=0.006)
        assert macs[name] / 64**2 / 1e3 == pytest.approx(thousands, abs=0.06)
    assert set(macs) == set(COUNTS)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(51.78, abs=0.01)


def test_context_off_shuffled_and_random_change_bits_alone(network, clip, tables):
    *_, (last, usual) = code_clip(network, clip, writing(tables))
    alone, off = code_clip(network, clip[-1:], writing(tables))[0]
    before = code_clip(network, clip[:-1], writing(tables))[-1][0].memory
    shuffled = before._replace(latents=before.latents[::-1], flows=before.flows[::-1])
    noise = torch.randn(1, 8, *SIZE, generator=torch.Generator().manual_seed(1)) * 5
    strange = Memory(
        1 - before.picture, (Known(noise, CRF),) * 3, before.flows, before.motion.flip(1)
    )
    payloads = {usual, off}
    for memory in (shuffled, strange):
        frame, payload = code_clip(network, clip[-1:], writing(tables), memory)[0]
        payloads.add(payload)
        assert torch.equal(frame.x_hat, last.x_hat)
        assert torch.equal(symbols_of(frame), symbols_of(last))
    assert torch.equal(alone.x_hat, last.x_hat)
    assert torch.equal(symbols_of(alone), symbols_of(last))
    assert symbols_of(last).any()
    assert len(payloads) == 4


@torch.no_grad()
def test_reader_follows_the_writer_without_the_encoder(network, clip, tables):
    written = code_clip(network, clip, writing(tables))
    for name, parameter in network.named_parameters():
        if name.startswith(network.encoder_only):
            parameter.fill_(torch.nan)
    left = iter([payload for _, payload in written])

    def reading():
        reader = SymbolReader(next(left))
        return Read([reader], tables), reader.finish

    found = code_clip(network, [None] * len(clip), reading)
    for (a, _), (b, _) in zip(written, found, strict=True):
        assert torch.equal(a.x_hat, b.x_hat)
        assert torch.equal(symbols_of(a), symbols_of(b))


def test_memory_is_no_longer_than_what_is_looked_at(network, clip, tables):
    coded = code_clip(network, clip, writing(tables))
    lengths = [(len(f.memory.latents), len(f.memory.flows)) for f, _ in coded]
    assert lengths == [(1, 0), (2, 1), (3, 2), (3, 2), (3, 2)]


@torch.no_grad()
def test_latents_of_another_quality_are_brought_into_the_steps_of_this_one(network, clip, tables):
    memory = code_clip(network, clip[:2], writing(tables))[-1][0].memory
    flow = torch.zeros(1, 2, SIZE[0] * 16, SIZE[1] * 16)
    same = network.look_back(memory, flow, CRF.clone())
    finer = network.look_back(memory, flow, CRF - 12)
    assert not torch.allclose(same, finer)
    known = memory.latents[0]
    back = network.experts.analysis(network.experts.synthesis(known.symbols, CRF)[0], CRF - 12)[0]
    relabelled = memory._replace(latents=(Known(back, CRF - 12), *memory.latents[1:]))
    assert torch.equal(network.look_back(relabelled, flow, CRF - 12), finer)


@torch.no_grad()
@pytest.mark.parametrize(
    "reach",
    [Reach(stages=0), Reach(stages=1), Reach(references=1), Reach(has_pixel_branch=False)],
)
def test_each_part_of_the_temporal_path_is_a_switch(reach, network, clip, tables):
    memory = code_clip(network, clip[:3], writing(tables))[-1][0].memory
    flow = torch.ones(1, 2, SIZE[0] * 16, SIZE[1] * 16)
    assert not torch.allclose(
        network.look_back(memory, flow, CRF), network.look_back(memory, flow, CRF, reach)
    )


@torch.no_grad()
def test_latent_only_decoding_asks_for_no_picture(clip, tables):
    torch.manual_seed(0)
    network = DualDomainPaperCodec(replace(tiny_config(), has_pixel_branch=False))
    memory = code_clip(network, clip[:2], writing(tables))[-1][0].memory
    flow = torch.ones(1, 2, SIZE[0] * 16, SIZE[1] * 16)
    blind = memory._replace(picture=memory.picture * torch.nan)
    assert torch.equal(network.look_back(blind, flow, CRF), network.look_back(memory, flow, CRF))


def test_flow_of_the_latent_is_in_its_own_samples():
    flow = torch.zeros(1, 2, 32, 48)
    flow[:, 0, :, 16:32] = 8
    found = to_latent(flow)
    assert found.shape == (1, 2, 2, 3)
    assert found[0, 0].tolist() == [[0, 0.5, 0]] * 2
    assert not found[0, 1].any()


def test_other_references_and_configurations_are_refused(network):
    references = (Reference("elsewhere", -1),)
    with pytest.raises(ConfigError, match="a P frame has the frame before"):
        network.code_frame(None, CRF, SIZE, Estimate(noise=True), references)
    with pytest.raises(ConfigError, match="one number"):
        DualDomainPaperConfig(intra=IntraPaperConfig(latent_channels=8, has_scales=False))
    with pytest.raises(ConfigError, match="without scales"):
        DualDomainPaperConfig(intra=IntraPaperConfig())
    with pytest.raises(ShapeError, match="0 references and 0 flows"):
        network.first(torch.zeros(1, 8, 2, 2), [], [])
    config = tiny_config()
    assert from_dict(DualDomainPaperConfig, to_dict(config)) == config


def test_floating_point_weights_are_not_exported_as_exact(tmp_path, network):
    with pytest.raises(ConfigError, match="not on a grid"):
        export_weights(network, tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
