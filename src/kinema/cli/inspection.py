"""The commands that look and tell: `info`, `verify` and `models`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.messages import refuse_damage
from kinema.cli.options import Json


def info(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")], as_json: Json = False
) -> None:
    """Tell what is in a file, without decoding it."""
    from kinema.codec.description import describe

    facts = describe(source)
    if as_json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' ')}: {value}")


def verify(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")], as_json: Json = False
) -> None:
    """Decode everything and compare every picture with its hash."""
    from kinema.codec.decoding import verify_file

    report = verify_file(source)
    if as_json:
        print(json.dumps({"file": str(source), **report.figures()}))
    refuse_damage(source, report, f"{report.num_frames} others are good")
    if not as_json:
        print(f"{source}: {report.num_frames} frames, all as the encoder saw them")


def models(as_json: Json = False) -> None:
    """List the models that are installed."""
    from kinema.models.registry import MODELS, read_card

    cards = {name: read_card(name) for name in MODELS}
    if as_json:
        print(json.dumps(cards))
        return
    for name, card in cards.items():
        print(f"{name}: {MODELS[name].summary} (number {card['number']}, {card['fingerprint']})")
