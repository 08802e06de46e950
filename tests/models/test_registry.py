"""Names and numbers of models, and the cards of those that ship."""

import json
from dataclasses import replace

import pytest

from kinema.errors import ConfigError, WeightsMismatchError
from kinema.models import registry


def test_numbers_lead_back_to_names():
    for name, entry in registry.MODELS.items():
        assert registry.model_name(entry.number) == name
    with pytest.raises(WeightsMismatchError, match="model 65535; this version knows 1 intra"):
        registry.model_name(65535)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="known: intra"):
        registry.load_model("outer")


def test_cards_tell_number_and_fingerprint(tmp_path, monkeypatch):
    entry = replace(registry.MODELS["intra"], weights=str(tmp_path / "a.safetensors"))
    monkeypatch.setitem(registry.MODELS, "intra", entry)
    for content in (None, "no json"):
        if content:
            (tmp_path / "a.json").write_text(content)
        with pytest.raises(WeightsMismatchError, match=r"card a\.json cannot be read"):
            registry.read_card("intra")
    (tmp_path / "a.json").write_text(json.dumps({"fingerprint": "00"}))
    assert registry.read_card("intra") == {"number": 1, "fingerprint": "00"}


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(WeightsMismatchError, match="do not exist"):
        registry.load_model("intra", weights=tmp_path / "gone.safetensors")
