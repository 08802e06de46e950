"""Weights as a file: whole numbers for what decodes, fp16 for what only encodes.

A file holds, by the first word of a tensor's name: `tables`, the integer probability tables;
`grid`, the whole-number tensors of every grid layer that a decoder runs; `encoder`, everything
else. Its fingerprint covers what a decoder depends on and nothing else, so that a better encoder
keeps old streams decodable.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kinema.entropy.table_set import TableSet
from kinema.errors import ConfigError, WeightsMismatchError
from kinema.nn.exact import GridLayer
from kinema.parts.coding import build_tables
from kinema.parts.laplace import NUM_FRACTIONS, NUM_SCALES

TABLES, GRID, ENCODER = "tables.", "grid.", "encoder."


@dataclass(frozen=True)
class FrozenModel:
    """A model ready to code: exact where it decodes.

    Attributes:
        network: frozen, without gradients.
        tables: what the table indices of its symbols mean.
        fingerprint: 8 bytes that name what a decoder depends on.
    """

    network: nn.Module
    tables: TableSet
    fingerprint: bytes


def export_weights(network: nn.Module, path: Path, bases: Sequence[Path] = ()) -> bytes:
    """Write a network's weights; return their fingerprint.

    Args:
        network: trained; its `encoder_only` names the parameters that no decoder needs.
        path: replaced when the new file is complete.
        bases: weights of systems that this one contains; what they hold is not written again, and
            is taken from there when loading, whatever the network has.

    Raises:
        WeightsMismatchError: a base is missing or damaged.
        ConfigError: a layer's sums could leave the exact range, or a decoder would need a
            parameter that is not on a grid.
    """
    shared = _read(*bases)
    arrays = build_tables().to_arrays()
    tensors = {TABLES + name: torch.from_numpy(array) for name, array in arrays.items()}
    for name, layer in _grid_layers(network):
        for key, tensor in layer.grid_tensors().items():
            tensors[f"{name}.{key}"] = tensor.cpu().contiguous()
    for name, parameter in _free_parameters(network):
        if not name.startswith(ENCODER):
            raise ConfigError(f"{name}: a decoder needs it, but it is not on a grid")
        tensor = parameter.detach().cpu().contiguous()
        tensors[name] = tensor.half()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({name: t for name, t in tensors.items() if name not in shared}, partial)
    partial.replace(path)
    return fingerprint(tensors | shared)


def load_weights(network: nn.Module, path: Path, bases: Sequence[Path] = ()) -> FrozenModel:
    """Load a file of weights into `network`, which runs frozen from now on.

    Args:
        network: of the architecture that was exported.
        path: the file.
        bases: weights that the file was exported beside; they hold the rest.

    Raises:
        WeightsMismatchError: the file is missing or damaged, or belongs to another network.
    """
    tensors = _read(*bases, path)
    left = {name: tensor for name, tensor in tensors.items() if not name.startswith(TABLES)}
    try:
        for name, layer in list(_grid_layers(network)):
            own = {key: left.pop(f"{name}.{key}", None) for key in layer.tensor_names}
            layer.load_grid_tensors({key: t for key, t in own.items() if t is not None})
        for name, parameter in _free_parameters(network):
            _set(parameter, name, left.pop(name, None))
    except ConfigError as error:
        raise WeightsMismatchError(f"weights {path} do not fit the network: {error}") from error
    if left:
        raise WeightsMismatchError(f"weights {path}: tensor {min(left)} belongs to no layer")
    network.requires_grad_(requires_grad=False)
    return FrozenModel(network, _tables(tensors, path), fingerprint(tensors))


def fingerprint(tensors: dict[str, Tensor]) -> bytes:
    """Eight bytes that name everything a decoder depends on."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.startswith(ENCODER):
            tensor = tensors[name].contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.digest()[:8]


def _read(*paths: Path) -> dict[str, Tensor]:
    """Tensors of all files together."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        if not path.is_file():
            raise WeightsMismatchError(f"weights {path} do not exist")
        try:
            tensors |= load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise WeightsMismatchError(f"weights {path} cannot be read: {error}") from error
    return tensors


def _tables(tensors: dict[str, Tensor], path: Path) -> TableSet:
    """Probability tables; every index that a channel may ask for is there."""
    arrays = {k[len(TABLES) :]: t.numpy() for k, t in tensors.items() if k.startswith(TABLES)}
    tables = TableSet.from_arrays(arrays)
    if tables.num_indices != NUM_SCALES * NUM_FRACTIONS:
        expected = NUM_SCALES * NUM_FRACTIONS
        raise WeightsMismatchError(
            f"weights {path}: found {tables.num_indices} table indices, expected {expected}"
        )
    return tables


def _set(parameter: nn.Parameter, name: str, tensor: Tensor | None) -> None:
    """Set a parameter of the encoder from a tensor of the file."""
    if tensor is None or tensor.shape != parameter.shape or not tensor.is_floating_point():
        found = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
        raise ConfigError(f"{name}: found {found}, expected floats {tuple(parameter.shape)}")
    if not bool(tensor.isfinite().all()):
        raise ConfigError(f"{name}: found values that are not finite")
    parameter.data = tensor.float()


def _file_name(network: nn.Module, name: str) -> str:
    """Name in the file of a layer or parameter of the network."""
    encoder_only = cast("tuple[str, ...]", network.encoder_only)
    return (ENCODER if f"{name}.".startswith(encoder_only) else GRID) + name


def _grid_layers(network: nn.Module) -> Iterator[tuple[str, GridLayer]]:
    """Grid layers and their names in the file."""
    for name, module in network.named_modules():
        if isinstance(module, GridLayer):
            yield _file_name(network, name), module


def _free_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that no grid layer stores itself, and their names in the file."""
    for name, module in network.named_modules():
        if not isinstance(module, (GridLayer, nn.ParameterList)):
            for key, parameter in module.named_parameters(name, recurse=False):
                yield _file_name(network, key), parameter
