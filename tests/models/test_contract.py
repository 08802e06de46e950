"""What every system must do, whichever paper it comes from: one list of demands for all."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from kinema.errors import ConfigError
from kinema.models.cama import CamaCodec, CamaConfig
from kinema.models.cama import build_small as build_cama
from kinema.models.configs import from_dict, to_dict
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.dual_domain import build_small as build_dual_domain
from kinema.models.intra import IntraCodec, IntraConfig, build_small
from kinema.models.intra_paper import IntraPaperCodec, IntraPaperConfig, build_paper
from kinema.models.lstvc import LstvcCodec, LstvcConfig
from kinema.models.lstvc import build_small as build_lstvc
from kinema.models.moving import MovingConfig
from kinema.models.registry import MODELS
from kinema.models.uni_lvc import UniLvcCodec, UniLvcConfig
from kinema.models.uni_lvc import build_small as build_uni_lvc
from kinema.nn.exact import GridLayer
from kinema.parts.channels import Estimate

NAMES = Path(__file__).parent / "parameters"
SIZES = [(1, 1), (4, 6), (5, 7)]
CRF = torch.tensor([20.5, 44.25])


@dataclass(frozen=True)
class System:
    """A system under test: full size for its names, tiny for everything else."""

    kind: type[nn.Module]
    build: Callable[[], nn.Module]
    config: object
    channels: int  # of the pictures it takes
    exact: bool
    looks_back: tuple[str, ...] = ()  # prefixes of what intra frames do not use


TINY_PAPER = IntraPaperConfig(
    feature_channels=16,
    latent_channels=12,
    hyper_channels=8,
    analysis_blocks=1,
    synthesis_blocks=1,
    prior_blocks=1,
)
CONDITIONAL = (
    *("motion.", "block_sizes."),
    *("alignment.", "contextual.", "long_term.", "refinement."),
)
SYSTEMS = {
    "intra": System(IntraCodec, build_small, IntraConfig(), 96, exact=True),
    "dual_domain": System(
        DualDomainCodec,
        build_dual_domain,
        MovingConfig(),
        96,
        exact=True,
        looks_back=("motion.", "coarse.", "alignment.", "temporal."),
    ),
    "lstvc": System(
        LstvcCodec,
        build_lstvc,
        LstvcConfig(),
        96,
        exact=True,
        looks_back=CONDITIONAL,
    ),
    "cama": System(
        CamaCodec,
        build_cama,
        CamaConfig(),
        96,
        exact=True,
        looks_back=(*CONDITIONAL, "features.", "tell.", "show."),
    ),
    "uni_lvc": System(
        UniLvcCodec,
        build_uni_lvc,
        UniLvcConfig(),
        96,
        exact=True,
        looks_back=(
            *CONDITIONAL,
            *("adaptor.", "adapt_prior.", "adapt_picture."),
        ),
    ),
    "intra_paper": System(IntraPaperCodec, build_paper, IntraPaperConfig(), 192, exact=False),
}


@pytest.fixture(params=SYSTEMS, name="name")
def _name(request):
    return request.param


@pytest.fixture
def system(name):
    return SYSTEMS[name]


@pytest.fixture
def trainable(name, request):
    """The tiny system as it trains."""
    if name != "intra_paper":
        return request.getfixturevalue(f"tiny_{name}")()
    torch.manual_seed(0)
    network = IntraPaperCodec(TINY_PAPER)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.02
    return network


@pytest.fixture
def network(system, trainable, freeze):
    """The tiny system as it codes."""
    return freeze(trainable) if system.exact else trainable


@pytest.fixture
def picture(system, pictures):
    """Make a batch of two pictures for a latent size."""

    def make(size, seed=0):
        if system.channels == 96:
            return pictures(2, size[0] * 16, size[1] * 16, seed)
        shape = (2, system.channels, size[0] * 2, size[1] * 2)
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed))

    return make


def same(a, b):
    return torch.equal(a.x_hat, b.x_hat) and torch.equal(a.y_hat, b.y_hat)


@pytest.mark.parametrize("size", SIZES)
def test_reader_sees_exactly_what_the_writer_reconstructed(size, network, picture, write, read):
    x = picture(size)
    payloads, written = write(network, x, CRF, size)
    found = read(network, payloads, CRF, size)
    assert same(found, written)
    assert found.x_hat.shape == x.shape


def test_decoder_needs_no_parameter_of_the_encoder(network, picture, write, read):
    size = SIZES[2]
    payloads, written = write(network, picture(size), CRF, size)
    blind = copy.deepcopy(network)
    hidden = 0
    for parameter_name, parameter in blind.named_parameters():
        if parameter_name.startswith(network.encoder_only):
            parameter.data.fill_(torch.nan)
            hidden += 1
    for layer_name, layer in blind.named_modules():
        if f"{layer_name}.".startswith(network.encoder_only) and isinstance(layer, GridLayer):
            layer.rows = None  # frozen tables, beside their parameters
    assert hidden
    assert same(read(blind, payloads, CRF, size), written)


def test_every_encoder_only_prefix_names_something(network):
    names = [name for name, _ in network.named_parameters()]
    for prefix in network.encoder_only:
        assert any(name.startswith(prefix) for name in names)


def test_decoder_needs_every_other_parameter(system, network, picture, write, read):
    """The list of encoder-only parameters is complete: changing any other changes pictures."""
    size = SIZES[1]
    payloads, written = write(network, picture(size), CRF, size)
    used = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: used.add(name))
        for name, module in network.named_modules()
    ]
    assert same(read(network, payloads, CRF, size), written)
    for hook in hooks:
        hook.remove()
    leaves = {name for name, module in network.named_modules() if not list(module.children())}
    owners = {name.rpartition(".")[0] for name, _ in network.named_parameters()}
    silent = {name for name in leaves & owners - used if ".phase" not in name}
    expected = network.encoder_only + system.looks_back
    assert all(f"{name}.".startswith(expected) for name in silent)
    assert not any(f"{name}.".startswith(network.encoder_only) for name in used if name)


def test_estimate_agrees_with_the_bytes(network, picture, write):
    size = (12, 16)
    x = picture(size)
    estimate = Estimate(noise=False, decide=1.0)
    with torch.inference_mode():
        network.code_frame(x, CRF, size, estimate)
    payloads, _ = write(network, x, CRF, size)
    for payload, bits in zip(payloads, estimate.bits().tolist(), strict=True):
        assert abs(len(payload) - bits / 8) <= 0.02 * bits / 8 + 64


def test_same_picture_gives_the_same_bytes(network, picture, write):
    size = SIZES[2]
    first, _ = write(network, picture(size), CRF, size)
    second, _ = write(network, picture(size), CRF, size)
    assert first == second


def test_nothing_is_remembered_between_intra_frames(network, picture, write, read):
    size = SIZES[1]
    payloads, written = write(network, picture(size, seed=1), CRF, size)
    other, _ = write(network, picture((5, 7), seed=2), CRF, (5, 7))
    read(network, other, CRF, (5, 7))
    assert same(read(network, payloads, CRF, size), written)
    assert same(read(copy.deepcopy(network), payloads, CRF, size), written)


def test_training_step_reaches_every_parameter(system, trainable, picture):
    size = (5, 7)
    x = picture(size)
    channel = Estimate(noise=True)
    coded = trainable.code_frame(x, CRF, size, channel)
    loss = channel.bits().sum() + (coded.x_hat - x).square().sum()
    before = {name: p.detach().clone() for name, p in trainable.named_parameters()}
    loss.backward()
    torch.optim.SGD(trainable.parameters(), lr=1e-6).step()
    names = [
        n for n, _ in trainable.named_parameters() if not n.startswith(system.looks_back or " ")
    ]
    gradients = {n: p.grad for n, p in trainable.named_parameters() if n in names}
    assert [n for n, g in gradients.items() if g is None or not g.any()] == []
    assert all(g.isfinite().all() for g in gradients.values())
    moved = [n for n, p in trainable.named_parameters() if not torch.equal(p, before[n])]
    assert moved


def test_frozen_parameters_stay(system, trainable, picture):
    size = (4, 6)
    trainable.synthesis.requires_grad_(requires_grad=False)
    channel = Estimate(noise=True)
    coded = trainable.code_frame(picture(size), CRF, size, channel)
    (channel.bits().sum() + coded.x_hat.sum()).backward()
    for parameter_name, parameter in trainable.named_parameters():
        idle = ("synthesis.", *system.looks_back)
        assert (parameter.grad is None) == parameter_name.startswith(idle)


def test_parameter_names_are_frozen(name, system):
    with torch.device("meta"):
        network = system.build()
    found = "".join(f"{parameter}\n" for parameter, _ in network.named_parameters())
    listing = NAMES / f"{name}.txt"
    if os.environ.get("KINEMA_UPDATE") == "1":
        listing.write_text(found)
    assert found == listing.read_text()


def test_configuration_survives_as_plain_values(system):
    values = to_dict(system.config)
    assert from_dict(type(system.config), values) == system.config
    with pytest.raises(ConfigError, match="no field 'width'"):
        from_dict(type(system.config), {**values, "width": 3})


def test_every_registered_model_is_under_test():
    with torch.device("meta"):
        kinds = {type(entry.build()) for entry in MODELS.values()}
    assert kinds <= {system.kind for system in SYSTEMS.values()}
