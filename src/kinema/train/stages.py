"""Training recipes as data: one tuple of stages per system, read like a paper's table."""

from dataclasses import dataclass, field, replace

from kinema.nn.exact import Arithmetic
from kinema.train.weighting import FrameWeights, QualityAware, Uniform


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training with constant settings and a cosine from `lr` to `final_lr`."""

    name: str
    steps: int
    batch: int
    crop: int  # side of the square crop, a multiple of 16
    num_frames: int = 1  # pictures per clip
    window: int = 1  # P frames that gradients reach across, where frames are coded one by one
    lr: float  # AdamW's
    final_lr: float
    warmup: int = 200  # steps until the learning rate is reached
    arithmetic: Arithmetic = Arithmetic.FLOAT
    autocast: bool = True  # bf16 where the arithmetic allows it
    decide: float = 0.0  # worth of an error where symbols are chosen by rate and distortion
    frozen: tuple[str, ...] = ()  # prefixes of parameter names that stay as they are
    clip_norm: float = 1.0  # gradients longer than this are shortened
    ema_decay: float = 0.999
    focus: str = "all"  # what is trained, where a recipe knows parts; its objective says which
    intra_gain: float = 0.0  # crf by which I frames are finer than P frames, as when coding
    lagrangian: float | None = None  # the weight of distortion, where it is fixed
    metric: str = "mse"  # of distortion; or "ms-ssim"
    weights: FrameWeights = field(default_factory=Uniform)  # of distortion, by P frame


# The block transform is the best linear one from the start; a step of AdamW, the same for every
# entry, would ruin it (measured: 47 dB to 35 dB after 600 steps, docs/LOG.md).
_LINEAR = ("analysis.linear", "synthesis.linear")

INTRA_SMALL = (
    Stage(
        name="small crops",
        steps=5000,
        batch=16,
        crop=128,
        lr=7e-4,
        final_lr=3e-4,
        frozen=_LINEAR,
        decide=1.0,
    ),
    Stage(
        name="large crops",
        steps=4600,
        batch=5,
        crop=256,
        lr=3e-4,
        final_lr=3e-5,
        warmup=50,
        frozen=_LINEAR,
        decide=1.0,
    ),
    Stage(
        name="on the grid",
        steps=150,
        batch=4,
        crop=256,
        lr=3e-5,
        final_lr=5e-6,
        warmup=20,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        frozen=_LINEAR,
        decide=1.0,
    ),
)

# Only what looks back is trained: symbols and pictures stay those of the shipped intra codec, so
# that the loss is rate alone and one set of intra weights serves both systems.
_UNIFIED = ("analysis.", "latent.", "synthesis.", "coarse.")

DUAL_DOMAIN_SMALL = (
    Stage(
        name="short clips",
        steps=4000,
        batch=4,
        crop=192,
        num_frames=3,
        lr=6e-4,
        final_lr=2e-4,
        frozen=_UNIFIED,
        decide=1.0,
    ),
    Stage(
        name="longer clips",
        steps=3000,
        batch=2,
        crop=256,
        num_frames=5,
        lr=2e-4,
        final_lr=2e-5,
        warmup=50,
        frozen=_UNIFIED,
        decide=1.0,
    ),
    Stage(
        name="on the grid",
        steps=150,
        batch=2,
        crop=256,
        num_frames=4,
        lr=2e-5,
        final_lr=5e-6,
        warmup=20,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        frozen=_UNIFIED,
        decide=1.0,
    ),
)

_CONDITIONAL = ("analysis.", "latent.", "synthesis.", "cosines.")

LSTVC_SMALL = (
    Stage(
        name="short clips",
        steps=1500,
        batch=4,
        crop=160,
        num_frames=6,
        window=2,
        intra_gain=8.0,
        lr=4e-4,
        final_lr=3e-5,
        frozen=_CONDITIONAL,
        decide=1.0,
    ),
    Stage(
        name="longer clips",
        steps=400,
        batch=2,
        crop=192,
        num_frames=10,
        window=3,
        intra_gain=8.0,
        lr=1e-4,
        final_lr=1e-5,
        warmup=20,
        frozen=_CONDITIONAL,
        decide=1.0,
    ),
    Stage(
        name="on the grid",
        steps=150,
        batch=2,
        crop=256,
        num_frames=4,
        window=2,
        intra_gain=8.0,
        lr=2e-5,
        final_lr=5e-6,
        warmup=20,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        frozen=_CONDITIONAL,
        decide=1.0,
    ),
)

# From LSTVC on: features and what they tell begin as nothing. Every P frame is coded at the same
# crf, so that weights follow the references alone.
_BY_REFERENCES = QualityAware(cycle=(1.0,))

CAMA_SMALL = (
    replace(LSTVC_SMALL[0], steps=1200, lr=3e-4),
    replace(LSTVC_SMALL[1], weights=_BY_REFERENCES),
    replace(LSTVC_SMALL[2], weights=_BY_REFERENCES),
)

# LSTVC and LSTVC+ as published: 16 clips of 7 frames, crops of 256x256, a learning rate of 1e-4. A
# step here is a clip, six frames of the paper's 700 000 iterations. The stage of flow and the last
# one, whose gradients pass from frame to frame, are ours.
LSTVC_PAPER = (
    Stage(
        name="flow",
        steps=10000,
        batch=16,
        crop=256,
        num_frames=2,
        lr=1e-4,
        final_lr=1e-4,
        autocast=False,
        frozen=("intra.",),
        focus="flow",
    ),
    Stage(
        name="compensation",
        steps=20000,
        batch=16,
        crop=256,
        num_frames=7,
        lr=1e-4,
        final_lr=1e-4,
        autocast=False,
        frozen=("intra.",),
        focus="compensation",
    ),
    Stage(
        name="everything",
        steps=90000,
        batch=16,
        crop=256,
        num_frames=7,
        lr=1e-4,
        final_lr=1e-6,
        autocast=False,
        frozen=("intra.",),
    ),
    Stage(
        name="cascade",
        steps=7000,
        batch=16,
        crop=256,
        num_frames=7,
        lr=1e-5,
        final_lr=1e-7,
        autocast=False,
        frozen=("intra.",),
        window=6,
    ),
)

# The dual-domain system as published, whose training is unread; lengths are guesses. The order is
# what the architecture suggests: a transform for all frames first; then motion; then, by rate alone
# on the frozen transform, priors and what looks back; in the end everything, I and P frames mixed.
_TRANSFORM = ("analysis.", "synthesis.", "experts.", "latent.hyper.down.")

DUAL_DOMAIN_PAPER = (
    Stage(
        name="intra",
        steps=400000,
        batch=16,
        crop=256,
        lr=1e-4,
        final_lr=1e-5,
        autocast=False,
        focus="intra",
    ),
    Stage(
        name="flow",
        steps=10000,
        batch=16,
        crop=256,
        num_frames=2,
        lr=1e-4,
        final_lr=1e-4,
        autocast=False,
        focus="flow",
    ),
    Stage(
        name="motion",
        steps=40000,
        batch=16,
        crop=256,
        num_frames=3,
        lr=1e-4,
        final_lr=1e-4,
        autocast=False,
        frozen=_TRANSFORM,
        focus="motion",
    ),
    Stage(
        name="alignment",
        steps=100000,
        batch=16,
        crop=256,
        num_frames=7,
        lr=1e-4,
        final_lr=1e-5,
        autocast=False,
        frozen=_TRANSFORM,
        focus="alignment",
    ),
    Stage(
        name="longer clips",
        steps=20000,
        batch=4,
        crop=256,
        num_frames=17,
        lr=3e-5,
        final_lr=1e-5,
        autocast=False,
        frozen=_TRANSFORM,
        focus="alignment",
    ),
    Stage(
        name="everything",
        steps=50000,
        batch=8,
        crop=256,
        num_frames=7,
        window=2,
        lr=1e-5,
        final_lr=1e-7,
        autocast=False,
    ),
)
# DCVC-TCM and CAMA: crops of 256x256, a learning rate of 1e-4, in each part from few frames to
# many; then cascaded over 5 to 7 frames, and over 32. A step is a clip.
_TCM_MOTION = ("flow.", "motion_analysis.", "motion_synthesis.", "motion.")
_TCM_PARTS = (
    replace(LSTVC_PAPER[0], batch=8),
    *(
        replace(
            LSTVC_PAPER[1], name=f"{focus}, {frames} frames", focus=focus, steps=steps,
            batch=8, num_frames=frames, frozen=("intra.", *frozen),
        )
        for focus, steps, frozen in (
            ("motion", 10000, ()),
            ("contexts", 5000, _TCM_MOTION),
            ("latents", 10000, _TCM_MOTION),
            ("all", 15000, ()),
        )
        for frames in (2, 3, 5, 7)
    ),
)  # fmt: skip


def _cascaded(weights: FrameWeights) -> tuple[Stage, ...]:
    """Stages whose gradients pass through whole clips."""
    last = replace(LSTVC_PAPER[3], weights=weights, batch=4, warmup=50)
    return (
        replace(last, name="cascade, 5 frames", steps=10000, num_frames=5, window=5, lr=5e-5),
        replace(last, name="cascade, 7 frames", steps=10000, num_frames=7, window=7, lr=5e-5),
        replace(last, name="cascade, 32 frames", steps=3000, num_frames=32, window=32, batch=1),
    )


TCM_PAPER = (*_TCM_PARTS, *_cascaded(Uniform()))
CAMA_PAPER = (*_TCM_PARTS, *_cascaded(QualityAware()))
