"""CAMA: LSTVC to the last bit where features tell nothing, and features that reach the decoder."""

import pytest
import torch
from safetensors.torch import load_file

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.models.cama import CamaCodec
from kinema.models.frames import Reference
from kinema.models.weights import export_weights, load_weights
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.planes import pack_planes, unpack_planes

CRF = torch.tensor([24.0])
SIZE = (3, 5)


@pytest.fixture
def moving(pictures):
    """Frames of a picture that drifts by four samples a frame."""
    y, u, v = unpack_planes(pictures(1, SIZE[0] * 16, SIZE[1] * 16))
    return [pack_planes(y.roll(4 * t, 3), u.roll(2 * t, 3), v.roll(2 * t, 3)) for t in range(4)]


def code(network, frames, open_channel):
    """Code frames, the first as an I frame, each other one from that before it."""
    coded, memory = [], None
    for index, x in enumerate(frames):
        references = () if index == 0 else (Reference(memory, -1),)
        with torch.inference_mode():
            coded.append(network.code_frame(x, CRF, SIZE, open_channel(), references))
        memory = coded[-1].memory
    return coded


def write(network, frames, tables, passes=0):
    """Code frames to payloads."""
    writers = []

    def writing():
        writers.append(SymbolWriter())
        return Write(writers[-1:], tables, passes=passes)

    coded = code(network, frames, writing)
    return [writer.finish() for writer in writers], coded


@pytest.mark.parametrize("passes", [0, 2])
def test_reader_follows_the_writer(passes, tiny_cama, moving, freeze, tables):
    network = freeze(tiny_cama())
    payloads, written = write(network, moving, tables, passes)
    readers = iter([SymbolReader(payload) for payload in payloads])
    found = code(network, [None] * len(moving), lambda: Read([next(readers)], tables))
    for mine, theirs in zip(written, found, strict=True):
        assert torch.equal(mine.x_hat, theirs.x_hat)
    assert torch.equal(written[-1].memory.features, found[-1].memory.features)
    assert written[-1].memory.features.any()


def test_with_parameters_of_lstvc_it_is_lstvc(tiny_lstvc, tiny_cama_config, moving, freeze, tables):
    """Under the arithmetic of training and that of decoding."""
    base, network = tiny_lstvc(), CamaCodec(tiny_cama_config)
    missing = network.load_state_dict(base.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert {name.split(".")[0] for name in missing.missing_keys} == {"features", "tell", "show"}
    plain = code(base, moving, lambda: Estimate(noise=False))
    same = code(network, moving, lambda: Estimate(noise=False))
    assert all(torch.equal(a.x_hat, b.x_hat) for a, b in zip(plain, same, strict=True))
    payloads = [write(freeze(codec), moving, tables)[0] for codec in (base, network)]
    assert payloads[0] == payloads[1]


def test_features_of_the_frame_before_matter(tiny_cama, moving, freeze):
    network = freeze(tiny_cama())
    *_, before, last = code(network, moving, lambda: Estimate(noise=False))
    memory = before.memory._replace(features=-before.memory.features)
    with torch.no_grad():
        other = network.code_frame(
            moving[-1], CRF, SIZE, Estimate(noise=False), (Reference(memory, -1),)
        )
    assert not torch.equal(other.x_hat, last.x_hat)


def test_behind_an_i_frame_features_come_from_its_picture(tiny_cama, moving, freeze):
    coded = code(freeze(tiny_cama()), moving[:2], lambda: Estimate(noise=False))
    assert coded[0].memory.features is None
    assert coded[1].memory.features.shape == (1, 4, 2 * SIZE[0], 2 * SIZE[1])


def test_exported_weights_decode_what_they_coded(
    tiny_intra, tiny_lstvc, tiny_cama, tiny_cama_config, moving, tables, tmp_path
):
    """And beside those of the intra codec and of LSTVC they hold features alone."""
    network, lstvc, intra = tiny_cama(), tiny_lstvc(), tiny_intra()
    for larger, smaller in ((lstvc, intra), (network, lstvc)):
        larger.load_state_dict(smaller.state_dict(), strict=False)
    names = ("intra", "lstvc", "cama", "alone")
    *bases, path, alone = (tmp_path / f"{name}.safetensors" for name in names)
    export_weights(intra, bases[0])
    export_weights(lstvc, bases[1], bases[:1])
    prints = [export_weights(network, path, bases), export_weights(network, alone)]
    assert {name.split(".")[1] for name in load_file(path)} == {"features", "tell", "show"}
    files = ((path, bases), (alone, ()))
    loaded = [load_weights(CamaCodec(tiny_cama_config), *pair) for pair in files]
    assert [model.fingerprint for model in loaded] == prints
    assert prints[0] == prints[1]
    payloads, written = write(loaded[0].network, moving, tables)
    readers = iter([SymbolReader(payload) for payload in payloads])
    found = code(loaded[1].network, [None] * len(moving), lambda: Read([next(readers)], tables))
    assert torch.equal(found[-1].x_hat, written[-1].x_hat)
