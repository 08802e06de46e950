"""Coding a picture through bytes, and counting what networks compute."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.models.cama import CamaCodec
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.frames import Reference
from kinema.models.lstvc import LstvcCodec
from kinema.models.moving import MovingConfig
from kinema.models.uni_lvc import UniLvcCodec
from kinema.nn.exact import GridConv
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write


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
def count_macs():
    """Count the multiplications of convolutions, by module, without computing anything."""

    def count(build, channels, height, width, distances=(), mode=FakeTensorMode):
        """Multiplications in a picture of `channels` at 1/8, by name of the convolution.

        With `distances`, in one that refers to others. Another mode computes after all: where
        shapes depend on what is chosen.
        """
        macs = {}

        def hook(name):
            def add(module, _inputs, output):
                macs[name] = macs.get(name, 0) + output.numel() * module.weight[0].numel()

            return add

        with mode(), torch.no_grad():
            network = build()
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d | GridConv):
                    module.register_forward_hook(hook(name))
            x = torch.zeros(1, channels, height // 8, width // 8)
            size = (height // 16, width // 16)
            coded = network.code_frame(x, torch.zeros(1), size, Estimate(noise=True))
            if distances:
                macs.clear()
                references = tuple(Reference(coded.memory, distance) for distance in distances)
                network.code_frame(x, torch.zeros(1), size, Estimate(noise=True), references)
        return macs

    return count


@pytest.fixture
def tiny_dual_domain(tiny_moving, pictures):
    """Make a dual-domain codec with hardly any channels and no parameter at zero."""

    def make(seed=0, *, has_pixel_branch=True):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        context = replace(tiny_moving["context"], has_pixel_branch=has_pixel_branch)
        config = MovingConfig(**{**tiny_moving, "context": context})
        return shake(DualDomainCodec(config), pictures(24, 64, 64, seed))

    return make


@pytest.fixture
def tiny_lstvc(tiny_lstvc_config, pictures):
    """Make an LSTVC with hardly any channels and no parameter at zero."""

    def make(seed=0):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = shake(LstvcCodec(tiny_lstvc_config), pictures(24, 64, 64, seed))
        network.contextual.steps.load_state_dict(network.latent.steps.state_dict())
        return network

    return make


@pytest.fixture
def tiny_cama(tiny_cama_config, pictures):
    """Make a CAMA with hardly any channels and no parameter at zero."""

    def make(seed=0):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = shake(CamaCodec(tiny_cama_config), pictures(24, 64, 64, seed))
        network.contextual.steps.load_state_dict(network.latent.steps.state_dict())
        return network

    return make


@pytest.fixture
def tiny_uni_lvc(tiny_uni_lvc_config, pictures):
    """Make a Uni-LVC with hardly any channels; no parameter at zero unless it is fresh."""

    def make(seed=0, *, is_fresh=False):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        network = UniLvcCodec(tiny_uni_lvc_config)
        x = pictures(24, 64, 64, seed)
        network = begin(network, x) if is_fresh else shake(network, x)
        network.contextual.steps.load_state_dict(network.latent.steps.state_dict())
        if is_fresh:
            network.contextual.spatial.load_state_dict(
                network.latent.spatial.state_dict(), strict=False
            )
            network.contextual.spatial.trust()
        return network

    return make


def begin(network, x):
    """Start from pictures."""
    x = torch.nn.functional.pixel_unshuffle(x, 2)
    network.start_from_patches(x.permute(0, 2, 3, 1).flatten(0, 2))
    return network


def shake(network, x):
    """Start from pictures, then leave no parameter at zero."""
    begin(network, x)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name == "cosines.gain":  # always above 0
                continue
            spread = float(parameter.abs().mean())
            parameter += torch.randn_like(parameter) * (0.05 * spread if spread else 0.02)
    return network
