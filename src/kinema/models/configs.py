"""Configurations of systems as plain values, for checkpoints and model cards."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kinema.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)


def to_dict(config: "DataclassInstance") -> dict[str, Any]:
    """Give a configuration's fields by name; those of its parts as dictionaries again."""
    return asdict(config)


def from_dict(kind: "type[Config]", values: Mapping[str, Any]) -> "Config":
    """Rebuild what `to_dict` gave; fields that are not named keep their defaults.

    Raises:
        ConfigError: a key that the configuration does not have.
    """
    parts = {field.name: field.type for field in fields(kind)}
    unknown = sorted(set(values) - set(parts))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no field {unknown[0]!r}; known: {', '.join(parts)}")
    arguments = {}
    for name, value in values.items():
        part = parts[name]
        is_config = isinstance(part, type) and is_dataclass(part)
        arguments[name] = from_dict(cast("type[Any]", part), value) if is_config else value
    return kind(**arguments)
