"""Symbols through bytes: what is read is what was written."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.errors import BitstreamError
from kinema.parts.channels import Distribution, Estimate
from kinema.parts.coding import MEAN_LIMIT, Read, Write


def random_steps(shape, seed=0, weight=None):
    """A latent and the distributions of two steps that code every other element each."""
    chance = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=chance).double() * 20
    log_scale = torch.randn(shape, generator=chance) * 1.5
    s = mean + torch.randn(shape, generator=chance) * torch.exp(log_scale)
    positions = torch.arange(shape[1] * shape[2] * shape[3])
    return s, [Distribution(mean, log_scale, positions[i::2], weight) for i in range(2)]


def write(s, steps, tables, **options):
    writers = [SymbolWriter() for _ in s]
    channel = Write(writers, tables, **options)
    carried = [channel.carry(s, distribution) for distribution in steps]
    return [writer.finish() for writer in writers], carried


def read(payloads, steps, tables):
    readers = [SymbolReader(data) for data in payloads]
    channel = Read(readers, tables)
    carried = [channel.carry(None, distribution) for distribution in steps]
    for reader in readers:
        reader.finish()
    return carried


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 8, 5, 7), (3, 6, 4, 4), (1, 5, 1, 9)])
@pytest.mark.parametrize("decide", [None, 0.0, 1.0])
def test_reader_sees_exactly_what_the_writer_carried(shape, decide, tables):
    weight = None if decide is None else torch.full(shape, 0.2)
    s, steps = random_steps(shape, weight=weight)
    payloads, written = write(s, steps, tables, decide=decide or 0.0)
    for a, b in zip(written, read(payloads, steps, tables), strict=True):
        assert a.dtype is b.dtype is torch.float64
        assert torch.equal(a, b)
    if not decide:
        assert torch.equal(sum(written), s.round())


def test_each_picture_of_a_batch_has_bytes_of_its_own(tables):
    s, steps = random_steps((3, 8, 5, 7))
    payloads, _ = write(s, steps, tables)
    for i, payload in enumerate(payloads):
        alone = [Distribution(d.mean[i : i + 1], d.log_scale[i : i + 1], d.inside) for d in steps]
        assert write(s[i : i + 1], alone, tables)[0] == [payload]


def test_bytes_are_near_the_estimate(tables):
    s, steps = random_steps((2, 16, 24, 24))
    estimate = Estimate(noise=False)
    for distribution in steps:
        estimate.carry(s, distribution)
    payloads, _ = write(s, steps, tables)
    for payload, bits in zip(payloads, estimate.bits().tolist(), strict=True):
        assert abs(len(payload) - bits / 8) < 0.005 * bits / 8 + 32


def test_deciding_costs_fewer_bytes_and_moves_symbols_by_one(tables):
    weight = torch.full((1, 16, 24, 24), 0.2)
    s, steps = random_steps((1, 16, 24, 24), weight=weight)
    plain, rounded = write(s, steps, tables, decide=0.0)
    fewer, chosen = write(s, steps, tables, decide=1.0)
    assert len(fewer[0]) < 0.97 * len(plain[0])
    assert (sum(chosen) - sum(rounded)).abs().max() == 1


@pytest.mark.parametrize("mean", [0.0, 1e5, -1e5, 1e30, -torch.inf])
def test_means_of_any_size_select_a_table(mean, tables):
    shape = (1, 4, 2, 2)
    steps = [Distribution(torch.full(shape, mean).double(), torch.zeros(shape))]
    s = torch.full(shape, max(-MEAN_LIMIT, min(MEAN_LIMIT, mean))).double() + 3
    payloads, written = write(s, steps, tables)
    assert torch.equal(read(payloads, steps, tables)[0], written[0])


def test_what_goes_without_saying_is_not_written(tables):
    shape = (1, 4, 6, 6)
    mean = torch.full(shape, 7.1).double()
    steps = [Distribution(mean, torch.full(shape, -5.0))]
    payloads, written = write(torch.full(shape, 3.0), steps, tables)
    assert payloads == [b""]
    assert (written[0] == 7).all()
    assert torch.equal(read(payloads, steps, tables)[0], written[0])


def test_a_distribution_that_does_not_bind_leaves_symbols_alone(tables):
    shape = (1, 4, 6, 6)
    mean = torch.full(shape, 7.1).double()
    steps = [Distribution(mean, torch.full(shape, -5.0), is_binding=False)]
    payloads, written = write(torch.full(shape, 3.0), steps, tables)
    assert (written[0] == 3).all()
    assert torch.equal(read(payloads, steps, tables)[0], written[0])


def test_a_rehearsal_chooses_what_is_written(tables):
    s, steps = random_steps((1, 16, 24, 24), weight=torch.full((1, 16, 24, 24), 0.2))
    channel = Write([SymbolWriter()], tables)
    for distribution in steps:
        rehearsed = channel.rehearsal().carry(s, distribution)
        assert torch.equal(rehearsed, channel.carry(s, distribution))
    with pytest.raises(TypeError):
        Read([], tables).rehearsal()


def test_outliers_are_carried(tables):
    s, steps = random_steps((1, 4, 4, 4))
    s[0, 0, 0] += 5000
    payloads, written = write(s, steps, tables)
    assert torch.equal(sum(read(payloads, steps, tables)), sum(written))


def test_symbols_left_over_are_noticed(tables):
    s, steps = random_steps((1, 8, 8, 8))
    payloads, _ = write(s, steps, tables)
    with pytest.raises(BitstreamError):
        read(payloads, steps[:1], tables)


def test_writing_needs_a_latent(tables):
    _, steps = random_steps((1, 4, 2, 2))
    with pytest.raises(TypeError):
        Write([SymbolWriter()], tables).carry(None, steps[0])
