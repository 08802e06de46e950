"""The arithmetic of decoding is checked, protected from settings, and leaves them alone."""

import contextlib
import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec import runtime
from kinema.codec.decoder import Decoder
from kinema.codec.encoder import Encoder
from kinema.errors import ConfigError, NumericProfileError
from kinema.models.registry import LoadedModel

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


def test_lowered_precision_and_autocast_change_no_picture(tiny_model):
    coded = Encoder(tiny_model).encode(KIT["draw"](1)[0], crf=20)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            decoded = Decoder(tiny_model, 48, 32).decode(coded)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert KIT["same_planes"]([decoded], [coded.frame])


def test_settings_come_back_after_an_error():
    torch.set_float32_matmul_precision("high")
    try:
        with contextlib.suppress(KeyError), runtime.exact_arithmetic():
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == "high"
        assert not torch.is_inference_mode_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")


def test_sums_that_are_not_exact_are_found(monkeypatch):
    exact = torch.nn.functional.conv2d

    def rounded(x, weight, *rest):
        return exact(x.bfloat16(), weight.bfloat16(), *rest).float()

    monkeypatch.setattr(runtime.F, "conv2d", rounded)
    runtime.check_exact.cache_clear()
    with pytest.raises(NumericProfileError, match="not exact"):
        runtime.prepare(None, "cpu")
    runtime.check_exact.cache_clear()


def test_a_network_of_another_kind_is_refused(tiny_model):
    frozen = tiny_model.frozen.__class__(
        torch.nn.Linear(1, 1), tiny_model.frozen.tables, b"12345678"
    )
    model = LoadedModel(name="other", number=9, frozen=frozen)
    with pytest.raises(ConfigError, match="Linear"):
        Encoder(model)
