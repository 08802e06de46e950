"""At which resolution to look for motion: what the rule of CAMA leaves on the table.

Usage: python benchmarks/motion_scales.py CLIP ... [--frames 5] [--crf 24 40] [--model lstvc]

Codes the first frames of each clip with a shipped system whose motion is explicit: motion looked
for at full resolution, by the rule, and by trial of all factors. Rates are estimates of the symbols
that would be written; cost is rate plus lambda times distortion of the P frames. Fast clips are
those whose mean vector passes --fast luma samples.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from kinema.codec.pictures import to_tensor
from kinema.models.frames import Reference
from kinema.models.intra import error_bits
from kinema.models.moving import Memory, MovingCodec
from kinema.models.registry import load_model
from kinema.parts.channels import Estimate
from kinema.parts.motion_field import VECTOR_UNITS
from kinema.parts.motion_scales import MotionScales, Way
from kinema.video.frame import Frame
from kinema.video.reading import open_video

WAYS: tuple[Way, ...] = ("full", "rule", "trial")


def read(clip: Path, num_frames: int) -> Tensor:
    """The first frames of a clip, (T, 96, h, w)."""
    with open_video(str(clip), num_frames=num_frames, with_audio=False) as video:
        frames = [item for item in video if isinstance(item, Frame)]
    return to_tensor(frames, torch.device("cpu"))


@torch.inference_mode()
def cost_of(network: MovingCodec, frames: Tensor, crf: float) -> tuple[float, float, float]:
    """Cost and bits of the P frames, and the mean length of vectors in luma samples."""
    size, quality = (frames.shape[2] // 2, frames.shape[3] // 2), torch.tensor([crf])
    memory, costs, rates, lengths = None, [], [], []
    for x in frames.split(1):
        channel = Estimate(noise=False, decide=1.0)
        references = () if memory is None else (Reference(memory, -1),)
        coded = network.code_frame(x, quality, size, channel, references)
        memory = coded.memory
        assert isinstance(memory, Memory)
        if references:
            bits = float(channel.bits())
            rates.append(bits)
            costs.append(bits + float(error_bits(x, coded.x_hat, quality)))
            field = memory.fields[0] / VECTOR_UNITS
            lengths.append(float(field.square().sum(1).sqrt().mean()))
    return sum(costs), sum(rates), sum(lengths) / len(lengths)


def main() -> None:
    """Print a row per clip and quality, then means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--crf", type=float, nargs="+", default=[24.0, 40.0])
    parser.add_argument("--model", default="lstvc")
    parser.add_argument("--fast", type=float, default=8.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_model(options.model).frozen.network
    assert isinstance(network, MovingCodec)
    print("| clip | crf | motion | rule: cost, bits | trial: cost, bits |\n|---|---|---|---|---|")
    changes: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for clip in options.clips:
        frames = read(clip, options.frames)
        for crf in options.crf:
            found = []
            for way in WAYS:
                network.scales = MotionScales(way=way)
                found.append(cost_of(network, frames, crf))
            base, *others = found
            shown = " | ".join(
                f"{100 * (cost / base[0] - 1):+.2f} %, {100 * (bits / base[1] - 1):+.2f} %"
                for cost, bits, _ in others
            )
            print(f"| {clip.stem} | {crf:g} | {base[2]:.1f} | {shown} |", flush=True)
            rule, trial = (math.log(other[0] / base[0]) for other in others)
            changes[base[2] >= options.fast].append((rule, trial))
    for is_fast, logs in changes.items():
        if logs:
            rule, trial = (100 * (math.exp(sum(x) / len(x)) - 1) for x in zip(*logs, strict=True))
            print(f"{'fast' if is_fast else 'slow'}, {len(logs)}: {rule:+.2f} %, {trial:+.2f} %")


if __name__ == "__main__":
    main()
