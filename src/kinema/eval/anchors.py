"""Conventional codecs as anchors: which settings make a fair comparison, as ffmpeg arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kinema.errors import ConfigError
from kinema.eval.conditions import ALL_INTRA, LOW_DELAY, RANDOM_ACCESS, Conditions

_X26X_SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast",
    "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTraits:
    """What is fixed for one encoder program.

    Attributes:
        speeds: the presets it knows.
        structures: delay classes it is run in.
        suffix: container of the coded file, chosen so that the packets hold no container bytes.
        has_separate_headers: parameter sets lie outside the packets, and are counted once.
        decoded_bit_depth: of the pictures its decoder gives.
        random_access_qualities: crf or QP points, lower is better.
    """

    speeds: tuple[str, ...]
    structures: tuple[str, ...]
    suffix: str
    has_separate_headers: bool
    decoded_bit_depth: int
    random_access_qualities: tuple[int, ...]


ENCODERS: Mapping[str, EncoderTraits] = {
    "x264": EncoderTraits(
        speeds=_X26X_SPEEDS,
        structures=(ALL_INTRA, LOW_DELAY, RANDOM_ACCESS),
        suffix=".nut",
        has_separate_headers=True,
        decoded_bit_depth=8,
        random_access_qualities=(18, 22, 26, 30, 34, 38),
    ),
    "x265": EncoderTraits(
        speeds=_X26X_SPEEDS,
        structures=(ALL_INTRA, LOW_DELAY, RANDOM_ACCESS),
        suffix=".nut",
        has_separate_headers=True,
        decoded_bit_depth=8,
        random_access_qualities=(18, 22, 26, 30, 34, 38),
    ),
    "svtav1": EncoderTraits(
        speeds=tuple(str(speed) for speed in range(-1, 14)),
        structures=(RANDOM_ACCESS,),
        suffix=".mkv",
        has_separate_headers=False,
        decoded_bit_depth=8,
        random_access_qualities=(20, 28, 36, 44, 52, 60),
    ),
    "vvenc": EncoderTraits(
        speeds=("faster", "fast", "medium", "slow", "slower"),
        structures=(RANDOM_ACCESS,),
        suffix=".mkv",
        has_separate_headers=False,
        decoded_bit_depth=10,
        random_access_qualities=(20, 24, 28, 32, 36, 40),
    ),
}

_DEFAULT_ANCHORS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("modern", ALL_INTRA): ("x265-medium", "x264-medium"),
    ("modern", LOW_DELAY): ("x265-placebo", "x265-veryslow", "x264-placebo", "x264-veryslow"),
    ("modern", RANDOM_ACCESS): (
        "x265-medium", "x265-slow", "svtav1-4", "svtav1-6", "vvenc-medium",
    ),
    ("paper", LOW_DELAY): ("x265-placebo",),
}  # fmt: skip
_ALL_INTRA_QPS = (17, 22, 27, 32, 37, 42, 47)
_LOW_DELAY_QPS = (22, 26, 30, 34, 38, 42)
_PAPER_QPS = (15, 19, 23, 27)


@dataclass(frozen=True, slots=True)
class Anchor:
    """One encoder at one preset, such as x265 at placebo; written "x265-placebo"."""

    encoder: str
    speed: str

    @classmethod
    def from_name(cls, name: str) -> "Anchor":
        """Parse "x265-medium", "svtav1-6" and the like.

        Raises:
            ConfigError: unknown encoder or preset.
        """
        encoder, _, speed = name.partition("-")
        if encoder not in ENCODERS:
            raise ConfigError(f"found anchor {name!r}, expected one of: {', '.join(ENCODERS)}")
        speeds = ENCODERS[encoder].speeds
        if speed not in speeds:
            raise ConfigError(
                f"found anchor {name!r}, expected {encoder}-PRESET with one of: {', '.join(speeds)}"
            )
        return cls(encoder, speed)

    @property
    def name(self) -> str:
        """The name in tables and plots."""
        return f"{self.encoder}-{self.speed}"

    @property
    def traits(self) -> EncoderTraits:
        """What is fixed for its encoder."""
        return ENCODERS[self.encoder]


def select_anchors(names: tuple[str, ...] | None, conditions: Conditions) -> tuple[Anchor, ...]:
    """Return the anchors to run; None = the standard ones of the delay class.

    A bare encoder name ("x265") stands for its standard presets in that class, else its medium.

    Raises:
        ConfigError: unknown, or not available in this delay class.
    """
    standard = _DEFAULT_ANCHORS[conditions.preset, conditions.structure]
    chosen: list[str] = []
    for name in standard if names is None else names:
        presets = [known for known in standard if known.partition("-")[0] == name]
        fallback = f"{name}-medium" if name in ENCODERS else name
        chosen += presets or [fallback]
    anchors = tuple(Anchor.from_name(name) for name in dict.fromkeys(chosen))
    for anchor in anchors:
        if conditions.structure not in anchor.traits.structures:
            raise ConfigError(
                f"anchor {anchor.name} runs in {', '.join(anchor.traits.structures)} only, "
                f"found structure {conditions.structure}"
            )
    return anchors


def default_qualities(anchor: Anchor, conditions: Conditions) -> tuple[int, ...]:
    """Return the QP or crf points of an anchor, best quality first."""
    if conditions.structure == RANDOM_ACCESS:
        return anchor.traits.random_access_qualities
    if conditions.preset == "paper":
        return _PAPER_QPS
    return _ALL_INTRA_QPS if conditions.structure == ALL_INTRA else _LOW_DELAY_QPS


def encoder_arguments(anchor: Anchor, conditions: Conditions, quality: float) -> list[str]:
    """Return the ffmpeg arguments between the input and the output file.

    Args:
        anchor: encoder and preset.
        conditions: delay class, intra period, threads.
        quality: QP (all-intra, low-delay, VVenC) or crf (random access).
    """
    return _ARGUMENTS[anchor.encoder](anchor, conditions, f"{quality:g}")


def _x264(anchor: Anchor, conditions: Conditions, quality: str) -> list[str]:
    """x264: no adaptive quantisation for the eye; its 0.7 kB of version text is not counted."""
    period = "infinite" if conditions.intra_period == -1 else str(conditions.intra_period)
    parameters = [f"keyint={period}", "scenecut=0", _rate_parameter(conditions, quality)]
    tune = "psnr"
    if conditions.structure == LOW_DELAY:
        tune = "psnr,zerolatency"
        parameters.append("sliced-threads=0")  # slices would cost bits
    return [
        *("-c:v", "libx264", "-preset", anchor.speed, "-tune", tune),
        *("-x264-params", ":".join(parameters), "-threads", str(conditions.num_threads)),
        *("-bsf:v", "filter_units=remove_types=6"),
    ]


def _x265(anchor: Anchor, conditions: Conditions, quality: str) -> list[str]:
    """x265: info=0 saves it the version text; it takes one tune, so psnr is spelt out."""
    low_delay = conditions.structure == LOW_DELAY
    parameters = [
        f"keyint={conditions.intra_period}",
        "scenecut=0",
        _rate_parameter(conditions, quality),
        "info=0",
        f"pools={conditions.num_threads}",
        f"frame-threads={1 if low_delay else conditions.num_threads}",
        "log-level=error",
    ]
    if low_delay:
        parameters += ["psy-rd=0", "psy-rdoq=0", "aq-mode=0"]
    return [
        *("-c:v", "libx265", "-preset", anchor.speed),
        *("-tune", "zerolatency" if low_delay else "psnr"),
        *("-x265-params", ":".join(parameters)),
    ]


def _svtav1(anchor: Anchor, conditions: Conditions, quality: str) -> list[str]:
    """SVT-AV1: tune 1 is PSNR."""
    return [
        *("-c:v", "libsvtav1", "-preset", anchor.speed, "-crf", quality),
        *("-g", str(conditions.intra_period)),
        *("-svtav1-params", f"tune=1:scd=0:lp={conditions.num_threads}"),
    ]


def _vvenc(anchor: Anchor, conditions: Conditions, quality: str) -> list[str]:
    """VVenC: without perceptual adaptation and without the delimiters ffmpeg asks it for."""
    return [
        *("-c:v", "libvvenc", "-pix_fmt", "yuv420p10le", "-preset", anchor.speed),
        *("-qp", quality, "-qpa", "0", "-g", str(conditions.intra_period)),
        *("-vvenc-params", "AccessUnitDelimiter=0", "-threads", str(conditions.num_threads)),
    ]


def _rate_parameter(conditions: Conditions, quality: str) -> str:
    return f"{'crf' if conditions.structure == RANDOM_ACCESS else 'qp'}={quality}"


_ARGUMENTS: Mapping[str, Callable[[Anchor, Conditions, str], list[str]]] = {
    "x264": _x264,
    "x265": _x265,
    "svtav1": _svtav1,
    "vvenc": _vvenc,
}
