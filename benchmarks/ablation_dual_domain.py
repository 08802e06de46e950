"""What the parts of the dual-domain system's temporal path are worth, with the shipped weights.

Usage: python benchmarks/ablation_dual_domain.py CLIP... [--crf 30 40] [--frames 16] [--json FILE]

Low delay with one intra frame. Symbols and pictures of a P frame do not depend on what foretells
them, so every variant codes the same ones and only bytes differ: real payloads, through the channel
that writes files. Nothing is trained anew: nets that were trained together are taken apart, so a
part may be worth more, or less, than it would be in a training of its own.

Variants: no context (the frames as intra frames); coarse latent alone, no stage; first stage;
second stage with 1, 2, 3 references (3 is the codec as it is); latent-only (3 references, the
coarse latent being the previous latent along the field, which the weights were not trained for).

The second table tells where the rate goes: bytes of motion, hyper-latent and latent, each in a
payload of its own, and the share of 16x16 blocks in the bits (as estimated from the distributions;
those of the hyper-latent are left out). A block is *new* if the warped picture misses it by more
than half its variance and by more than four times the error of its decoded picture; else *static*
if its vector is at most half a sample long, either way; else *moving*.
"""

import argparse
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.codec.pictures import latent_size, to_tensor
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.entropy.symbols import SymbolWriter
from kinema.eval.reports import format_table
from kinema.eval.results import write_json
from kinema.models.dual_domain import DualDomainCodec, Reach
from kinema.models.moving import Memory
from kinema.models.registry import load_model
from kinema.parts.channels import Distribution
from kinema.parts.coding import Write
from kinema.parts.laplace import laplace_bits
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.planes import unpack_planes
from kinema.parts.quadtree import ORDER, put
from kinema.parts.temporal import TemporalGuide
from kinema.parts.warping import warp_picture
from kinema.video.frame import Frame
from kinema.video.reading import open_video

CONTEXT_OFF, FULL = "context off", "+ second stage, 3 references"
VARIANTS: dict[str, Reach | None] = {
    CONTEXT_OFF: None,
    "coarse only": Reach(stages=0),
    "+ first stage": Reach(stages=1),
    "+ second stage, 1 reference": Reach(references=1),
    "+ second stage, 2 references": Reach(references=2),
    FULL: Reach(),
    "latent-only": Reach(has_pixel_branch=False),
}
KINDS = ("static", "moving", "new")
STILL = 2  # quarter samples, either way
NEW_OF_VARIANCE, NEW_OF_ERROR = 0.5, 4.0


class Tap:
    """A channel that writes, the first symbols to a payload of their own, and keeps bits."""

    is_final, passes = True, 0

    def __init__(self, tables, num_first: int = 0) -> None:
        self.writers = [SymbolWriter(), SymbolWriter()]
        self._channels = [Write([writer], tables) for writer in self.writers]
        self._num_first = num_first
        self.bits: list[Tensor] = []

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        channel = self._channels[len(self.bits) >= self._num_first]
        symbols = channel.carry(s, distribution)
        bits = laplace_bits(symbols, distribution.mean, distribution.log_scale)
        self.bits.append(distribution.scatter(distribution.gather(bits)))
        return symbols

    def rehearsal(self) -> Write:
        return self._channels[0].rehearsal()

    def sizes(self) -> list[int]:
        return [len(writer.finish()) for writer in self.writers]


@dataclass
class Sums:
    """Of the P frames of a clip: bytes of variants and parts; blocks and bits by kind."""

    variants: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VARIANTS, 0))
    parts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("motion", "hyper", "latent"), 0)
    )
    kinds: dict[str, list[float]] = field(default_factory=lambda: {k: [0.0] * 4 for k in KINDS})

    def add(self, other: "Sums") -> None:
        for mine, theirs in ((self.variants, other.variants), (self.parts, other.parts)):
            for name, value in theirs.items():
                mine[name] += value
        for name, values in other.kinds.items():
            self.kinds[name] = [a + b for a, b in zip(self.kinds[name], values, strict=True)]


class Ablation:
    """Codes a clip, and its P frames in all variants."""

    def __init__(self, crf: float) -> None:
        model = load_model("dual-domain")
        network = network_on(model, torch.device("cpu"))
        assert isinstance(network, DualDomainCodec)
        self.network, self.tables = network, model.frozen.tables
        self.crf = torch.tensor([crf])

    def run(self, frames: list[Frame]) -> Sums:
        sums, memory = Sums(), None
        size = latent_size(frames[0].y.shape[1], frames[0].y.shape[0])
        for frame in frames:
            with exact_arithmetic():
                x = to_tensor([frame], torch.device("cpu"))
                latent = self.network.settle(x, self.crf, size, Tap(self.tables))
                if memory is not None:
                    motion = self._count(x, latent, memory, size, sums)
                plain = self._code(latent, size, Tap(self.tables), None)
                x_hat = self.network.synthesise(plain, self.crf)
                motion = None if memory is None else motion
                memory = self.network.remember(x_hat, plain, memory, motion)
        return sums

    def _count(
        self, x: Tensor, latent: LatentInput, before: Memory, size: tuple[int, int], sums: Sums
    ) -> Tensor:
        """All variants of a P frame; its motion field."""
        network = self.network
        tap = Tap(self.tables)
        searched = network.search_motion(x, before, self.crf, size)
        motion = network.code_motion(searched, before, self.crf, size, tap)
        sums.parts["motion"] += tap.sizes()[1]
        usual = before.fields[0] if before.fields else None
        wanted = None
        for name, reach in VARIANTS.items():
            whole = Tap(self.tables)
            guide = None
            if reach is not None:
                network.motion.code(motion, usual, self.crf, size, whole)
                guide = network.guide(before, motion, reach)
            coded = self._code(latent, size, whole, guide)
            wanted = coded if wanted is None else wanted
            if not torch.equal(coded.y_hat, wanted.y_hat):
                raise SystemExit(f"{name}: other symbols")
            sums.variants[name] += whole.sizes()[1]
            if name == CONTEXT_OFF:
                intra = block_bits(whole.bits[-len(ORDER) :], size)
            if name == FULL:
                self._divide(x, latent, (before, motion, guide, size), intra, sums)
        return motion

    def _divide(
        self, x: Tensor, latent: LatentInput, way: tuple, intra: Tensor, sums: Sums
    ) -> None:
        """Bytes of hyper-latent (with sizes of blocks) and latent; blocks and bits by kind."""
        before, motion, guide, size = way
        parted, moved = Tap(self.tables, num_first=2), Tap(self.tables)
        coded = self._code(latent, size, parted, guide)
        for part, count in zip(("hyper", "latent"), parted.sizes(), strict=True):
            sums.parts[part] += count
        usual = before.fields[0] if before.fields else None
        self.network.motion.code(motion, usual, self.crf, size, moved)
        x_hat = self.network.synthesise(coded, self.crf)
        masks = find_kinds(x, x_hat, warp_picture(before.picture, motion), motion)
        maps = (
            torch.ones(size),
            block_bits(parted.bits[-len(ORDER) :], size),
            vector_bits(moved.bits, [step.stride for step in self.network.motion.steps], size),
            intra,
        )
        for kind, mask in masks.items():
            found = [float(values[mask].sum()) for values in maps]
            sums.kinds[kind] = [a + b for a, b in zip(sums.kinds[kind], found, strict=True)]

    def _code(
        self, latent: LatentInput, size: tuple[int, int], tap: Tap, guide: TemporalGuide | None
    ) -> CodedLatent:
        return self.network.latent.code(latent, self.crf, size, tap, guide)


def block_bits(steps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Bits of each 16x16 block of a latent, (h, w), from those of its four steps."""
    return sum(put(bits.double(), i, size) for i, bits in enumerate(steps)).sum(1)[0]  # type: ignore[union-attr]  # tensors


def vector_bits(steps: list[Tensor], strides: list[int], size: tuple[int, int]) -> Tensor:
    """Bits of each block's vector, (h, w); steps that code nothing are not there."""
    total = torch.zeros(size, dtype=torch.float64)
    for bits, stride in zip(steps, strides, strict=True):
        total[::stride, ::stride] += bits[0].sum(0)
    return total


def find_kinds(x: Tensor, x_hat: Tensor, warped: Tensor, motion: Tensor) -> dict[str, Tensor]:
    """Which blocks are static, moving or new: (h, w) each; arguments are of one picture."""
    luma, decoded, fetched = (unpack_planes(p.float())[0] for p in (x, x_hat, warped))
    missed = F.avg_pool2d((luma - fetched).square(), 16)[0, 0]
    error = F.avg_pool2d((luma - decoded).square(), 16)[0, 0]
    variance = F.avg_pool2d(luma.square(), 16) - F.avg_pool2d(luma, 16).square()
    is_new = (missed > NEW_OF_VARIANCE * variance[0, 0]) & (missed > NEW_OF_ERROR * error)
    is_still = (motion[0].abs() <= STILL).all(0)
    return {"static": is_still & ~is_new, "moving": ~is_still & ~is_new, "new": is_new}


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def show(results: dict[tuple[str, float], Sums]) -> None:
    """Print both tables; the last row of each quality is the mean of the clips' percentages."""
    rows = [["clip", "crf", "bytes, full", *[name for name in VARIANTS if name != FULL]]]
    for (clip, crf), sums in results.items():
        full = sums.variants[FULL]
        more = [f"{100 * (n / full - 1):+.2f} %" for k, n in sums.variants.items() if k != FULL]
        rows.append([clip, f"{crf:g}", str(full), *more])
    for crf in dict.fromkeys(crf for _, crf in results):
        own = [s.variants for (_, c), s in results.items() if c == crf]
        names = [name for name in VARIANTS if name != FULL]
        means = [sum(100 * (v[k] / v[FULL] - 1) for v in own) / len(own) for k in names]
        rows.append(["mean", f"{crf:g}", "", *[f"{m:+.2f} %" for m in means]])
    print(format_table(rows), flush=True)
    kinds = [f"{kind}: {what}" for kind in KINDS for what in ("blocks", "bits", "of intra's")]
    rows = [["clip", "crf", "motion", "hyper", "latent", *kinds]]
    for (clip, crf), sums in results.items():
        whole = sum(sums.parts.values())
        parts = [percent(n, whole) for n in sums.parts.values()]
        blocks = sum(v[0] for v in sums.kinds.values())
        spent = sum(v[1] + v[2] for v in sums.kinds.values())
        cells = []
        for count, latent, vectors, intra in sums.kinds.values():
            cells += [percent(count, blocks), percent(latent + vectors, spent)]
            cells.append(percent(latent + vectors, intra))
        rows.append([clip, f"{crf:g}", *parts, *cells])
    print(format_table(rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--crf", nargs="+", type=float, default=[30.0, 40.0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepare(options.threads, "cpu")
    results: dict[tuple[str, float], Sums] = {}
    for crf in options.crf:
        ablation = Ablation(crf)
        for path in options.clips:
            with open_video(str(path), with_audio=False) as video:
                frames = list(islice((f for f in video if isinstance(f, Frame)), options.frames))
            results[path.stem, crf] = ablation.run(frames)
            show(results)
    if options.json:
        lines = [{"clip": k[0], "crf": k[1], **vars(s)} for k, s in results.items()]
        write_json({"frames": options.frames, "lines": lines}, options.json)


if __name__ == "__main__":
    main()
