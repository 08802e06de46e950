"""Four, two or one step of the spatial prior: bits for the same symbols, and speed of decoding.

Usage: python benchmarks/prior_steps.py --data FOLDER [--steps 1500] [--threads 2] CLIP ...

Transforms and quantiser steps of the shipped model stay; hyper-prior and spatial prior go on from
the shipped ones (which have four steps, so that fewer steps begin at a disadvantage) by rate alone,
each variant with the same material, seed and number of training steps. Symbols are rounded, so that
all variants code the same ones and their bits compare at equal pictures. The first frame of each
CLIP is scored; percentages are against the shipped prior as it is.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.codec.pictures import latent_size, to_tensor
from kinema.codec.runtime import exact_arithmetic, prepare
from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.models.intra import IntraCodec, build_small
from kinema.models.registry import WEIGHTS
from kinema.nn.exact import GridLayer
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write, build_tables
from kinema.parts.latent_codec import LatentInput
from kinema.parts.planes import pack_planes
from kinema.parts.priors import SpatialPrior
from kinema.parts.quality import MAX_CRF
from kinema.train.checkpoint import load_parameters
from kinema.train.data import CropSampler
from kinema.train.loop import learning_rate
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage
from kinema.video.frame import Frame
from kinema.video.reading import open_video

CRFS = (10.0, 28.0, 46.0)
RENEWED_AT = {4: (0, 1, 2, 3), 2: (0, 2), 1: (0,)}  # steps before which nets look at symbols anew
STAGE = Stage(name="priors", steps=1, batch=6, crop=192, lr=5e-4, final_lr=2e-5)


class FewerSteps(SpatialPrior):
    """The spatial prior whose nets look at known symbols before some of the four steps only."""

    renewed_at: tuple[int, ...] = ()
    _features: Tensor

    def predict(
        self, index: int, features: Tensor, known: Tensor | None, crf: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As SpatialPrior's, with what was known at the last renewal."""
        if index in self.renewed_at:
            self._features = features if known is None else self.look(index, features, known)
        return self.read_off(index, self._features, crf)


def build(num_steps: int) -> IntraCodec:
    """Make the shipped model trainable, with a new prior."""
    torch.manual_seed(0)
    network = build_small()
    network.latent.spatial = spatial = FewerSteps(network.config.prior)
    spatial.renewed_at = RENEWED_AT[num_steps]
    load_parameters(WEIGHTS / "intra-small.safetensors", network)
    network.requires_grad_(requires_grad=False)
    network.latent.hyper.requires_grad_(requires_grad=True)
    spatial.requires_grad_(requires_grad=True)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs lack this


def whole_blocks(network: IntraCodec, x: Tensor, crf: Tensor) -> LatentInput:
    """Leave no choice of sizes, which would depend on what the priors have learned."""
    return LatentInput(network.analyse(x, crf).y)


def train(network: IntraCodec, sampler: CropSampler, steps: int) -> None:
    """Minimise the rate of rounded symbols."""
    random = np.random.default_rng(0)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=STAGE.lr, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(STAGE, step, steps)
        batch = sampler.draw(random, STAGE.batch, STAGE.crop)
        y, u, v = (plane.flatten(0, 1)[:, None] for plane in (batch.y, batch.u, batch.v))
        x = pack_planes(y, u, v).contiguous(memory_format=torch.channels_last)
        crf = torch.from_numpy(random.uniform(0, MAX_CRF, len(x))).float()
        size = (x.shape[2] // 2, x.shape[3] // 2)
        channel = Estimate(noise=True)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latent = whole_blocks(network, x, crf)
            network.latent.code(latent, crf, size, channel)
        loss = channel.bits().mean() / (STAGE.crop * STAGE.crop)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        torch.nn.utils.clip_grad_norm_(parameters, STAGE.clip_norm)
        optimizer.step()


@torch.no_grad()
def count_bits(network: IntraCodec, frames: list[Frame]) -> dict[float, float]:
    """Bits of rounded symbols, frames together, by crf."""
    bits = dict.fromkeys(CRFS, 0.0)
    for frame in frames:
        height, width = frame.y.shape
        x, size = to_tensor([frame], torch.device("cpu")), latent_size(width, height)
        for crf in CRFS:
            quality, channel = torch.tensor([crf]), Estimate(noise=False)
            network.latent.code(whole_blocks(network, x, quality), quality, size, channel)
            bits[crf] += float(channel.bits())
    return bits


def decoding_ms(network: IntraCodec, frame: Frame, repeats: int = 24) -> tuple[float, float]:
    """Milliseconds per picture: everything, and without the synthesis; batches of four."""
    exact = copy.deepcopy(network).requires_grad_(requires_grad=False)
    for layer in list(exact.modules()):
        if isinstance(layer, GridLayer):
            layer.load_grid_tensors(layer.grid_tensors())
    tables, crf = build_tables(), torch.full((4,), 28.0)
    size = latent_size(frame.y.shape[1], frame.y.shape[0])
    with exact_arithmetic():
        writers = [SymbolWriter() for _ in range(4)]
        x = to_tensor([frame] * 4, torch.device("cpu"))
        exact.code_frame(x, crf, size, Write(writers, tables))
        payloads = [writer.finish() for writer in writers]
        seconds = [0.0, 0.0]
        for repeat in range(-2, repeats // 4):
            start = time.perf_counter()
            channel = Read([SymbolReader(data) for data in payloads], tables)
            coded = exact.latent.code(None, crf, size, channel)
            middle = time.perf_counter()
            exact.synthesise(coded, crf)
            if repeat >= 0:
                seconds[0] += time.perf_counter() - start
                seconds[1] += middle - start
    return seconds[0] / repeats * 1000, seconds[1] / repeats * 1000


def main() -> None:
    """Train, score and time the three variants; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads, "cpu")
    bank, clips = build_bank(find_sources(options.data), Path("runs/bank"))
    sampler = CropSampler(bank, clips, torch.device("cpu"))
    frames = []
    for clip in options.clips:
        with open_video(clip, num_frames=1, with_audio=False) as video:
            frames += [item for item in video if isinstance(item, Frame)]
    reference = count_bits(build(4), frames)
    print("| steps | " + " | ".join(f"bits, crf {crf:g}" for crf in CRFS) + " | decoding, ms |")
    print("|---" * (len(CRFS) + 2) + "|")
    for num_steps in (4, 2, 1):
        network = build(num_steps)
        train(network, sampler, options.steps)
        bits = count_bits(network, frames)
        more = " | ".join(f"{100 * (bits[c] / reference[c] - 1):+.1f} %" for c in CRFS)
        whole, latent = decoding_ms(network, frames[0])
        print(f"| {num_steps} | {more} | {whole:.1f}, latent {latent:.1f} |", flush=True)


if __name__ == "__main__":
    main()
