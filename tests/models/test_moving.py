"""At which resolution an encoder looks for motion is its own affair."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.models.frames import Reference
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.motion_scales import MotionScales
from kinema.parts.planes import pack_planes, unpack_planes

CRF = torch.tensor([24.0])
SIZE = (4, 6)


@pytest.fixture
def moving(pictures):
    """Two frames of a picture that drifts by six samples."""
    y, u, v = unpack_planes(pictures(1, SIZE[0] * 16, SIZE[1] * 16))
    return [pack_planes(y.roll(6 * t, 3), u.roll(3 * t, 3), v.roll(3 * t, 3)) for t in range(2)]


@pytest.mark.parametrize("way", ["rule", "trial"])
@pytest.mark.parametrize("system", ["tiny_dual_domain", "tiny_lstvc"])
@torch.no_grad()
def test_a_decoder_knows_nothing_of_it(system, way, request, moving, freeze, tables):
    network = freeze(request.getfixturevalue(system)())
    network.scales = MotionScales(way=way, small_limits=(0.0,))
    first = network.code_frame(moving[0], CRF, SIZE, Estimate(noise=False))
    writer, references = SymbolWriter(), (Reference(first.memory, -1),)
    written = network.code_frame(moving[1], CRF, SIZE, Write([writer], tables), references)
    if way == "rule":  # that of the second factor: pairs of vectors are alike, and even
        field = written.memory.fields[0]
        assert torch.equal(field[..., ::2], field[..., 1::2])
        assert not (field % 2).any()
    network.scales = MotionScales()
    reader = SymbolReader(writer.finish())
    found = network.code_frame(None, CRF, SIZE, Read([reader], tables), references)
    reader.finish()
    assert torch.equal(found.x_hat, written.x_hat)
    assert torch.equal(found.memory.fields[0], written.memory.fields[0])


@torch.no_grad()
def test_a_trial_costs_no_more_than_any_factor(tiny_lstvc, moving, freeze):
    network, tried = freeze(tiny_lstvc()), []
    before = network.code_frame(moving[0], CRF, SIZE, Estimate(noise=False)).memory
    code_motion = network.code_motion

    def spy(searched, *rest):
        tried.append(searched)
        return code_motion(searched, *rest)

    network.code_motion = spy
    network.scales = MotionScales(way="trial")
    chosen = network.search_motion(moving[1], before, CRF, SIZE)
    assert len(tried) == 3
    assert any(torch.equal(chosen, field) for field in tried)
