"""Motion fields through channels: they arrive unchanged, each step knows only what came before."""

import pytest
import torch
from torch import nn

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic, set_arithmetic
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.laplace import NUM_FRACTIONS, NUM_SCALES, scale_index
from kinema.parts.motion_codec import LEAST_LOG_SCALE, MotionCodec, MotionConfig
from kinema.parts.motion_field import FIELD_LIMIT

CRF = torch.tensor([20.0])
SIZES = [(1, 1), (1, 7), (2, 2), (5, 8), (16, 9)]


def field_of(size, spread=40.0, seed=0, batch=1):
    chance = torch.Generator().manual_seed(seed)
    field = torch.randn(batch, 2, *size, generator=chance) * spread
    return field.round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


def slope_of(size):
    """A field that rises by whole numbers along rows and columns."""
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    return torch.stack([3 * columns - 2 * rows, 5 * rows + columns]).float()[None]


def make(levels=2, stirred=True):
    torch.manual_seed(0)
    codec = MotionCodec(MotionConfig(levels=levels, width=8))
    if stirred:
        with torch.no_grad():
            for parameter in codec.parameters():
                parameter += torch.randn_like(parameter) * 0.1
    return codec


class Spy:
    """Carries symbols unchanged, after changing one of them, and keeps the distributions."""

    def __init__(self, change_step=None, give=None):
        self.change_step, self.give = change_step, give
        self.distributions = []

    def carry(self, s, distribution):
        if self.give is not None:
            s = torch.full_like(distribution.mean, self.give)
        coded = distribution.gather(s.clone())
        if len(self.distributions) == self.change_step:
            coded[:, coded.shape[1] // 2] += 40
        self.distributions.append(distribution)
        return distribution.scatter(coded)


def bits(codec, field, previous=None):
    channel = Estimate(noise=False)
    codec.code(field, previous, CRF.expand(len(field)), tuple(field.shape[2:]), channel)
    return channel.bits()


def write(codec, field, previous, tables):
    writers = [SymbolWriter() for _ in field]
    size, crf = tuple(field.shape[2:]), CRF.expand(len(field))
    written = codec.code(field, previous, crf, size, Write(writers, tables))
    return [writer.finish() for writer in writers], written


def read(codec, payloads, previous, size, tables):
    readers = [SymbolReader(payload) for payload in payloads]
    crf = CRF.expand(len(payloads))
    found = codec.code(None, previous, crf, size, Read(readers, tables))
    for reader in readers:
        reader.finish()
    return found


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_field_arrives_unchanged(size, levels, freeze, tables):
    codec, field = freeze(make(levels)), field_of(size, batch=2)
    for previous in (None, field_of(size, seed=1, batch=2)):
        payloads, written = write(codec, field, previous, tables)
        found = read(codec, payloads, previous, size, tables)
        assert torch.equal(written, field)
        assert torch.equal(found, field)
        assert found.dtype is torch.float32


def test_outliers_arrive_where_nothing_is_expected_to_move(freeze, tables):
    codec = make()
    nn.init.constant_(codec.scales, -10.0)
    codec, field = freeze(codec), torch.zeros(1, 2, 6, 8)
    field[0, 0, 3, 5], field[0, 1, 2, 2] = FIELD_LIMIT, -FIELD_LIMIT
    payloads, written = write(codec, field, None, tables)
    assert torch.equal(written, field)
    assert torch.equal(read(codec, payloads, None, (6, 8), tables), field)


def test_no_table_of_a_vector_leaves_symbols_out(tables):
    least = int(scale_index(torch.tensor(LEAST_LOG_SCALE)))
    assert not tables.is_sure[least * NUM_FRACTIONS :].any()
    assert tables.num_indices == NUM_SCALES * NUM_FRACTIONS
    assert tables.is_sure[: least * NUM_FRACTIONS : NUM_FRACTIONS].all()  # a tight bound


@pytest.mark.parametrize("size", SIZES)
def test_every_vector_is_coded_once(size, freeze):
    codec, spy = freeze(make()), Spy()
    codec.code(field_of(size), None, CRF, size, spy)
    coded = sum(d.gather(d.mean).shape[1] for d in spy.distributions)
    assert coded == 2 * size[0] * size[1]


@pytest.mark.parametrize("changed", range(5))
def test_a_vector_changes_only_what_comes_after_it(changed, freeze):
    codec, plain, spy = freeze(make()), Spy(), Spy(changed)
    for channel in (plain, spy):
        codec.code(field_of((8, 12)), field_of((8, 12), seed=1), CRF, (8, 12), channel)
    for index, (a, b) in enumerate(zip(plain.distributions, spy.distributions, strict=True)):
        same = torch.equal(a.gather(a.mean), b.gather(b.mean))
        assert same == (index <= changed)


def test_untrained_it_expects_the_mean_of_the_neighbours(freeze):
    codec, spy, field = freeze(make(stirred=False)), Spy(), slope_of((9, 9))
    previous = field_of((9, 9))
    codec.code(field, previous, CRF, (9, 9), spy)
    anchors, centres, between = (spy.distributions[i].mean for i in (0, 3, 4))
    assert torch.equal(anchors, previous[:, :, ::4, ::4].double())
    assert torch.equal(centres[:, :, 1::2, 1::2], field[:, :, 1::2, 1::2].double())
    inner = between[:, :, 2:-2, 1:-1:2], field[:, :, 2:-2, 1:-1:2].double()
    assert torch.equal(inner[0][:, :, ::2], inner[1][:, :, ::2])


def test_untrained_it_already_codes_smooth_fields_cheaply():
    codec = make(stirred=False)
    smooth, rough = (slope_of((16, 28)) / 8).round(), field_of((16, 28))
    assert bits(codec, smooth) < 0.3 * bits(codec, rough)
    assert bits(codec, rough, previous=rough) < bits(codec, rough)
    assert bits(codec, torch.zeros(1, 2, 16, 28)) < 2.5 * 16 * 28


def test_training_makes_still_fields_cheap():
    codec, still = make(stirred=False), torch.zeros(1, 2, 8, 12)
    field = torch.cat([still, slope_of((8, 12)), field_of((8, 12), 2.0)])
    before = bits(codec, field, field)
    optimiser = torch.optim.Adam(codec.parameters(), lr=0.02)
    for _ in range(40):
        loss = bits(codec, field, field).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = bits(codec, field, field)
    assert after.sum() < 0.7 * before.sum()
    assert after[0] < 0.3 * 8 * 12


def test_training_reaches_every_parameter():
    codec, field = make(), field_of((8, 12), batch=2)
    (bits(codec, field, field * 0.9).sum() + bits(codec, field).sum()).backward()
    silent = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_bytes_are_near_the_estimate(freeze, tables):
    codec, field = freeze(make()), field_of((24, 32), 6.0)
    payloads, _ = write(codec, field, None, tables)
    assert len(payloads[0]) * 8 == pytest.approx(float(bits(codec, field)), rel=0.02)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_distributions_are_the_same_bits_however_computed(layout, dtype, threads, freeze):
    codec, plain, spy = freeze(make()), Spy(), Spy()
    field, previous = field_of((9, 12), batch=2), field_of((9, 12), seed=1, batch=2)
    crf = torch.tensor([20.0, 41.5])
    codec.code(field, previous, crf, (9, 12), plain)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        field, previous = (t.to(dtype).contiguous(memory_format=layout) for t in (field, previous))
        codec.code(field, previous, crf.to(dtype), (9, 12), spy)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(plain.distributions, spy.distributions, strict=True):
        assert torch.equal(a.mean, b.mean)
        assert torch.equal(a.log_scale, b.log_scale)
        assert torch.equal(a.mean * 16, (a.mean * 16).round())
        assert torch.equal(a.log_scale * 64, (a.log_scale * 64).round())


def test_frozen_codec_equals_the_fake_one(freeze):
    codec = make()
    exact, fake, frozen = freeze(codec), Spy(), Spy()
    set_arithmetic(codec, Arithmetic.FAKE)
    knots = torch.tensor([0.0, 63.0])  # between them, tables are rounded in other places
    for network, spy in ((codec, fake), (exact, frozen)):
        network.code(field_of((9, 12), batch=2), None, knots, (9, 12), spy)
    for a, b in zip(fake.distributions, frozen.distributions, strict=True):
        assert torch.equal(a.mean, b.mean)
        assert torch.equal(a.log_scale, b.log_scale)


def test_quality_and_a_missing_previous_field_reach_distributions(freeze):
    codec, field = freeze(make()), torch.zeros(2, 2, 8, 8)
    spies = Spy(), Spy()
    for spy, previous in zip(spies, (None, field), strict=True):
        codec.code(field, previous, torch.tensor([9.0, 50.0]), (8, 8), spy)
    first, later = (spy.distributions[0].log_scale for spy in spies)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, later)


def test_symbols_of_any_size_leave_vectors_within_the_limit(freeze):
    codec = freeze(make())
    for value in (5000.0, -1e6):
        found = codec.code(None, None, CRF, (5, 8), Spy(give=value))
        assert (found == (FIELD_LIMIT if value > 0 else -FIELD_LIMIT)).all()


def test_selections_made_while_decoding_serve_training():
    codec, field = make(), field_of((3, 10))
    with torch.inference_mode():
        bits(codec, field)
    bits(codec, field).sum().backward()


def test_loading_refuses_scales_of_another_shape():
    tensors = make(levels=1).grid_tensors()
    with pytest.raises(ConfigError, match="scales: found"):
        make(levels=2).load_grid_tensors(tensors)


def test_config_needs_levels():
    with pytest.raises(ConfigError, match="0 levels"):
        MotionConfig(levels=0)
