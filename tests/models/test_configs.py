"""Configurations as plain values."""

from dataclasses import dataclass, field

import pytest

from kinema.errors import ConfigError
from kinema.models.configs import from_dict, to_dict


@dataclass(frozen=True, kw_only=True)
class Part:
    width: int = 3


@dataclass(frozen=True, kw_only=True)
class Whole:
    part: Part = field(default_factory=Part)
    depth: int = 2


def test_nested_configuration_comes_back():
    config = Whole(part=Part(width=7), depth=1)
    assert to_dict(config) == {"part": {"width": 7}, "depth": 1}
    assert from_dict(Whole, to_dict(config)) == config


def test_missing_fields_keep_their_defaults():
    assert from_dict(Whole, {"depth": 5}) == Whole(depth=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"dept": 5}, "Whole has no field 'dept'"), ({"part": {"x": 1}}, "Part has no field 'x'")],
)
def test_unknown_keys_are_refused_at_any_depth(values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(Whole, values)
