"""Training recipes of published configurations, as data; see `stages`."""

from dataclasses import replace

from kinema.train.stages import Stage
from kinema.train.weighting import FrameWeights, QualityAware, Uniform

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
