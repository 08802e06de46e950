"""The dual-domain codec: references change bits, and nothing else."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.models.dual_domain import Reach
from kinema.models.frames import Reference
from kinema.models.moving import Memory
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.planes import pack_planes, unpack_planes

CRF = torch.tensor([24.0])
SIZE = (4, 5)


@pytest.fixture
def moving(pictures):
    """Frames of a picture that drifts by three samples a frame."""
    height, width = SIZE[0] * 16, SIZE[1] * 16
    x = pictures(1, height, width)
    frames = []
    for t in range(5):
        y, u, v = unpack_planes(x)
        frames.append(pack_planes(y.roll(4 * t, 3), u.roll(2 * t, 3), v.roll(2 * t, 3)))
    return frames


def code_clip(network, frames, make_channel, memory=None):
    """Code frames, the first as an I frame, each other one from that before it."""
    coded = []
    for x in frames:
        references = () if memory is None else (Reference(memory, -1),)
        channel, finish = make_channel()
        with torch.no_grad():
            frame = network.code_frame(x, CRF, SIZE, channel, references)
        coded.append((frame, finish()))
        memory = frame.memory
    return coded


def writing(tables):
    def make():
        writer = SymbolWriter()
        return Write([writer], tables), writer.finish

    return make


def reading(tables, payloads):
    left = iter(payloads)

    def make():
        reader = SymbolReader(next(left))
        return Read([reader], tables), reader.finish

    return make


@pytest.mark.parametrize("has_pixel_branch", [True, False])
def test_reader_follows_the_writer(has_pixel_branch, tiny_dual_domain, moving, freeze, tables):
    network = freeze(tiny_dual_domain(has_pixel_branch=has_pixel_branch))
    written = code_clip(network, moving, writing(tables))
    payloads = [payload for _, payload in written]
    found = code_clip(network, [None] * len(moving), reading(tables, payloads))
    for (a, _), (b, _) in zip(written, found, strict=True):
        assert torch.equal(a.x_hat, b.x_hat)
        for mine, theirs in zip(
            a.memory.latents + a.memory.fields, b.memory.latents + b.memory.fields, strict=True
        ):
            assert torch.equal(mine, theirs)


def test_references_change_bits_and_nothing_else(tiny_dual_domain, moving, freeze, tables):
    network = freeze(tiny_dual_domain())
    *_, (last, usual) = code_clip(network, moving, writing(tables))
    alone, intra = code_clip(network, moving[-1:], writing(tables))[0]
    before = code_clip(network, moving[:-1], writing(tables))[-1][0].memory
    chance = torch.Generator().manual_seed(1)
    noise = torch.randint(-500, 500, before.latents[0].shape, generator=chance).float()
    broken = Memory(-before.picture, (noise,) * 3, before.fields[:2], before.z_hat.flip(1))
    strange, other = code_clip(network, moving[-1:], writing(tables), broken)[0]
    for frame in (alone, strange):
        assert torch.equal(frame.x_hat, last.x_hat)
        assert torch.equal(frame.y_hat, last.y_hat)
        assert torch.equal(frame.memory.z_hat, last.memory.z_hat)
    assert len({usual, intra, other}) == 3


def test_a_shorter_reach_is_another_context(tiny_dual_domain, moving, freeze, tables):
    """And what a reach leaves out does not matter."""
    network = freeze(tiny_dual_domain())
    memory = code_clip(network, moving, writing(tables))[-1][0].memory
    motion = memory.fields[0]
    whole = network.look_back(memory, motion)
    assert torch.equal(network.look_back(memory, motion, Reach(2, 3, True)).stream, whole.stream)
    for reach in (Reach(stages=0), Reach(stages=1), Reach(references=1), Reach(references=2)):
        found = network.look_back(memory, motion, reach)
        assert torch.equal(found.coarse, whole.coarse)
        assert not torch.equal(found.stream, whole.stream)
    blind = memory._replace(picture=-memory.picture)
    latent_only = Reach(has_pixel_branch=False)
    found = network.look_back(blind, motion, latent_only)
    assert torch.equal(found.stream, network.look_back(memory, motion, latent_only).stream)
    assert not torch.equal(found.coarse, whole.coarse)


def test_memory_is_no_longer_than_what_is_looked_at(tiny_dual_domain, moving, freeze, tables):
    coded = code_clip(freeze(tiny_dual_domain()), moving, writing(tables))
    lengths = [(len(f.memory.latents), len(f.memory.fields)) for f, _ in coded]
    assert lengths == [(1, 0), (2, 1), (3, 2), (3, 2), (3, 2)]


def test_rate_trains_what_looks_back_and_leaves_the_transform_alone(tiny_dual_domain, moving):
    network = tiny_dual_domain()
    with torch.no_grad():
        memory = network.code_frame(moving[0], CRF, SIZE, Estimate(noise=False)).memory
        memory = network.code_frame(
            moving[1], CRF, SIZE, Estimate(noise=False), (Reference(memory, -1),)
        ).memory
    frozen = ("analysis.", "latent.", "synthesis.", "cosines.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    channel = Estimate(noise=False)
    network.code_frame(moving[2], CRF, SIZE, channel, (Reference(memory, -1),))
    channel.bits().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_other_references_are_refused(tiny_dual_domain, moving):
    network = tiny_dual_domain()
    with torch.no_grad():
        memory = network.code_frame(moving[0], CRF, SIZE, Estimate(noise=False)).memory
    for references in ((Reference(memory, -2),), (Reference(memory, -1), Reference(memory, 1))):
        with pytest.raises(ConfigError, match="a P frame has one, at -1"):
            network.code_frame(moving[1], CRF, SIZE, Estimate(noise=False), references)
