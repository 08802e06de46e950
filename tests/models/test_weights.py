"""Files of weights: exact round trips, fingerprints, and refusal of whatever does not fit."""

import json
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kinema.errors import ConfigError, WeightsMismatchError
from kinema.models.intra import IntraCodec
from kinema.models.weights import ENCODER, GRID, TABLES, export_weights, fingerprint, load_weights

CRF = torch.tensor([20.5, 44.25])


@pytest.fixture
def network(tiny_intra):
    return tiny_intra()


@pytest.fixture
def path(network, tmp_path):
    export_weights(network, tmp_path / "weights" / "w.safetensors")
    return tmp_path / "weights" / "w.safetensors"


def test_loaded_network_codes_like_the_frozen_one(
    network, path, freeze, tiny_config, pictures, write
):
    torch.manual_seed(77)
    loaded = load_weights(IntraCodec(tiny_config), path)
    x = pictures(2, 64, 96)
    _, expected = write(freeze(network), x, CRF, (4, 6))
    _, found = write(loaded.network, x, CRF, (4, 6))
    # The encoder's parameters went through fp16: symbols may differ here and there.
    assert (found.x_hat - expected.x_hat).abs().mean() < 1.0
    y_hat = expected.y_hat
    pictures = [n.synthesise(y_hat, CRF) for n in (loaded.network, freeze(network))]
    assert torch.equal(*pictures)
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_written_by_one_read_by_another(path, tiny_config, pictures, write, read):
    encoder, decoder = (load_weights(IntraCodec(tiny_config), path).network for _ in range(2))
    payloads, written = write(encoder, pictures(2, 64, 96), CRF, (4, 6))
    assert torch.equal(read(decoder, payloads, CRF, (4, 6)).x_hat, written.x_hat)


def test_exporting_what_was_trained_twice_gives_the_same_file(network, path, tmp_path):
    again = tmp_path / "again.safetensors"
    export_weights(network, again)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == ["w.safetensors"]


def test_fingerprint_is_that_of_the_file(network, path, tiny_config, tmp_path):
    exported = export_weights(network, tmp_path / "again.safetensors")
    assert len(exported) == 8
    assert load_weights(IntraCodec(tiny_config), path).fingerprint == exported
    assert fingerprint(load_file(path)) == exported


def test_a_base_is_stored_once_and_wins(network, path, tiny_config, tmp_path):
    base, rest = tmp_path / "base.safetensors", tmp_path / "rest.safetensors"
    tensors = load_file(path)
    shared = {k: t for k, t in tensors.items() if k.startswith((TABLES, "grid.synthesis."))}
    save_file(shared, base)
    with torch.no_grad():
        network.synthesis.head.weight += 1.0  # where the base holds something else
    exported = export_weights(network, rest, [base])
    assert not set(load_file(rest)) & set(shared)
    assert set(load_file(rest)) | set(shared) == set(tensors)
    loaded = load_weights(IntraCodec(tiny_config), rest, [base])
    assert loaded.fingerprint == exported == fingerprint(tensors)
    with pytest.raises(WeightsMismatchError):
        load_weights(IntraCodec(tiny_config), rest)


def test_better_encoder_keeps_the_fingerprint(network, path, tmp_path):
    before = fingerprint(load_file(path))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(network.encoder_only):
                parameter += 0.5
    assert export_weights(network, tmp_path / "better.safetensors") == before


def test_any_change_that_a_decoder_sees_changes_the_fingerprint(path):
    tensors = load_file(path)
    before = fingerprint(tensors)
    for name in tensors:
        changed = dict(tensors)
        changed[name] = tensors[name].clone()
        changed[name].view(-1)[0] += 1
        assert (fingerprint(changed) == before) == name.startswith(ENCODER), name
    reshaped = {**tensors, "grid.cosines.gain": tensors["grid.cosines.gain"][None]}
    assert fingerprint(reshaped) != before


def test_decoder_parameters_are_whole_numbers(path):
    for name, tensor in load_file(path).items():
        assert name.startswith((TABLES, GRID, ENCODER))
        if not name.startswith(ENCODER):
            assert not tensor.is_floating_point(), name


def test_missing_file_is_refused(tiny_config, tmp_path):
    with pytest.raises(WeightsMismatchError, match="do not exist"):
        load_weights(IntraCodec(tiny_config), tmp_path / "none.safetensors")


def refused(path, config, change, message):
    tensors = load_file(path)
    change(tensors)
    hostile = path.with_name("hostile.safetensors")
    save_file({name: t.contiguous() for name, t in tensors.items()}, hostile)
    with pytest.raises(WeightsMismatchError, match=message) as caught:
        load_weights(IntraCodec(config), hostile)
    assert "\n" not in str(caught.value)


CONV, TABLE = "grid.synthesis.up", "grid.latent.steps.table.rows"
FREE = "encoder.analysis.enter.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{CONV}.weight"), "weight: found nothing"),
        (lambda t: t.pop(TABLE), "rows: found nothing"),
        (lambda t: t.pop(FREE), "found nothing"),
        (lambda t: t.pop("tables.sizes"), "table arrays"),
        (lambda t: t.update({"grid.extra.weight": torch.zeros(1)}), "extra.weight belongs to no"),
        (lambda t: t.update({f"{CONV}.weight2": torch.zeros(1)}), "weight2 belongs to no layer"),
        (lambda t: t.update({"tables.more": torch.zeros(1)}), "table arrays"),
        (lambda t: t.update({f"{CONV}.weight": t[f"{CONV}.weight"][:4]}), "expected torch.int8"),
        (lambda t: t.update({f"{CONV}.bias": t[f"{CONV}.bias"].float()}), "found torch.float32"),
        (lambda t: t[f"{CONV}.bias"].fill_(2**30), "partial sums"),
        (lambda t: t[f"{CONV}.shift"].fill_(127), "outside"),
        (lambda t: t[TABLE].fill_(0), "expected 1 or more"),
        (lambda t: t["grid.cosines.gain"].fill_(0), "numbers above 0"),
        (lambda t: t.update({FREE: t[FREE][:2]}), "expected floats"),
        (lambda t: t[FREE].fill_(torch.nan), "not finite"),
        (lambda t: t["tables.frequencies"].fill_(0), "frequencies"),
        (lambda t: t.update({"tables.lookup": t["tables.lookup"][:5]}), "5 table indices"),
    ],
)
def test_file_that_does_not_fit_is_refused(change, message, path, tiny_config):
    refused(path, tiny_config, change, message)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_file_is_refused_or_loads(data, path, tiny_config):
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "header", "anywhere", "nothing like it"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "nothing like it":
        content = data.draw(st.binary(max_size=200))
    else:
        header = int.from_bytes(content[:8], "little") + 8
        last = header if kind == "header" else len(content)
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, last - 1))] = data.draw(st.integers(0, 255))
    hostile = path.with_name("hostile.safetensors")
    hostile.write_bytes(content)
    with suppress(WeightsMismatchError):
        load_weights(IntraCodec(tiny_config), hostile)


def test_header_that_claims_too_much_is_refused(tiny_config, tmp_path):
    claim = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(len(claim).to_bytes(8, "little") + claim.encode())
    with pytest.raises(WeightsMismatchError, match="cannot be read"):
        load_weights(IntraCodec(tiny_config), path)


def test_layer_that_cannot_be_exact_is_not_exported(network, tmp_path):
    with torch.no_grad():
        network.synthesis.up.weight.fill_(1e9)
    with pytest.raises(ConfigError, match="partial sums"):
        export_weights(network, tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
