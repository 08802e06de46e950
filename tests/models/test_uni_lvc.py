"""Uni-LVC: I, P and B frames of one network, that a decoder can follow, with references or not."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.models.frames import Reference
from kinema.models.intra import IntraCodec
from kinema.models.lstvc import LstvcCodec
from kinema.models.uni_lvc import UniLvcCodec
from kinema.models.weights import export_weights, load_weights
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.planes import pack_planes, unpack_planes, whole_picture

CRF = torch.tensor([24.0])
SIZE = (3, 5)
# Coding order: frame, and the frames it refers to.
ORDER = ((0, ()), (4, (0,)), (2, (0, 4)), (1, (0, 2)), (3, (2, 4)))


@pytest.fixture
def moving(pictures):
    """Frames of a picture that drifts by two samples a frame."""
    y, u, v = unpack_planes(pictures(1, SIZE[0] * 16, SIZE[1] * 16))
    return [pack_planes(y.roll(2 * t, 3), u.roll(t, 3), v.roll(t, 3)) for t in range(5)]


def refer(known, index, references, levels=(15, 15)):
    pairs = zip(references, levels, strict=False)
    return tuple(Reference(known[r].memory, r - index, level) for r, level in pairs)


def code(network, frames, open_channel, order=ORDER, levels=(15, 15)):
    """Code frames in `order`."""
    known = {}
    for index, references in order:
        with torch.inference_mode():
            known[index] = network.code_frame(
                frames[index], CRF, SIZE, open_channel(), refer(known, index, references, levels)
            )
    return known


def payload(network, x, references, tables):
    writer = SymbolWriter()
    with torch.no_grad():
        coded = network.code_frame(x, CRF, SIZE, Write([writer], tables), references)
    return writer.finish(), coded


@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize("levels", [(15, 15), (4, 15)])
def test_reader_follows_the_writer(levels, passes, tiny_uni_lvc, moving, freeze, tables):
    network, writers = freeze(tiny_uni_lvc()), []

    def writing():
        writers.append(SymbolWriter())
        return Write(writers[-1:], tables, passes=passes)

    written = code(network, moving, writing, levels=levels)
    readers = iter([SymbolReader(writer.finish()) for writer in writers])
    nothing = [None] * len(moving)
    found = code(network, nothing, lambda: Read([next(readers)], tables), levels=levels)
    for index, _ in ORDER:
        mine, theirs = written[index], found[index]
        assert torch.equal(mine.x_hat, theirs.x_hat)
        assert torch.equal(mine.memory.past.picture, theirs.memory.past.picture)
    assert torch.equal(written[3].memory.past.state, found[3].memory.past.state)


def test_b_frames_outlive_a_file_of_weights(
    tiny_uni_lvc, tiny_uni_lvc_config, moving, freeze, tables, tmp_path
):
    network, path = tiny_uni_lvc(), tmp_path / "w.safetensors"
    export_weights(network, path)
    loaded = load_weights(UniLvcCodec(tiny_uni_lvc_config), path).network
    exact, found = freeze(network), []
    known = code(exact, moving, lambda: Estimate(noise=False), ORDER[:2])
    for one in (exact, loaded):
        found.append(payload(one, moving[2], refer(known, 2, (0, 4), (11, 15)), tables))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1].x_hat, found[1][1].x_hat)


def test_frames_without_references_are_those_of_the_intra_codec(
    tiny_uni_lvc, moving, freeze, tables
):
    network = freeze(tiny_uni_lvc())
    writer = SymbolWriter()
    with torch.no_grad():
        coded = IntraCodec.code_frame(network, moving[0], CRF, SIZE, Write([writer], tables))
    found, mine = payload(network, moving[0], (), tables)
    assert found == writer.finish()
    assert torch.equal(mine.x_hat, coded.x_hat)


@pytest.mark.parametrize("references", [(0,), (0, 4)])
def test_references_of_level_0_are_as_if_not_there(
    references, tiny_uni_lvc, moving, freeze, tables
):
    network = freeze(tiny_uni_lvc())
    known = code(network, moving, lambda: Estimate(noise=False), ORDER[:2])
    alone, first = payload(network, moving[2], (), tables)
    unheard = refer(known, 2, references, (0, 0))
    found, second = payload(network, moving[2], unheard, tables)
    assert found == alone
    assert torch.equal(first.x_hat, second.x_hat)
    assert second.memory.past.state is None
    assert second.memory.motions == ()


def test_of_two_references_one_may_have_level_0(tiny_uni_lvc, moving, freeze, tables):
    network = freeze(tiny_uni_lvc())
    known = code(network, moving, lambda: Estimate(noise=False), ORDER[:2])
    for references, levels, left in (((0, 4), (9, 0), (0,)), ((0, 4), (0, 9), (4,))):
        both, _ = payload(network, moving[2], refer(known, 2, references, levels), tables)
        one, _ = payload(network, moving[2], refer(known, 2, left, (9,)), tables)
        assert both == one


def test_a_level_changes_what_a_reference_contributes(tiny_uni_lvc, moving, freeze):
    network = freeze(tiny_uni_lvc())
    known = code(network, moving, lambda: Estimate(noise=False), ORDER[:2])
    pictures = []
    for levels in ((15, 15), (15, 3), (3, 15)):
        with torch.no_grad():
            coded = network.code_frame(
                moving[2], CRF, SIZE, Estimate(noise=False), refer(known, 2, (0, 4), levels)
            )
        pictures.append(coded.x_hat)
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


def test_any_distance_will_do_and_other_references_are_refused(tiny_uni_lvc, moving, freeze):
    network = freeze(tiny_uni_lvc())
    memory = code(network, moving, lambda: Estimate(noise=False), ORDER[:1])[0].memory

    def attempt(*distances):
        references = tuple(Reference(memory, distance) for distance in distances)
        with torch.no_grad():
            return network.code_frame(moving[1], CRF, SIZE, Estimate(noise=False), references)

    for distances in ((-1,), (-200,), (7,), (-3, 40)):
        assert attempt(*distances).x_hat.isfinite().all()
    for distances in ((-1, -2), (1, -1), (-2, -1, 1), (0,)):
        with pytest.raises(ConfigError, match="references at"):
            attempt(*distances)


def test_p_frames_begin_as_those_of_lstvc(tiny_uni_lvc, tiny_lstvc_config, moving):
    """With the parameters of LSTVC, and nothing in what Uni-LVC adds."""
    network, other = tiny_uni_lvc(is_fresh=True), LstvcCodec(tiny_lstvc_config)
    other.load_state_dict(network.state_dict(), strict=False)
    coded, theirs = (
        code(n, moving, lambda: Estimate(noise=False), [(0, ()), *((i, (i - 1,)) for i in (1, 2))])
        for n in (network, other)
    )
    for index in range(3):
        assert torch.equal(coded[index].x_hat, theirs[index].x_hat)


def test_two_references_predict_better_than_one(tiny_uni_lvc, moving):
    """Each has noise of its own; at this quality nothing is coded but motion."""
    network, worst, errors = tiny_uni_lvc(is_fresh=True), torch.tensor([63.0]), {}
    chance = torch.Generator().manual_seed(1)
    noisy = [moving[0] + 40 * torch.randn(moving[0].shape, generator=chance) for _ in range(2)]
    with torch.no_grad():
        memory = network.code_frame(moving[0], CRF, SIZE, Estimate(noise=False)).memory
        memories = [
            memory._replace(past=memory.past._replace(picture=whole_picture(x))) for x in noisy
        ]
        for count in (1, 2):
            pairs = zip(memories, (-1, 1), strict=True)
            references = tuple(Reference(*pair) for pair in pairs)[:count]
            coded = network.code_frame(moving[0], worst, SIZE, Estimate(noise=False), references)
            errors[count] = float((coded.x_hat - moving[0]).square().mean())
    assert errors[2] < 0.7 * errors[1]


def test_references_are_rated_by_what_they_tell(tiny_uni_lvc, moving, pictures, freeze):
    network = freeze(tiny_uni_lvc())
    cut = pictures(1, SIZE[0] * 16, SIZE[1] * 16, seed=5).flip(2)
    known = code(network, [moving[0], cut], lambda: Estimate(noise=False), [(0, ()), (1, ())])
    near = Reference(known[0].memory, -1)
    behind = Reference(known[1].memory, 1)
    assert network.rate_references(moving[1], CRF, SIZE, ()) == ()
    assert network.rate_references(moving[1], CRF, SIZE, (near,))[0] > 7
    assert network.rate_references(moving[1], CRF, SIZE, (near, behind))[1] == 0
    assert network.rate_references(cut, CRF, SIZE, (near,)) == (0,)
