"""From a checkpoint to weights that load, with a card beside them."""

import json

import pytest
import torch

from kinema.errors import ConfigError
from kinema.models.intra import IntraCodec
from kinema.models.release import export_run
from kinema.models.weights import load_weights


def test_the_averaged_parameters_are_exported(tmp_path, tiny_intra, tiny_config):
    averaged = {name: p.detach().clone() for name, p in tiny_intra(1).named_parameters()}
    state = {"seconds": 90.0, "stage": 2, "step": 7}
    checkpoint, target = tmp_path / "last.pt", tmp_path / "out" / "a.safetensors"
    torch.save({"ema": averaged, "state": state}, checkpoint)
    fingerprint = export_run(tiny_intra(0), checkpoint, target, {"recipe": "tiny"})
    frozen = load_weights(IntraCodec(tiny_config), target)
    card = json.loads(target.with_suffix(".json").read_text())
    assert frozen.fingerprint.hex() == card["fingerprint"] == fingerprint
    assert (card["training_minutes"], card["step"], card["recipe"]) == (1.5, 7, "tiny")
    kept = dict(frozen.network.named_parameters())["analysis.enter.weight"]
    assert torch.equal(kept, averaged["analysis.enter.weight"].half().float())
    assert sorted(p.name for p in target.parent.iterdir()) == ["a.json", "a.safetensors"]


def test_nothing_to_export_is_told(tmp_path, tiny_intra):
    with pytest.raises(ConfigError, match="nothing to export"):
        export_run(tiny_intra(), tmp_path / "gone.pt", tmp_path / "a.safetensors", {})


def test_a_file_that_is_no_checkpoint_is_told(tmp_path, tiny_intra):
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="is no checkpoint"):
        export_run(tiny_intra(), tmp_path / "last.pt", tmp_path / "a.safetensors", {})
    torch.save({"ema": {}, "state": {}}, tmp_path / "last.pt")
    with pytest.raises(ConfigError, match="of another network"):
        export_run(tiny_intra(), tmp_path / "last.pt", tmp_path / "a.safetensors", {})
