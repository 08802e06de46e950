"""Kinema: a learned video codec that decodes bit-exactly on every machine.

    import kinema

    kinema.encode("holiday.mp4", "holiday.kin", crf=28)
    kinema.decode("holiday.kin", "holiday.mkv")
    with kinema.open("holiday.kin") as video:
        for frame in video:  # frame.y, frame.u, frame.v: uint8 arrays; frame.pts
            ...

Names are loaded when they are first used, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kinema.version import VERSION

if TYPE_CHECKING:
    from kinema.api import concat, cut, decode, encode, open, verify
    from kinema.codec.decoder import Decoder
    from kinema.codec.encoder import Encoder
    from kinema.codec.reader import KinReader
    from kinema.errors import KinemaError
    from kinema.models.registry import load_model
    from kinema.video.frame import Frame

__version__ = VERSION

__all__ = [
    "Decoder",
    "Encoder",
    "Frame",
    "KinReader",
    "KinemaError",
    "concat",
    "cut",
    "decode",
    "encode",
    "load_model",
    "open",
    "verify",
]

_HOMES = {
    "Decoder": "kinema.codec.decoder",
    "Encoder": "kinema.codec.encoder",
    "Frame": "kinema.video.frame",
    "KinReader": "kinema.codec.reader",
    "KinemaError": "kinema.errors",
    "concat": "kinema.api",
    "cut": "kinema.api",
    "decode": "kinema.api",
    "encode": "kinema.api",
    "load_model": "kinema.models.registry",
    "open": "kinema.api",
    "verify": "kinema.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the type checker sees the imports above
    if name not in _HOMES:
        raise AttributeError(f"module 'kinema' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
