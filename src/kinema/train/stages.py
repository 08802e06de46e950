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
    autocast: bool = True  # bf16 where arithmetic and processor are made for it
    decide: float = 0.0  # worth of an error where symbols are chosen by rate and distortion
    frozen: tuple[str, ...] = ()  # prefixes of parameter names that stay as they are
    clip_norm: float = 1.0  # gradients longer than this are shortened
    ema_decay: float = 0.999
    focus: str = "all"  # what is trained, where a recipe knows parts; its objective says which
    intra_gain: float = 0.0  # crf by which I frames are finer than P frames, as when coding
    lagrangian: float | None = None  # the weight of distortion, where it is fixed
    metric: str = "mse"  # of distortion; or "ms-ssim"
    weights: FrameWeights = field(default_factory=Uniform)  # of distortion, by P frame
    mixture: tuple[float, float, float] = (1.0, 0.0, 0.0)  # intra, low delay, random access
    broken: float = 0.0  # share of references that are made useless


# Gains are only units: steps and means are learned in them.
_UNITS = ("cosines.",)

INTRA_SMALL = (
    Stage(
        name="small crops",
        steps=5000,
        batch=16,
        crop=128,
        lr=7e-4,
        final_lr=3e-4,
        frozen=_UNITS,
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
        frozen=_UNITS,
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
        frozen=_UNITS,
        decide=1.0,
    ),
)

# Only what looks back is trained: symbols and pictures stay those of the shipped intra codec, so
# that the loss is rate alone and one set of intra weights serves both systems.
_UNIFIED = ("cosines.", "analysis.", "latent.", "synthesis.")

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
        frozen=_UNIFIED,
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
        frozen=_UNIFIED,
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
        frozen=_UNIFIED,
        decide=1.0,
    ),
)

# From LSTVC on: features and what they tell begin as nothing, and are all that is trained, so that
# one set of LSTVC's weights serves both. Every P frame is coded at the same crf, so that weights
# follow the references alone.
_OF_LSTVC = (
    *_UNIFIED,
    *("motion.", "alignment.", "block_sizes.", "contextual.", "long_term.", "refinement."),
)
_BY_REFERENCES = QualityAware(cycle=(1.0,))

CAMA_SMALL = (
    replace(LSTVC_SMALL[0], steps=1200, lr=6e-4, frozen=_OF_LSTVC),
    replace(LSTVC_SMALL[1], weights=_BY_REFERENCES, frozen=_OF_LSTVC),
    replace(LSTVC_SMALL[2], weights=_BY_REFERENCES, frozen=_OF_LSTVC),
)

# One network for every use. Intra frames need no replay: what they are made of is frozen. Later
# stages draw what earlier ones taught; the share of random access grows, references break last.
UNI_LVC_SMALL = (
    Stage(
        name="two sides",
        steps=800,
        batch=4,
        crop=160,
        num_frames=3,
        lr=3e-4,
        final_lr=1e-4,
        warmup=50,
        frozen=_UNIFIED,
        decide=1.0,
        mixture=(0.0, 0.3, 0.7),
    ),
    Stage(
        name="hierarchies",
        steps=800,
        batch=3,
        crop=160,
        num_frames=5,
        window=2,
        lr=2e-4,
        final_lr=3e-5,
        warmup=20,
        frozen=_UNIFIED,
        decide=1.0,
        mixture=(0.0, 0.4, 0.6),
    ),
    Stage(
        name="longer clips, broken references",
        steps=400,
        batch=2,
        crop=192,
        num_frames=9,
        lr=5e-5,
        final_lr=1e-5,
        warmup=20,
        frozen=_UNIFIED,
        decide=1.0,
        mixture=(0.0, 0.5, 0.5),
        broken=0.15,
    ),
    Stage(
        name="on the grid",
        steps=150,
        batch=2,
        crop=192,
        num_frames=5,
        lr=2e-5,
        final_lr=5e-6,
        warmup=20,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        frozen=_UNIFIED,
        decide=1.0,
        mixture=(0.0, 0.5, 0.5),
        broken=0.05,
    ),
)
