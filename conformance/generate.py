"""Write the streams of tier C and their digests.

Usage: python conformance/generate.py [--bump] [NAME ...]

A digest that stands in vectors.toml is kept: streams that decoded once must decode for ever. With
--bump it is written anew, which is right only together with a new format version or model number
(CHANGELOG.md, heading Bitstream).
"""

import argparse
import hashlib
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny import (
    BASE,
    CONFIG,
    FOLDER,
    MOVING,
    STREAMS,
    SYSTEMS,
    WEIGHTS,
    digest_of,
    draw_frames,
    load_tiny,
)
from torch import nn

import kinema
from kinema.bitstream.container import ContainerWriter
from kinema.codec.encoder import Encoder
from kinema.codec.headers import sequence_header
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.intra import IntraCodec
from kinema.models.lstvc import LstvcCodec
from kinema.models.moving import MovingConfig
from kinema.models.registry import LoadedModel
from kinema.models.weights import TABLES, export_weights
from kinema.parts.planes import CHANNELS, pack_planes
from kinema.parts.quality import crf_to_units
from kinema.train.checkpoint import load_parameters
from kinema.train.conditional import take_over
from kinema.video.frame import Frame, VideoFormat

VECTORS = FOLDER / "vectors.toml"
STEADY = [(index, 1) for index in range(4)]
LONGER = tuple((index, 1) for index in range(6))  # until all references are there
SHARE, LOG_GAIN = 0.7, -0.5  # what tiny systems with P frames make of the coarse latent
HEAD = """\
# Tier C: committed streams of tiny systems -> pictures, bit-exact everywhere, for ever.
# Written by conformance/generate.py; streams are added, never changed.
#
# [[stream]]     `sha256` is that of streams/NAME.kin, `decoded_sha256` that of the planes Y, U, V
#                of all frames, row by row; `weights` name a file in weights/.
# [[negative]]   a stream with one thing changed; reading it must end in the named error.
"""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a stream exercises, and how it is made."""

    feature: str
    size: tuple[int, int]  # width, height
    crf: float
    kind: str = "shapes"
    times: tuple[tuple[int, int], ...] = tuple(STEADY)
    weights: str = BASE
    refresh: int = 0
    crf_step: float = 0.0  # from frame to frame


SPECS = {
    "even": Spec(feature="sizes that need no padding", size=(64, 48), crf=20),
    "odd": Spec(feature="odd width and height", size=(51, 35), crf=28),
    "sample": Spec(feature="a picture of one sample", size=(1, 1), crf=30),
    "wide": Spec(feature="latent rows that leave the 2x2 cells open", size=(130, 18), crf=12.5),
    "tall": Spec(feature="latent columns that leave the 2x2 cells open", size=(18, 130), crf=36),
    "best": Spec(feature="crf 0", size=(48, 48), crf=0),
    "worst": Spec(feature="crf 63", size=(80, 64), crf=63),
    "between": Spec(feature="a quality between table rows", size=(64, 64), crf=33.37),
    "noise": Spec(feature="symbols far outside the tables", size=(64, 48), crf=3, kind="noise"),
    "times": Spec(
        feature="variable frame rate",
        size=(32, 32),
        crf=25,
        times=((0, 1), (1, 4), (5, 1), (9, 30), (40, 0)),
    ),
}


def moving_specs(prefix: str, weights: str) -> dict[str, Spec]:
    """The same P frames for a system: one intra frame, then only P frames unless told."""
    p = partial(Spec, weights=weights, times=LONGER)
    return {
        f"{prefix}-even": p(feature="P frames with one to three references", size=(64, 48), crf=20),
        f"{prefix}-odd": p(
            feature="odd size, intra frames in between", size=(51, 35), crf=28, refresh=3
        ),
        f"{prefix}-sample": p(feature="P frames of one sample", size=(1, 1), crf=30),
        f"{prefix}-wide": p(feature="motion lattices of two rows", size=(130, 18), crf=12.5),
        f"{prefix}-tall": p(feature="motion lattices of two columns", size=(18, 130), crf=36),
        f"{prefix}-best": p(feature="P frames at crf 0", size=(48, 48), crf=0),
        f"{prefix}-worst": p(feature="P frames at crf 63", size=(80, 64), crf=63),
        f"{prefix}-noise": p(
            feature="P frames that nothing foretells", size=(64, 48), crf=3, kind="noise"
        ),
        f"{prefix}-quality": p(
            feature="another quality in every frame", size=(64, 64), crf=10.3, crf_step=8.41
        ),
    }


SPECS |= moving_specs("dual", "tiny-dual-domain") | moving_specs("lstvc", "tiny-lstvc")
SPECS |= moving_specs("cama", "tiny-cama")
# Name: (stream, what is changed, error).
NEGATIVES = {
    "other-weights": ("even", 'header = { weights_fingerprint = "0000000000000000" }',
                      "WeightsMismatchError"),
    "other-model": ("even", "header = { model_number = 65535 }", "WeightsMismatchError"),
    "other-profile": ("even", "header = { numeric_profile = 2 }", "NumericProfileError"),
    "other-picture": ("even", "frame = { picture_hash = 1 }", "ChecksumError"),
    "left-over": ("even", 'append = "01"', "BitstreamError"),
    "other-quality": ("even", "frame = { quality = 6000 }", "BitstreamError"),
    "dual-lost-intra": ("dual-even", "drop = [0]", "MissingReferenceError"),
    "dual-lost-p": ("dual-even", "drop = [2]", "MissingReferenceError"),
    "dual-other-picture": ("dual-even", "frame = { picture_hash = 1 }", "ChecksumError"),
    "dual-other-weights": ("dual-even", 'header = { weights_fingerprint = "0000000000000000" }',
                           "WeightsMismatchError"),
    "lstvc-lost-p": ("lstvc-even", "drop = [2]", "MissingReferenceError"),
    "lstvc-left-over": ("lstvc-even", 'append = "01"', "BitstreamError"),
    "cama-lost-p": ("cama-even", "drop = [2]", "MissingReferenceError"),
}  # fmt: skip


def make_weights() -> None:
    """Draw the tiny intra weights by chance, and split the tables from them."""
    torch.manual_seed(20)
    network = IntraCodec(CONFIG)
    frames = draw_frames("shapes", (256, 256), STEADY) + draw_frames("noise", (64, 64), STEADY)
    patches = []
    for frame in frames:
        planes = (torch.from_numpy(plane)[None, None] for plane in frame.planes)
        x = nn.functional.pixel_unshuffle(pack_planes(*planes), 2)
        patches.append(x.permute(0, 2, 3, 1).reshape(-1, CHANNELS * 4))
    network.start_from_patches(torch.cat(patches))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith((".bias", ".phase.0", ".phase.1", ".phase.2")):
                parameter.normal_(std=0.3)
        for layer in (network.synthesis.head, network.analysis.leave):
            layer.weight.normal_(std=0.02)
    path = WEIGHTS / "tiny-intra.safetensors"
    export_weights(network, path)
    tensors = load_file(path)
    tables = {name: tensors.pop(name) for name in list(tensors) if name.startswith(TABLES)}
    save_file(tables, WEIGHTS / "tables.safetensors")
    save_file(tensors, path)
    for written in WEIGHTS.iterdir():
        written.chmod(0o644)


def make_moving_weights(name: str) -> None:
    """Draw the weights of a tiny system with P frames, beside those of the intra system."""
    torch.manual_seed(30 + SYSTEMS[name].number)
    first = DualDomainCodec(MovingConfig(**MOVING))
    load_parameters(WEIGHTS / f"{BASE}.safetensors", first)
    latent = CONFIG.prior.latent_channels
    with torch.no_grad():
        share, log_gain = torch.full((latent,), SHARE), torch.full((latent,), LOG_GAIN)
        first.temporal.start_from(first.latent.spatial, share, log_gain)
    network = SYSTEMS[name].build()
    if isinstance(network, LstvcCodec):
        take_over(network, first)
    else:
        network.load_state_dict(first.state_dict())
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter_name == "cosines.gain":  # always above 0
                continue
            spread = float(parameter.abs().mean())
            parameter += torch.randn_like(parameter) * (0.05 * spread if spread else 0.02)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base.safetensors"
        parts = [load_file(WEIGHTS / f"{part}.safetensors") for part in ("tables", BASE)]
        save_file(parts[0] | parts[1], base)
        export_weights(network, WEIGHTS / f"{name}.safetensors", [base])
    (WEIGHTS / f"{name}.safetensors").chmod(0o644)


@cache
def load(name: str) -> LoadedModel:
    """A tiny system; weights that are not there yet are drawn."""
    if not (WEIGHTS / f"{name}.safetensors").exists():
        WEIGHTS.mkdir(exist_ok=True)
        make_weights() if name == BASE else make_moving_weights(name)
    return load_tiny(name)


def write_stream(name: str, spec: Spec) -> dict[str, object]:
    """Encode a stream; return its entry."""
    model = load(spec.weights)
    frames: list[Frame] = draw_frames(spec.kind, spec.size, list(spec.times))
    video = VideoFormat(
        width=spec.size[0],
        height=spec.size[1],
        frame_rate=Fraction(25),
        time_base=Fraction(1, 25),
    )
    path = STREAMS / f"{name}.kin"
    path.parent.mkdir(exist_ok=True)
    units = crf_to_units(spec.crf)
    period = -1 if model.structures[0] == "low-delay" else None
    encoder = Encoder(model, threads=1, intra_period=period, refresh=spec.refresh)
    header = sequence_header(video, (), model, frames[0], units, encoder.plan)
    crf = [spec.crf + spec.crf_step * index for index in range(len(frames))]
    with ContainerWriter(path, header, overwrite=True) as writer:
        for coded in encoder.encode_batch(frames, crf=crf):
            writer.write_frame(coded.header, coded.payload)
    with kinema.open(path, model=model) as reader:
        decoded = list(reader)
        if reader.lost or len(decoded) != len(frames):
            raise SystemExit(f"{name} does not decode: {reader.lost}")
    entry = {
        "name": name,
        "feature": spec.feature,
        "model_number": model.number,
        "weights": spec.weights,
        "weights_fingerprint": model.fingerprint.hex(),
        "numeric_profile": header.numeric_profile,
        "width": spec.size[0],
        "height": spec.size[1],
        "num_frames": len(frames),
        "crf": spec.crf,
        "content": spec.kind,
    }
    if period:
        entry |= {"intra_period": period, "refresh": spec.refresh, "crf_step": spec.crf_step}
    return entry | {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "decoded_sha256": digest_of(decoded),
    }


def to_toml(entries: list[dict[str, object]]) -> str:
    """All entries and negatives as text."""
    parts = [HEAD]
    for entry in entries:
        lines = [
            f"{key} = {value}" if isinstance(value, (int, float)) else f'{key} = "{value}"'
            for key, value in entry.items()
        ]
        parts.append("[[stream]]\n" + "\n".join(lines) + "\n")
    for name, (stream, change, error) in NEGATIVES.items():
        lines = [f'name = "{name}"', f'stream = "{stream}"', change, f'error = "{error}"']
        parts.append("[[negative]]\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="streams to write; all unless told")
    parser.add_argument("--bump", action="store_true", help="replace digests that stand")
    wanted = parser.parse_args()
    known = {}
    if VECTORS.exists():
        known = {entry["name"]: entry for entry in tomllib.loads(VECTORS.read_text())["stream"]}
    names = wanted.names or list(SPECS)
    standing = sorted(set(names) & set(known))
    if wanted.names and standing and not wanted.bump:
        sys.exit(f"{', '.join(standing)}: the digest stands; --bump replaces it")
    for name in names:
        if name not in known or wanted.bump:
            known[name] = write_stream(name, SPECS[name])
            print(f"{name}: {(STREAMS / f'{name}.kin').stat().st_size} bytes")
    VECTORS.write_text(to_toml(list(known.values())))


if __name__ == "__main__":
    main()
