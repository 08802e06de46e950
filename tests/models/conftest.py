"""Coding a picture through bytes, and counting what networks compute."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.nn.exact import GridConv
from kinema.parts.channels import Estimate, Selection
from kinema.parts.coding import Read, Write
from kinema.parts.priors import everything, step_selections


@pytest.fixture
def write(tables):
    """Code a batch: a payload per picture, and what the encoder knows of them."""

    @torch.no_grad()
    def code(network, x, crf, size):
        writers = [SymbolWriter() for _ in x]
        coded = network.code_frame(x, crf, size, Write(writers, tables))
        return [writer.finish() for writer in writers], coded

    return code


@pytest.fixture
def read(tables):
    """Decode a batch, to the last bit of every payload."""

    @torch.no_grad()
    def decode(network, payloads, crf, size):
        readers = [SymbolReader(data) for data in payloads]
        coded = network.code_frame(None, crf, size, Read(readers, tables))
        for reader in readers:
            reader.finish()
        return coded

    return decode


@pytest.fixture
def count_macs(monkeypatch):
    """Count the multiplications of convolutions, by module, without computing anything."""

    def select(mask):  # positions depend on data, of which there is none
        return Selection(mask, torch.zeros(0, dtype=torch.long))

    def count(build, channels, height, width):
        """Multiplications in a picture of `channels` at 1/8, by name of the convolution."""
        macs = {}

        def hook(name):
            def add(module, _inputs, output):
                macs[name] = macs.get(name, 0) + output.numel() * module.weight[0].numel()

            return add

        with FakeTensorMode(), torch.no_grad():
            network = build()
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d | GridConv):
                    module.register_forward_hook(hook(name))
            x = torch.zeros(1, channels, height // 8, width // 8)
            size = (height // 16, width // 16)
            network.code_frame(x, torch.zeros(1), size, Estimate(noise=False))
        return macs

    monkeypatch.setattr(Selection, "of", select)
    forget_selections()
    yield count
    forget_selections()


def forget_selections():
    step_selections.cache_clear()
    everything.cache_clear()
