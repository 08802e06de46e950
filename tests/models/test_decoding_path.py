"""A decoder runs nothing but what is exact on every machine."""

import copy

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.models.frames import Reference
from kinema.nn.blocks import FreeBlock
from kinema.nn.exact import GridLayer
from kinema.parts.coding import Read, Write
from kinema.parts.quadtree import coded_before, inside

CRF = torch.tensor([20.5, 44.25])
SIZE = (5, 7)

# Only moves or compares values, or makes them: exact whatever they are.
MOVES = {
    "_to_copy", "_unsafe_view", "cat", "clone", "copy_", "detach", "expand", "fill_", "gather",
    "index", "index_copy_", "index_select", "lift_fresh", "nonzero", "ones", "permute",
    "pixel_shuffle", "repeat", "repeat_interleave", "scatter", "select", "slice", "split",
    "squeeze", "transpose", "unsqueeze", "view", "where", "zeros", "zeros_like", "new_zeros",
    "new_ones", "constant_pad_nd", "replication_pad2d", "alias",
    "amax", "arange", "bucketize", "flip", "full_like", "new_full", "pixel_unshuffle",
    "promote_types", "scalar_tensor", "split_with_sizes", "stack", "unbind",
    "eq", "ge", "gt", "le", "lt", "ne", "is_same_size",
}  # fmt: skip
# One IEEE operation per element: correctly rounded, so the same everywhere.
BASIC = {
    "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "neg", "abs",
    "round", "round_", "floor", "clamp", "clamp_", "sign",
}  # fmt: skip
SUMS_IN_FP64 = {"bmm", "mm", "matmul"}  # of whole numbers, below 2**53
# Few terms, of which none may be rounded, whatever the order: looked at value by value.
SHORT_SUMS = {"_embedding_bag_forward_only", "avg_pool2d", "lerp", "sum", "bmm"}


def is_unrounded(function, arguments, keywords):
    """Whether sums of whole multiples of 2**-12 come out the same in fp32 and fp64.

    In fp64 alone, multiples of 2**-20 are far from being rounded.
    """
    tensors = [t for t in pytree.tree_leaves((arguments, keywords)) if isinstance(t, torch.Tensor)]
    tensors = [t for t in tensors if t.is_floating_point()]
    wide = all(t.dtype is torch.float64 for t in tensors)
    if wide and all(torch.equal(t * 2**20, (t * 2**20).round()) for t in tensors):
        return all(t.numel() == 0 or float(t.abs().max()) < 2**20 for t in tensors)
    coarse = all(torch.equal(t * 4096, (t * 4096).round()) for t in tensors)
    small = all(t.numel() == 0 or float(t.abs().max()) < 2**23 for t in tensors)

    def convert(kind):
        def change(t):
            floating = isinstance(t, torch.Tensor) and t.is_floating_point()
            return t.to(kind) if floating else t

        return pytree.tree_map(change, (arguments, keywords))

    results = []
    for kind in (torch.float32, torch.float64):
        changed, more = convert(kind)
        result = function(*changed, **more)
        results.append((result[0] if isinstance(result, tuple) else result).double())
    return coarse and small and torch.equal(*results)


def refusal(function, arguments):
    """Why an operation may not run in a decoder; None if it may."""
    name = function.overloadpacket.__name__
    tensors = [t for t in pytree.tree_leaves(arguments) if isinstance(t, torch.Tensor)]
    if name in MOVES or name in BASIC:
        return None
    if name in SUMS_IN_FP64:
        wide = all(t.dtype is torch.float64 for t in tensors)
        return None if wide else f"{name} of {tensors[0].dtype}"
    if name == "convolution":
        x, weight, _, stride, _, dilation, transposed, _, groups = arguments
        kernel = tuple(weight.shape[2:])
        plain = not transposed and set(stride) == {1} and set(dilation) == {1}
        pointwise = kernel == (1, 1)
        depthwise = kernel == (3, 3) and groups == weight.shape[0] == x.shape[1]
        exact = x.dtype in (torch.float32, torch.float64) and x.dtype is weight.dtype
        on_grid = torch.equal(x, x.round()) and float(x.abs().max()) <= 2048
        allowed = plain and exact and on_grid and (pointwise or depthwise)
        return None if allowed else f"convolution {kernel}, {groups} groups, {x.dtype}"
    return name


class Watch(TorchDispatchMode):
    """Notes every operation that may not run in a decoder."""

    def __init__(self):
        super().__init__()
        self.refused, self.seen = [], set()

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        reason = refusal(function, args)
        name = function.overloadpacket.__name__
        self.seen.add(name)
        if reason is not None and name in SHORT_SUMS and is_unrounded(function, args, kwargs or {}):
            reason = None
        if reason is not None:
            self.refused.append(reason)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def network(tiny_intra, freeze):
    return freeze(tiny_intra())


@pytest.fixture
def coded(network, pictures, write):
    return write(network, pictures(2, 80, 112), CRF, SIZE)


def watch_decoding(network, payloads, read):
    inside.cache_clear()
    watch = Watch()
    with watch:
        found = read(network, payloads, CRF, SIZE)
    return found, watch


def test_decoding_uses_only_exact_operations(network, coded, read):
    payloads, written = coded
    found, watch = watch_decoding(network, payloads, read)
    assert torch.equal(found.x_hat, written.x_hat)
    assert watch.refused == []
    assert {"convolution", "bmm", "index_copy_"} <= watch.seen


@pytest.mark.parametrize("system", ["tiny_dual_domain", "tiny_lstvc", "tiny_cama"])
def test_decoding_p_frames_uses_only_exact_operations(system, request, pictures, freeze, tables):
    network = freeze(request.getfixturevalue(system)())
    frames = [pictures(1, 80, 112, seed) for seed in range(3)]
    memory, payloads = None, []
    with torch.no_grad():
        for x in frames:
            references = (Reference(memory, -1),) if payloads else ()
            writer = SymbolWriter()
            coded = network.code_frame(x, CRF[:1], SIZE, Write([writer], tables), references)
            memory = coded.memory
            payloads.append(writer.finish())
        expected, memory = coded.x_hat, None
        inside.cache_clear()
        coded_before.cache_clear()
        with Watch() as watch:
            for index, payload in enumerate(payloads):
                references = (Reference(memory, -1),) if index else ()
                channel = Read([SymbolReader(payload)], tables)
                coded = network.code_frame(None, CRF[:1], SIZE, channel, references)
                memory = coded.memory
    assert torch.equal(coded.x_hat, expected)
    assert ", ".join(sorted(set(watch.refused))) == ""


def test_a_layer_off_the_grid_would_be_noticed(network, coded, read):
    payloads, _ = coded
    for replacement, reason in (
        (FreeBlock(12), "silu"),
        (nn.Conv2d(12, 12, 3, padding=1), r"convolution (3, 3), 1 groups, torch.float32"),
        (nn.Sequential(nn.Linear(7, 7)), "addmm"),
        (nn.Softmax(1), "_softmax"),
    ):
        changed = copy.deepcopy(network)
        changed.synthesis.coarse[0] = replacement.requires_grad_(requires_grad=False)
        _, watch = watch_decoding(changed, payloads, read)
        assert reason in watch.refused


def test_operations_are_refused_by_name():
    x = torch.ones(2, 3)
    for operation in (torch.exp, torch.tanh, torch.sigmoid, torch.special.ndtr, torch.sum):
        with Watch() as watch:
            operation(x / 3)
        assert len(watch.refused) == 1, operation
    with Watch() as watch:
        torch.mm(x.double(), x.T.double())
        torch.mm(x, x.T)
    assert watch.refused == ["mm of torch.float32"]


def test_modules_that_compute_while_decoding_are_grid_layers(network, coded, read):
    """Every module without children, unless it is a grid layer, refuses to run."""
    payloads, written = coded

    def refuse(*_arguments):
        raise AssertionError("a decoder may not run this module")

    guarded = 0
    for module in network.modules():
        if not isinstance(module, GridLayer) and not list(module.children()):
            module.forward = refuse
            guarded += 1
    assert guarded
    assert torch.equal(read(network, payloads, CRF, SIZE).x_hat, written.x_hat)


def test_the_guard_stops_the_encoder(network, pictures, write):
    for module in network.analysis.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = None
    with pytest.raises(TypeError):
        write(network, pictures(2, 80, 112), CRF, SIZE)
