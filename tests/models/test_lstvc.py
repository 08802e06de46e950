"""LSTVC: conditional coding that a decoder can follow, behind I frames of the intra codec."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.models.frames import Reference
from kinema.models.intra import IntraCodec
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.planes import pack_planes, unpack_planes

CRF = torch.tensor([24.0])
SIZE = (3, 5)


@pytest.fixture
def moving(pictures):
    """Frames of a picture that drifts by four samples a frame."""
    y, u, v = unpack_planes(pictures(1, SIZE[0] * 16, SIZE[1] * 16))
    return [pack_planes(y.roll(4 * t, 3), u.roll(2 * t, 3), v.roll(2 * t, 3)) for t in range(4)]


def code(network, frames, open_channel):
    """Code frames, the first as an I frame, each other one from that before it."""
    coded, memory = [], None
    for index, x in enumerate(frames):
        references = () if index == 0 else (Reference(memory, -1),)
        with torch.inference_mode():
            coded.append(network.code_frame(x, CRF, SIZE, open_channel(), references))
        memory = coded[-1].memory
    return coded


@pytest.mark.parametrize("passes", [0, 2])
def test_reader_follows_the_writer(passes, tiny_lstvc, moving, freeze, tables):
    network, writers = freeze(tiny_lstvc()), []

    def writing():
        writers.append(SymbolWriter())
        return Write(writers[-1:], tables, passes=passes)

    written = code(network, moving, writing)
    readers = iter([SymbolReader(writer.finish()) for writer in writers])
    found = code(network, [None] * len(moving), lambda: Read([next(readers)], tables))
    for mine, theirs in zip(written, found, strict=True):
        assert torch.equal(mine.x_hat, theirs.x_hat)
        assert torch.equal(mine.memory.picture, theirs.memory.picture)
    assert torch.equal(written[-1].memory.state, found[-1].memory.state)


def test_i_frames_are_those_of_the_intra_codec(tiny_lstvc, moving, freeze, tables):
    network = freeze(tiny_lstvc())
    payloads = []
    for coder in (type(network).code_frame, IntraCodec.code_frame):
        writer = SymbolWriter()
        with torch.no_grad():
            coder(network, moving[0], CRF, SIZE, Write([writer], tables))
        payloads.append(writer.finish())
    assert payloads[0] == payloads[1]


def test_the_state_reaches_beyond_the_last_frame(tiny_lstvc, moving, freeze):
    network = freeze(tiny_lstvc())
    *_, before, last = code(network, moving, lambda: Estimate(noise=False))
    memory = before.memory._replace(state=-before.memory.state)
    with torch.no_grad():
        other = network.code_frame(
            moving[-1], CRF, SIZE, Estimate(noise=False), (Reference(memory, -1),)
        )
    assert not torch.equal(other.x_hat, last.x_hat)


def test_a_frame_far_away_is_refused(tiny_lstvc, moving, freeze):
    network = freeze(tiny_lstvc())
    memory = code(network, moving[:1], lambda: Estimate(noise=False))[0].memory
    with pytest.raises(ConfigError, match=r"references at \[-2\]"):
        network.code_frame(moving[1], CRF, SIZE, Estimate(noise=False), (Reference(memory, -2),))
