"""The intra codec: exact pictures, sensible before training, the size that it claims."""

import copy
import itertools
import zlib
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from kinema.errors import ConfigError
from kinema.models.intra import (
    IntraCodec,
    IntraConfig,
    build_small,
    error_bits,
    initial_log_steps,
)
from kinema.nn.exact import Arithmetic, set_arithmetic
from kinema.parts.channels import Estimate
from kinema.parts.latent_codec import LatentInput
from kinema.parts.priors import PriorConfig
from kinema.parts.quality import rd_lambda

CRF = torch.tensor([20.5, 44.25])


@pytest.fixture
def network(tiny_intra, freeze):
    return freeze(tiny_intra())


def test_pictures_of_a_batch_do_not_touch_each_other(network, pictures, write):
    x = pictures(2, 64, 96)
    payloads, written = write(network, x, CRF, (4, 6))
    alone, single = write(network, x[:1], CRF[:1], (4, 6))
    assert alone == payloads[:1]
    assert torch.equal(single.x_hat, written.x_hat[:1])


def test_memory_layout_and_threads_change_nothing(network, pictures, write, read):
    payloads, written = write(network, pictures(2, 64, 96), CRF, (4, 6))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        network.to(memory_format=torch.channels_last)
        assert torch.equal(read(network, payloads, CRF, (4, 6)).x_hat, written.x_hat)
    finally:
        torch.set_num_threads(threads)


def test_picture_hash_detects_one_changed_amplitude(network, pictures, write):
    with torch.inference_mode():
        coded = network.code_intra(pictures(2, 64, 96), CRF, (4, 6), Estimate(noise=False))
        y_hat = coded.y_hat.clone()
        y_hat[0, 0, 2, 3] += 64.0
        found = [network.synthesise(c, CRF) for c in (coded, coded._replace(y_hat=y_hat))]
    hashes = [zlib.crc32(x.numpy().tobytes()) for x in found]
    assert hashes[0] != hashes[1]
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("arithmetic", [Arithmetic.FAKE, Arithmetic.FROZEN])
def test_exact_arithmetic_costs_next_to_nothing(arithmetic, tiny_intra, freeze, pictures):
    trained = tiny_intra()
    with torch.no_grad():
        trained.analysis.quality.knots.normal_()
    exact = freeze(trained) if arithmetic is Arithmetic.FROZEN else copy.deepcopy(trained)
    set_arithmetic(exact, arithmetic)
    x, figures = pictures(2, 128, 128), []
    for network in (trained, exact):
        channel = Estimate(noise=False)
        with torch.no_grad():
            coded = network.code_frame(x, CRF, (8, 8), channel)
        figures.append((channel.bits(), (coded.x_hat - x).square().mean((1, 2, 3))))
    for before, after in zip(*figures, strict=True):
        assert torch.allclose(after.float(), before, rtol=0.02)


def test_better_quality_costs_more_bits_and_looks_better(pictures, tiny_config):
    network, x = started(384, pictures, tiny_config), pictures(1, 64, 96)
    bits, errors = [], []
    with torch.no_grad():
        for crf in (0.0, 20.0, 40.0, 63.0):
            channel = Estimate(noise=False)
            coded = network.code_frame(x, torch.tensor([crf]), (4, 6), channel)
            bits.append(channel.bits().item())
            errors.append((coded.x_hat - x).square().mean().item())
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)


def started(latent_channels, pictures, tiny):
    """A codec at its start: cosines, and branches that do nothing."""
    wide = {"latent_channels": latent_channels}
    config = IntraConfig(
        transform=replace(tiny.transform, **wide), prior=replace(tiny.prior, **wide)
    )
    torch.manual_seed(0)
    codec = IntraCodec(config)
    folded = torch.nn.functional.pixel_unshuffle(pictures(64, 64, 64), 2)
    codec.start_from_patches(folded.permute(0, 2, 3, 1).flatten(0, 2))
    return codec.requires_grad_(requires_grad=False)


def test_complete_start_reconstructs_perfectly(pictures, tiny_config):
    codec, x = started(384, pictures, tiny_config), pictures(1, 48, 80, seed=5)
    y = codec.analyse(x, CRF[:1]).y
    assert y.shape == (1, 384, 3, 5)
    assert torch.allclose(codec.synthesise(y, CRF[:1]), x, atol=0.1)


def test_fewer_components_lose_more(pictures, tiny_config):
    x, errors = pictures(1, 64, 64), []
    for channels in (4, 40, 200):
        codec = started(channels, pictures, tiny_config)
        y = codec.analyse(x, CRF[:1]).y
        errors.append(float((codec.synthesise(y, CRF[:1]) - x).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[2]


def test_latent_channels_start_alike_in_spread(pictures, tiny_config):
    codec = started(40, pictures, tiny_config)
    y = codec.analyse(pictures(64, 64, 64), CRF[:1]).y
    spread = y.square().mean((0, 2, 3)).sqrt()
    assert spread.min() > 120
    assert spread.max() < 520


def test_weight_of_a_latent_error_is_what_it_does_to_the_planes(pictures, tiny_config):
    codec = started(40, pictures, tiny_config)
    y = codec.analyse(pictures(1, 16, 16), CRF[:1]).y
    before = codec.put_together(y)
    for channel in (0, 7, 39):
        moved = y.clone()
        moved[:, channel] += 3.0
        found = error_bits(before, codec.put_together(moved), CRF[:1])
        expected = codec.worth(CRF[:1])[0, channel] * 9
        assert found.item() == pytest.approx(expected.item(), rel=1e-3)


def test_known_sizes_and_symbols_are_coded_as_they_are(network, pictures):
    channel, x = Estimate(noise=False, decide=1.0), pictures(2, 64, 96)
    with torch.no_grad():
        chosen = network.code_intra(x, CRF, (4, 6), channel)
        known = LatentInput(chosen.y_hat, None, chosen.z_hat, None, chosen.sizes, chosen.offsets)
        again = network.latent.code(known, CRF, (4, 6), channel)
    assert 0 < chosen.sizes.float().mean() < 2
    assert torch.equal(again.sizes, chosen.sizes)
    assert torch.equal(again.y_hat, chosen.y_hat)


def test_first_steps_follow_the_high_rate_optimum():
    steps = torch.exp(initial_log_steps(3))
    ratio = steps[0, 0] / steps[-1, 0]
    expected = (rd_lambda(torch.tensor(63.0)) / rd_lambda(torch.tensor(0.0))).sqrt()
    assert steps.shape == (8, 3)
    assert ratio.item() == pytest.approx(expected.item(), rel=1e-4)


def test_widths_of_transform_and_prior_must_agree():
    with pytest.raises(ConfigError, match="latent channels: 384 in transforms, 4 in the prior"):
        IntraConfig(prior=PriorConfig(latent_channels=4))


def test_shipped_configuration_is_small(count_macs):
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build_small().parameters())
    assert 4e6 < parameters < 6e6
    macs = count_macs(build_small, 96, 256, 256, mode=nullcontext)
    synthesis = sum(n for name, n in macs.items() if name.startswith("synthesis."))
    assert sum(macs.values()) / 256**2 < 50e3
    assert synthesis / 256**2 < 20e3


def test_encoder_takes_back_what_the_nets_do_not_undo(tiny_intra, pictures):
    """At high quality above all."""
    network, x = tiny_intra(), pictures(1, 64, 96)
    errors = {}
    for crf, end in itertools.product((2.0, 50.0), (0.0, 28.0, 70.0)):
        quality = torch.tensor([crf])
        with torch.no_grad():
            y = network.analyse(x, quality, feedback_end=end).y
            left = network.cosines.free(network.synthesise(y, quality) - x)
        errors[crf, end] = float(left.square().mean())
    assert errors[2.0, 28.0] < 0.5 * errors[2.0, 0.0]
    assert errors[50.0, 70.0] < errors[50.0, 28.0] == errors[50.0, 0.0]


def test_what_a_picture_asks_for_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    network = build_small()
    for parameter in network.analysis.parameters():
        parameter.data.copy_(torch.randn_like(parameter) * 0.1)
    x, crf = torch.randn(16, 96, 4, 4) * 100, torch.full((16,), 40.0)
    with torch.inference_mode():
        together = network.analyse(x, crf)
        hyper = network.latent._hyper_latent(together, crf, network.latent.spatial)
        for first, count in ((0, 1), (3, 2), (4, 12)):
            part = slice(first, first + count)
            alone = network.analyse(x[part], crf[part])
            assert torch.equal(alone.y, together.y[part])
            z = network.latent._hyper_latent(alone, crf[part], network.latent.spatial)
            assert torch.equal(z, hyper[part])
