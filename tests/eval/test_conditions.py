import pytest

from kinema.errors import ConfigError
from kinema.eval.conditions import Conditions


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "jvet"},
        {"structure": "ldp"},
        {"structure": "all-intra", "intra_period": 32},
        {"structure": "random-access", "intra_period": -1},
        {"structure": "low-delay", "intra_period": 0},
        {"structure": "low-delay", "intra_period": -2},
        {"preset": "paper", "structure": "all-intra"},
        {"num_frames": 0},
        {"num_threads": 0},
    ],
)
def test_conditions_that_cannot_be_run_are_refused(settings):
    with pytest.raises(ConfigError, match="found"):
        Conditions(**settings)


def test_each_preset_names_its_metric():
    assert Conditions().quality_metric == "psnr_yuv_611"
    paper = Conditions(preset="paper", structure="low-delay", intra_period=10)
    assert paper.quality_metric == "psnr_rgb"
    assert "intra period 10" in paper.description
