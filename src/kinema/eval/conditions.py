"""The conditions a comparison is made under; two curves are comparable only if these are equal."""

from dataclasses import dataclass

from kinema.errors import ConfigError

ALL_INTRA, LOW_DELAY, RANDOM_ACCESS = "all-intra", "low-delay", "random-access"
STRUCTURES = (ALL_INTRA, LOW_DELAY, RANDOM_ACCESS)
PRESETS = ("modern", "paper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything that must be the same for two curves to be compared.

    Attributes:
        preset: "modern" scores 8-bit YUV 4:2:0, "paper" scores RGB (BT.709).
        structure: "all-intra", "low-delay" or "random-access": the delay class.
        intra_period: frames from one intra frame to the next; -1 = only the first is intra.
            Always 1 in all-intra.
        num_frames: at most this many frames from the start of each clip.
        num_threads: threads every encoder and decoder may use.
    """

    preset: str = "modern"
    structure: str = ALL_INTRA
    intra_period: int = 1
    num_frames: int = 96
    num_threads: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be compared or run."""
        _check_choice("preset", self.preset, PRESETS)
        _check_choice("structure", self.structure, STRUCTURES)
        if self.num_frames < 1 or self.num_threads < 1:
            raise ConfigError(
                f"found {self.num_frames} frames and {self.num_threads} threads, "
                "expected at least 1 of each"
            )
        self._check_intra_period()

    def _check_intra_period(self) -> None:
        if self.preset == "paper" and self.structure != LOW_DELAY:
            raise ConfigError(f"preset paper needs structure low-delay, found {self.structure}")
        if self.structure == ALL_INTRA and self.intra_period != 1:
            raise ConfigError(f"all-intra needs intra period 1, found {self.intra_period}")
        if self.structure == RANDOM_ACCESS and self.intra_period < 2:
            raise ConfigError(
                f"random-access needs an intra period of 2 or more, found {self.intra_period}"
            )
        if self.intra_period == 0 or self.intra_period < -1:
            raise ConfigError(f"found intra period {self.intra_period}, expected -1, 1, 2, ...")

    @property
    def quality_metric(self) -> str:
        """The name of the score that BD-rate is computed on."""
        return "psnr_rgb" if self.preset == "paper" else "psnr_yuv_611"

    @property
    def description(self) -> str:
        """One line that belongs next to every number."""
        color = "RGB BT.709 PSNR" if self.preset == "paper" else "YUV 4:2:0 8-bit PSNR 6:1:1"
        return (
            f"{self.structure}, intra period {self.intra_period}, {color}, "
            f"up to {self.num_frames} frames, {self.num_threads} threads"
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"found {name} {value!r}, expected one of: {', '.join(choices)}")
