"""Checkpoints and averages."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kinema.errors import ConfigError
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.intra import IntraCodec
from kinema.models.lstvc import LstvcCodec
from kinema.models.moving import MovingConfig
from kinema.models.weights import export_weights
from kinema.train.checkpoint import (
    Ema,
    RunState,
    load,
    load_parameters,
    restore_chance,
    save,
    save_parameters,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_everything_comes_back(model, tmp_path):
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    chance = np.random.default_rng(4)
    chance.random(3)
    state = RunState(stage=1, step=7, seconds=2.5, skipped=1, curve=[{"loss": 0.5}])
    save(tmp_path / "last.pt", state, model, Ema(model), optimizer, chance)
    expected = chance.random(5).tolist(), torch.rand(5).tolist()
    content = load(tmp_path / "last.pt", torch.device("cpu"))
    other = np.random.default_rng(9)
    restore_chance(content, other)
    assert (other.random(5).tolist(), torch.rand(5).tolist()) == expected
    assert RunState(**content["state"]) == state
    assert torch.equal(content["model"]["weight"], model.weight)
    assert content["optimizer"]["state"][0]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_failed_save_keeps_the_last_checkpoint(model, tmp_path, monkeypatch):
    optimizer, chance = torch.optim.AdamW(model.parameters()), np.random.default_rng(0)
    path = tmp_path / "last.pt"
    save(path, RunState(step=1), model, Ema(model), optimizer, chance)

    def fail(_content, partial):
        partial.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, RunState(step=2), model, Ema(model), optimizer, chance)
    assert load(path, torch.device("cpu"))["state"]["step"] == 1


def test_average_moves_by_the_share_that_is_not_kept(model):
    ema = Ema(model)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1.0
    assert torch.equal(ema.values["weight"], before)
    ema.update(model, 0.75)
    assert torch.allclose(ema.values["weight"], before + 0.25)


def test_parameters_alone_come_back_in_half_precision(model, tmp_path):
    path = tmp_path / "parameters.safetensors"
    save_parameters(path, Ema(model))
    other = nn.Linear(3, 2)
    load_parameters(path, other)
    assert torch.equal(other.weight, model.weight.half().float())


def test_parameters_of_another_model_are_refused(model, tmp_path):
    path = tmp_path / "parameters.safetensors"
    with pytest.raises(ConfigError, match="does not exist"):
        load_parameters(path, model)
    save_file({"weight": torch.zeros(5, 5), "other": torch.zeros(2)}, path)
    before = model.weight.detach().clone()
    with pytest.raises(ConfigError, match="no parameter of this model"):
        load_parameters(path, model)
    assert torch.equal(model.weight, before)


@pytest.fixture
def systems(tiny_config, tiny_moving, tiny_lstvc_config):
    """One of each system, with hardly any channels."""
    return {
        "intra": lambda: IntraCodec(tiny_config),
        "dual-domain": lambda: DualDomainCodec(MovingConfig(**tiny_moving)),
        "lstvc": lambda: LstvcCodec(tiny_lstvc_config),
    }


@pytest.mark.parametrize("name", ["intra", "dual-domain", "lstvc"])
def test_training_goes_on_from_shipped_weights(name, systems, tmp_path):
    torch.manual_seed(3)
    shipped, again = systems[name](), systems[name]()
    with torch.no_grad():
        for parameter in shipped.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    export_weights(shipped, tmp_path / "weights.safetensors")
    load_parameters(tmp_path / "weights.safetensors", again)
    for (name, expected), got in zip(shipped.named_parameters(), again.parameters(), strict=True):
        scale = expected.abs().amax() + 0.3  # tables lie on a grid of 1/64
        assert (got - expected).abs().amax() < 0.03 * scale, name
