"""Names and numbers of models. A number stands in every coded file: it is never used again.

Importing this is quick: torch comes with the first model that is loaded.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.errors import ConfigError, WeightsMismatchError

if TYPE_CHECKING:
    from torch import nn

    from kinema.models.weights import FrozenModel

WEIGHTS = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "intra"
LEVEL_GAINS = (8.0, 8.0, 6.0, 4.0, 2.0, 0.0)  # see `ModelEntry`


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model that ships with trained weights."""

    number: int  # in the bitstream; by hand, never reused
    build: "Callable[[], nn.Module]"
    weights: str  # file in the package's weights folder; a card of the same name lies beside it
    structures: tuple[str, ...]  # coding structures it can do; the first one is its usual one
    summary: str
    bases: tuple[str, ...] = ()  # weights of the systems it contains, likewise; shipped once
    intra_gain: float = 0.0  # crf by which I frames are finer, since P frames keep what they bring
    # The same in random access: I frames, then frames whose nearest reference is 16 or more frames
    # away, 8, 4, 2, 1.
    level_gains: tuple[float, ...] = LEVEL_GAINS


def _build_small(module: str) -> "nn.Module":
    """Build the configuration that ships, of a module of this room."""
    network: nn.Module = import_module(f"kinema.models.{module}").build_small()
    return network


MODELS: dict[str, ModelEntry] = {
    "intra": ModelEntry(
        number=1,
        build=partial(_build_small, "intra"),
        weights="intra-small.safetensors",
        structures=("all-intra",),
        summary="every picture on its own; 5.0 M parameters",
    ),
    "dual-domain": ModelEntry(
        number=2,
        build=partial(_build_small, "dual_domain"),
        weights="dual-domain-small.safetensors",
        structures=("low-delay", "all-intra"),
        summary="the pictures of intra for fewer bits; no drift; 7.7 M parameters",
        bases=("intra-small.safetensors",),
    ),
    "lstvc": ModelEntry(
        number=3,
        build=partial(_build_small, "lstvc"),
        weights="lstvc-small.safetensors",
        structures=("low-delay", "all-intra"),
        summary="conditional coding of what earlier frames do not tell; 9.3 M parameters",
        bases=("intra-small.safetensors",),
        intra_gain=8.0,
    ),
    "cama": ModelEntry(
        number=4,
        build=partial(_build_small, "cama"),
        weights="cama-small.safetensors",
        structures=("low-delay", "all-intra"),
        summary="lstvc with features aligned in two stages; 9.8 M parameters",
        bases=("intra-small.safetensors", "lstvc-small.safetensors"),
        intra_gain=8.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its weights, ready to code exactly."""

    name: str
    number: int
    frozen: "FrozenModel"
    structures: tuple[str, ...] = ("all-intra",)  # as in `ModelEntry`
    intra_gain: float = 0.0  # likewise
    level_gains: tuple[float, ...] = LEVEL_GAINS  # likewise

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes that name what a decoder depends on."""
        return self.frozen.fingerprint


def load_model(
    name: str = DEFAULT_MODEL, *, weights: str | os.PathLike[str] | None = None
) -> LoadedModel:
    """Load a model and its weights.

    Args:
        name: a key of `MODELS`.
        weights: another file of exported weights than the one shipped.

    Raises:
        ConfigError: the name is unknown.
        WeightsMismatchError: the weights are missing or do not fit.
    """
    from kinema.models.weights import load_weights

    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    entry = MODELS[name]
    bases = [WEIGHTS / base for base in entry.bases] if weights is None else []
    frozen = load_weights(entry.build(), Path(weights or WEIGHTS / entry.weights), bases)
    return LoadedModel(
        name=name,
        number=entry.number,
        frozen=frozen,
        structures=entry.structures,
        intra_gain=entry.intra_gain,
        level_gains=entry.level_gains,
    )


def model_name(number: int) -> str:
    """Find the model that a file names.

    Raises:
        WeightsMismatchError: this version does not know the number.
    """
    for name, entry in MODELS.items():
        if entry.number == number:
            return name
    known = ", ".join(f"{entry.number} {name}" for name, entry in MODELS.items())
    raise WeightsMismatchError(f"file names model {number}; this version knows {known}")


def read_card(name: str) -> dict[str, object]:
    """Read what is known of a shipped model: recipe, hours, figures, fingerprint.

    Raises:
        WeightsMismatchError: the card is missing or is none.
    """
    path = (WEIGHTS / MODELS[name].weights).with_suffix(".json")
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsMismatchError(f"model card {path.name} cannot be read: {error}") from error
    return {"number": MODELS[name].number, **card}
