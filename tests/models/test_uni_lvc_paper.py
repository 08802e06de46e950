"""Uni-LVC in its full width: counts, exact bypass, and what references may do."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.models.frames import Reference
from kinema.models.intra_paper import IntraPaperCodec, IntraPaperConfig, build_paper
from kinema.models.uni_lvc_paper import UniLvcPaperCodec, UniLvcPaperConfig
from kinema.models.uni_lvc_paper import build_paper as build_uni_lvc
from kinema.parts.channels import Estimate
from kinema.parts.paper_adaptation import PaperAdaptationConfig

MILLION, GIGA = 1e6, 1e9
COUNTS = {  # million parameters of what is not the intra codec's; ours: the paper's are unread
    "adaptor": 0.624,
    "down": 0.262,
    "adapt_encoder": 3.722,
    "adapt_prior": 3.426,
    "adapt_decoder": 3.722,
    "classifier": 0.111,
}
TOTAL = 57.4
GMACS = {(-1,): 158.0, (-2, 2): 225.4}  # at 1080p, convolutions beyond an I frame's, by references
CRF, SIZE = torch.tensor([30.0]), (5, 6)
TINY = UniLvcPaperConfig(
    intra=IntraPaperConfig(
        feature_channels=16,
        latent_channels=8,
        hyper_channels=8,
        analysis_blocks=2,
        synthesis_blocks=1,
        prior_blocks=1,
    ),
    fine=PaperAdaptationConfig(channels=16, reference_channels=12, width=8, heads=2),
    coarse=PaperAdaptationConfig(channels=8, reference_channels=12, width=8, heads=2),
    first_blocks=1,
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UniLvcPaperCodec(TINY)


@pytest.fixture
def shaken(network):
    """No parameter at zero, so that references have a say."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.05
    return network


@pytest.fixture
def picture():
    shape = (1, 192, 2 * SIZE[0], 2 * SIZE[1])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def code(network, x, *references):
    channel = Estimate(noise=False)
    with torch.no_grad():
        more = (references,) if references else ()
        coded = network.code_frame(x, CRF, SIZE, channel, *more)
    return coded, float(channel.bits())


def test_parameters_and_multiplications_are_counted(count_macs):
    with torch.device("meta"):
        network = build_uni_lvc()
    found = {
        name: sum(p.numel() for p in part.parameters()) / MILLION
        for name, part in network.named_children()
    }
    for name, expected in COUNTS.items():
        assert found[name] == pytest.approx(expected, abs=0.01), name
    assert sum(found.values()) == pytest.approx(TOTAL, abs=0.1)
    alone = sum(count_macs(build_paper, 192, 1088, 1920).values())
    for distances, expected in GMACS.items():
        macs = count_macs(build_uni_lvc, 192, 1088, 1920, distances)
        more = (sum(macs.values()) - alone) / GIGA
        assert more == pytest.approx(expected, rel=0.01)


def test_without_references_it_is_the_intra_codec(shaken, picture):
    other = IntraPaperCodec(TINY.intra)
    other.load_state_dict(shaken.state_dict(), strict=False)
    mine, bits = code(shaken, picture)
    theirs, expected = code(other, picture)
    assert bits == expected
    assert torch.equal(mine.x_hat, theirs.x_hat)
    unheard = Reference(mine.memory, -1, 0)
    again, bits = code(shaken, picture, unheard, Reference(mine.memory, 3, 0))
    assert bits == expected
    assert torch.equal(again.x_hat, theirs.x_hat)


def test_references_begin_as_nothing(network, picture):
    first, bits = code(network, picture)
    again, found = code(network, picture, Reference(first.memory, -1))
    assert found == bits
    assert torch.equal(again.x_hat, first.x_hat)


def test_every_reference_its_place_and_its_level_matter(shaken, picture):
    first, _ = code(shaken, picture)
    other, _ = code(shaken, picture.flip(3))
    sets = (
        (Reference(first.memory, -1),),
        (Reference(first.memory, -4),),
        (Reference(first.memory, 1),),
        (Reference(first.memory, -1, 7),),
        (Reference(first.memory, -1), Reference(other.memory, 1)),
    )
    found = [code(shaken, picture, *references)[0].x_hat for references in sets]
    for index, one in enumerate(found):
        assert one.isfinite().all()
        assert not any(torch.equal(one, two) for two in found[:index])


def test_levels_come_from_the_classifier(shaken, picture):
    memory = code(shaken, picture)[0].memory
    levels = shaken.rate_references(picture, CRF, SIZE, (Reference(memory, -1),) * 2)
    assert len(levels) == 2
    assert all(0 <= level <= 15 for level in levels)
    with torch.no_grad():
        shaken.classifier.judge[-1].bias.fill_(-100.0)
    assert shaken.rate_references(picture, CRF, SIZE, (Reference(memory, -1),)) == (0,)


def test_a_step_reaches_what_references_go_through(shaken, picture):
    memory = code(shaken, picture)[0].memory
    channel, references = Estimate(noise=True), (Reference(memory, -1), Reference(memory, 2))
    coded = shaken.code_frame(picture, CRF, SIZE, channel, references)
    odds = torch.stack(shaken.reliability(picture, CRF, references))
    (channel.bits().sum() + coded.x_hat.sum() + odds.sum()).backward()
    added = ("adaptor.", "down.", "adapt_encoder.", "adapt_prior.", "adapt_decoder.", "classifier.")
    idle = [
        name
        for name, p in shaken.named_parameters()
        if name.startswith(added) and (p.grad is None or not p.grad.any())
    ]
    assert not idle


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="width 10 for 3 heads"):
        PaperAdaptationConfig(width=10, heads=3)
