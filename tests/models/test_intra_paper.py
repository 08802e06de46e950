"""The published size: parameters, multiplications, and the steps between symbols."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.models.intra_paper import (
    IntraPaperCodec,
    IntraPaperConfig,
    PaperPrior,
    build_paper,
)
from kinema.models.weights import export_weights
from kinema.parts.channels import Estimate

MILLION, GIGA = 1e6, 1e9
PUBLISHED_MILLIONS = {"analysis": 8.5, "synthesis": 14.9, "hyper": 1.5, "prior": 20.5}
PUBLISHED_GMACS = {"analysis": 256, "synthesis": 474, "prior": 275}  # at 1080p
TINY = IntraPaperConfig(
    feature_channels=16,
    latent_channels=8,
    hyper_channels=8,
    analysis_blocks=1,
    synthesis_blocks=2,
    prior_blocks=1,
)


def test_parameters_are_as_many_as_published():
    with torch.device("meta"):
        network = build_paper()
    found = {
        name: sum(p.numel() for p in part.parameters()) / MILLION
        for name, part in network.named_children()
    }
    assert sum(found.values()) == pytest.approx(45.6, rel=0.02)
    for name, expected in PUBLISHED_MILLIONS.items():
        assert found[name] == pytest.approx(expected, rel=0.03)


def test_multiplications_are_as_many_as_published(count_macs):
    macs = count_macs(build_paper, 192, 1088, 1920)
    for part, expected in PUBLISHED_GMACS.items():
        found = sum(n for name, n in macs.items() if name.startswith(f"{part}.")) / GIGA
        assert found == pytest.approx(expected, rel=0.05)


def test_quality_has_a_row_per_whole_crf():
    torch.manual_seed(0)
    table = IntraPaperCodec(TINY).analysis.quality
    with torch.no_grad():
        table.knots.normal_()
    assert torch.equal(table(torch.tensor([0.0, 17.0, 63.0])), table.knots[[0, 17, 63]])


def test_spatial_steps_stay_in_their_range():
    prior = PaperPrior(TINY)
    steps, parameters = prior.fuse(torch.randn(2, 8, 3, 5) * 100)
    assert steps.shape == (2, 2, 3, 5)
    assert parameters.shape == (2, 18, 3, 5)
    assert steps.min() >= 0.5
    assert steps.max() <= 2.0


class Spy:
    """Carries symbols unchanged, after changing one of them, and keeps the distributions."""

    def __init__(self, change_step):
        self.change_step, self.seen = change_step, []

    def carry(self, s, distribution):
        symbols = s.round()
        if len(self.seen) == self.change_step:
            symbols[0, 0, 0, 0] += 4
        self.seen.append(distribution.log_scale)
        return symbols


@pytest.mark.parametrize("changed", range(5))
def test_a_symbol_changes_only_what_comes_after_it(changed):
    torch.manual_seed(0)
    network, x = IntraPaperCodec(TINY), torch.rand(1, 192, 8, 8)
    spies = Spy(None), Spy(changed)
    with torch.no_grad():
        for spy in spies:
            network.code_frame(x, torch.tensor([30.0]), (4, 4), spy)
    for index, (a, b) in enumerate(zip(spies[0].seen, spies[1].seen, strict=True)):
        assert torch.equal(a, b) == (index <= changed or index == 0)


def test_all_symbols_are_off_the_mean_of_their_step():
    torch.manual_seed(0)
    network = IntraPaperCodec(TINY)
    channel = Estimate(noise=False)
    with torch.no_grad():
        network.code_frame(torch.rand(1, 192, 8, 8), torch.tensor([30.0]), (4, 4), channel)
    assert channel.bits().shape == (1,)
    assert channel.bits() > 0


def test_floating_point_weights_are_not_exported_as_exact(tmp_path):
    with pytest.raises(ConfigError, match="not on a grid"):
        export_weights(IntraPaperCodec(TINY), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
