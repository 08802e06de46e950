"""Analysis and synthesis: nothing at first, exact sums, quality everywhere."""

import torch

from kinema.nn.exact import GridLayer
from kinema.parts.transforms import Analysis, Synthesis

CRF = torch.tensor([30.0])


def test_both_begin_as_nothing(tiny_config):
    x, latent = torch.randn(1, 96, 4, 6) * 100, torch.randn(1, 20, 2, 3) * 100
    assert not Analysis(tiny_config.transform)(x, CRF).any()
    assert torch.equal(Synthesis(tiny_config.transform)(x, x, latent, CRF), x)


def test_frozen_synthesis_gives_sixteenths(tiny_intra, freeze):
    synthesis = freeze(tiny_intra()).synthesis
    rough, latent = (torch.randint(-2048, 2048, s).float() for s in ((1, 96, 6, 8), (1, 20, 3, 4)))
    x_hat = synthesis(rough / 16, (rough / 16).round(), latent, CRF)
    assert x_hat.shape == (1, 96, 6, 8)
    assert torch.equal(x_hat * 16, (x_hat * 16).round())
    assert not torch.equal(x_hat, x_hat.round())


def test_quality_reaches_both(tiny_intra, pictures):
    codec, x = tiny_intra(), pictures()
    low, high = torch.tensor([3.0]), torch.tensor([50.0])
    assert not torch.equal(codec.analysis(x, low), codec.analysis(x, high))
    latent = codec.cosines(x)
    given = (x, x, latent)
    assert not torch.equal(codec.synthesis(*given, low), codec.synthesis(*given, high))


def test_freezing_leaves_the_analysis_as_it_was(tiny_intra, pictures, freeze):
    codec, x = tiny_intra(), pictures()
    with torch.no_grad():
        codec.analysis.quality.knots.normal_()
    for crf in (0.0, 13.5, 63.0):
        expected = codec.analysis(x, torch.tensor([crf]))
        found = freeze(codec).analysis(x, torch.tensor([crf]))
        assert torch.allclose(found, expected, rtol=1e-3, atol=0.05)


def test_analysis_holds_nothing_of_the_grid_but_its_table(tiny_config):
    analysis = Analysis(tiny_config.transform)
    assert [n for n, m in analysis.named_modules() if isinstance(m, GridLayer)] == ["quality"]
