"""Training recipes as data: one tuple of stages per system, read like a paper's table."""

from dataclasses import dataclass

from kinema.nn.exact import Arithmetic


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training with constant settings and a cosine from `lr` to `final_lr`."""

    name: str
    steps: int
    batch: int
    crop: int  # side of the square crop, a multiple of 16
    num_frames: int = 1  # pictures per clip
    lr: float  # AdamW's
    final_lr: float
    warmup: int = 200  # steps until the learning rate is reached
    arithmetic: Arithmetic = Arithmetic.FLOAT
    autocast: bool = True  # bf16 where the arithmetic allows it
    decide: float = 0.0  # worth of an error where symbols are chosen by rate and distortion
    frozen: tuple[str, ...] = ()  # prefixes of parameter names that stay as they are
    clip_norm: float = 1.0  # gradients longer than this are shortened
    ema_decay: float = 0.999


INTRA_SMALL = (
    Stage(name="small crops", steps=6000, batch=16, crop=128, lr=1e-3, final_lr=3e-4),
    Stage(name="large crops", steps=2500, batch=5, crop=256, lr=4e-4, final_lr=5e-5, decide=1.0),
    Stage(
        name="on the grid",
        steps=400,
        batch=4,
        crop=256,
        lr=5e-5,
        final_lr=5e-6,
        warmup=20,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        decide=1.0,
    ),
)
