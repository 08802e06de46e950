"""What exactness costs: BD-rate of the frozen model against the float parameters it came from.

Both code the same frames through the same entropy coder; rates are real bytes.

    python benchmarks/exact_cost.py --parameters runs/intra/parameters.safetensors CLIP...
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from kinema.codec.pictures import latent_size, to_planes, to_tensor
from kinema.codec.runtime import exact_arithmetic
from kinema.entropy.symbols import SymbolWriter
from kinema.eval.bd_rate import RdCurve, compare_curves
from kinema.models.intra import IntraCodec, build_small
from kinema.models.registry import load_model
from kinema.models.weights import FrozenModel
from kinema.parts.coding import Write
from kinema.train.checkpoint import load_parameters
from kinema.video.frame import Frame
from kinema.video.quality import psnr_planes
from kinema.video.reading import open_video

CRFS = (6.0, 18.0, 30.0, 42.0, 54.0)


def frames_of(clip: Path, num_frames: int) -> Iterator[Frame]:
    """Every eighth frame of a clip."""
    with open_video(str(clip), num_frames=8 * num_frames, with_audio=False) as video:
        for index, item in enumerate(i for i in video if isinstance(i, Frame)):
            if index % 8 == 0:
                yield item


def curve(network: IntraCodec, frozen: FrozenModel, frames: list[Frame]) -> RdCurve:
    """Rate (bytes) and PSNR (6:1:1) of `network` with the tables of `frozen`."""
    points = []
    height, width = frames[0].y.shape
    for crf in CRFS:
        size, quality = 0, 0.0
        for frame in frames:
            writer = SymbolWriter()
            with exact_arithmetic():
                coded = network.code_frame(
                    to_tensor([frame], torch.device("cpu")),
                    torch.tensor([crf]),
                    latent_size(width, height),
                    Write([writer], frozen.tables),
                )
                planes = to_planes(coded.x_hat, width, height)[0]
            size += len(writer.finish())
            quality += psnr_planes(frame, Frame(*planes, pts=0)).yuv_611
        points.append((float(size), quality / len(frames)))
    return RdCurve.from_points(points)


def main() -> None:
    """Print a line per clip, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--parameters", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=2)
    options = parser.parse_args()
    exact = load_model("intra").frozen
    original = build_small()
    load_parameters(options.parameters, original)
    total = 0.0
    for clip in options.clips:
        frames = list(frames_of(clip, options.frames))
        network = exact.network
        if not isinstance(network, IntraCodec):
            raise TypeError(type(network).__name__)
        result = compare_curves(curve(original, exact, frames), curve(network, exact, frames))
        print(f"{clip.stem}: {result.bd_rate_percent:+.3f} %", flush=True)
        total += result.bd_rate_percent or 0.0
    print(f"mean: {total / len(options.clips):+.3f} %")


if __name__ == "__main__":
    main()
