"""What LSTVC sees, after its Figures 2 and 3: priors, flow, offsets, features, on a clip.

Usage: python benchmarks/pictures_lstvc.py CLIP PICTURE.png [--parameters FILE] [--config tiny]
           [--frame 4] [--crf 36] [--crop 256 192]

Rows: the frame, its decoded version, the decoded flow, the temporal prior T before and after its
alignment, the context; then for each scale, coarse to fine: mean residual of the offsets to the
flow, warped features, result of the compensation. Flows show direction as hue and length as
brightness, features the mean magnitude of their channels.

PARAMETERS is what `kinema train lstvc-paper` leaves beside its checkpoint, or what
benchmarks/ablation_lstvc.py keeps; without it the network is as before training. A part that is
missing in the file begins as nothing. Pictures of other people's video stay out of the repository.
"""

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from kinema.codec.pictures import to_tensor
from kinema.models.frames import Reference
from kinema.models.lstvc_configs import tiny_config
from kinema.models.lstvc_paper import (
    LstvcPaperCodec,
    Memory,
    Predicted,
    build_paper,
    build_paper_plus,
    enter,
)
from kinema.parts.channels import Estimate
from kinema.parts.planes import full_planes
from kinema.train.two_stage import start_two_stage
from kinema.video.frame import Frame
from kinema.video.reading import open_video

mpl.use("Agg")
import matplotlib.pyplot as plt

CONFIGS: dict[str, Callable[[], LstvcPaperCodec]] = {
    "tiny": lambda: LstvcPaperCodec(tiny_config()),
    "paper": lambda: build_paper(is_variable=True),
    "paper-plus": lambda: build_paper_plus(is_variable=True),
}
PERCENTILE = 99.0  # of vector lengths and magnitudes: shown at full brightness


def load(config: str, parameters: Path | None) -> LstvcPaperCodec:
    """Build a network with the shipped intra codec, and parameters that fit."""
    torch.manual_seed(0)
    network = CONFIGS[config]()
    start_two_stage(network, None)  # type: ignore[arg-type]  # it draws nothing
    if parameters is not None:
        own = network.state_dict()
        values = {k: v.float() for k, v in load_file(parameters).items() if k in own}
        fits = {k: v for k, v in values.items() if own[k].shape == v.shape}
        print(f"{len(fits)} of {len(own)} tensors from {parameters.name}")
        network.load_state_dict(fits, strict=False)
    return network.eval()


def read(clip: str, count: int, width: int, height: int) -> list[Tensor]:
    """The first frames of a clip, cut to the middle; (1, 96, H/8, W/8) each."""
    with open_video(clip, num_frames=count, with_audio=False) as video:
        frames = [item for item in islice(video, count) if isinstance(item, Frame)]
    tensors = [to_tensor([frame], torch.device("cpu")) for frame in frames]
    _, _, rows, columns = tensors[0].shape
    top, left = max(0, rows - height // 8) // 4 * 2, max(0, columns - width // 8) // 4 * 2
    return [x[:, :, top : top + height // 8, left : left + width // 8] for x in tensors]


@torch.no_grad()
def code(
    network: LstvcPaperCodec, frames: list[Tensor], crf: Tensor
) -> tuple[Tensor | None, Predicted, Tensor]:
    """Code a clip; of its last frame: T before alignment, what is predicted, the picture."""
    size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
    memory = network.code_frame(frames[0], crf, size, Estimate(noise=False)).memory
    for x in frames[1:-1]:
        references = (Reference(memory, -1),)
        memory = network.code_frame(x, crf, size, Estimate(noise=False), references).memory
    assert isinstance(memory, Memory)
    state = None
    if network.config.prior_for:
        state = network.long_term.before_motion(memory.state, memory.picture)
    channel, picture = Estimate(noise=False), enter(frames[-1])
    predicted = network.predict(picture, memory, crf, channel)
    x_hat, _ = network.code_picture(picture, predicted, crf, channel)
    print(f"{float(channel.bits()) / picture[0, 0].numel():.3f} bit/pixel")
    return state, predicted, x_hat


def as_colors(planes: Tensor) -> np.ndarray:
    """Y, U, V of samples 0 to 1, (1, 3, h, w), as RGB (BT.601, limited range)."""
    y, u, v = (255 * planes[0].clamp(0, 1)).numpy()
    y, u, v = 1.164 * (y - 16), u - 128, v - 128
    rgb = np.stack([y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u], -1)
    return np.clip(rgb / 255, 0, 1)


def as_flow(flow: Tensor) -> np.ndarray:
    """Direction as hue, length as brightness."""
    x, y = flow[0].numpy()
    length = np.hypot(x, y)
    hue = (np.arctan2(y, x) / (2 * np.pi)) % 1.0
    bright = np.clip(length / max(np.percentile(length, PERCENTILE), 1e-6), 0, 1)
    return mpl.colors.hsv_to_rgb(np.stack([hue, np.ones_like(hue), bright], -1))


def as_magnitude(f: Tensor) -> np.ndarray:
    """Mean magnitude of channels, 0 to 1."""
    mean = f[0].abs().mean(0).numpy()
    mean = mean - mean.min()
    return np.clip(mean / max(np.percentile(mean, PERCENTILE), 1e-6), 0, 1)


def draw(panels: list[tuple[str, np.ndarray]], path: Path) -> None:
    """Three panels in a row."""
    rows = -(-len(panels) // 3)
    height, width = panels[0][1].shape[:2]
    figure, axes = plt.subplots(rows, 3, figsize=(10, 10 / 3 * rows * (height / width + 0.12)))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, panels, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Code a clip and draw what happens at its last frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--parameters", type=Path)
    parser.add_argument("--config", choices=list(CONFIGS), default="tiny")
    parser.add_argument("--frame", type=int, default=4, help="which P frame behind the I frame")
    parser.add_argument("--crf", type=float, default=36.0)
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 192), metavar=("W", "H"))
    options = parser.parse_args()
    network = load(options.config, options.parameters)
    frames = read(options.clip, options.frame + 1, *options.crop)
    state, predicted, x_hat = code(network, frames, torch.tensor([options.crf]))
    panels = [
        (f"frame {options.frame}", as_colors(full_planes(frames[-1]))),
        ("decoded", as_colors(x_hat)),
        (f"decoded flow, up to {predicted.flow.abs().max():.1f}", as_flow(predicted.flow)),
    ]
    if state is not None and predicted.state is not None:
        panels += [
            ("temporal prior before alignment", as_magnitude(state)),
            ("temporal prior, aligned", as_magnitude(predicted.state)),
        ]
    panels.append(("context prior", as_magnitude(predicted.context)))
    for scale, done in predicted.scales.items():
        most = done.residual.abs().max()
        panels += [
            (f"1/{scale}: offset residual, up to {most:.2f}", as_flow(done.residual)),
            (f"1/{scale}: warped feature", as_magnitude(done.warped)),
            (f"1/{scale}: compensation result", as_magnitude(done.result)),
        ]
    draw(panels, options.picture)


if __name__ == "__main__":
    main()
