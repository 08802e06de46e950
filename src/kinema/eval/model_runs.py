"""Run our own codec on a clip as a user does: two command lines, two processes."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kinema.eval.anchor_runs import rate_point, score_decoded
from kinema.eval.clips import DecodedFile, PreparedClip
from kinema.eval.conditions import Conditions
from kinema.eval.processes import run_measured
from kinema.eval.results import RatePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRunner:
    """How our codec is called.

    Attributes:
        model: name for `--model`; None leaves the choice to the codec.
        device: for `--device`.
        effort: for `--effort`.
        program: the command that `encode` and `decode` are appended to.
    """

    model: str | None
    device: str = "cpu"
    effort: int = 0
    program: tuple[str, ...] = (sys.executable, "-m", "kinema.cli")

    @property
    def name(self) -> str:
        """The name in tables and plots."""
        name = f"kinema {self.model}" if self.model else "kinema"
        return f"{name} effort {self.effort}" if self.effort else name

    def encode_command(
        self, source: Path, target: Path, conditions: Conditions, crf: float
    ) -> list[str]:
        """Return the command line that codes `source` into `target`."""
        command = [*self.program, "encode", str(source), str(target), "--crf", f"{crf:g}"]
        command += ["--structure", conditions.structure, "--no-audio", "--overwrite"]
        command += ["--threads", str(conditions.num_threads), "--device", self.device]
        if self.effort:
            command += ["--effort", str(self.effort)]
        if conditions.structure != "all-intra":
            command += ["--intra-period", str(conditions.intra_period), "--no-scene-cut"]
        return command + (["--model", self.model] if self.model else [])

    def decode_command(self, source: Path, target: Path, conditions: Conditions) -> list[str]:
        """Return the command line that decodes `source` into raw pictures."""
        command = [*self.program, "decode", str(source), str(target), "--overwrite"]
        return [*command, "--threads", str(conditions.num_threads), "--device", self.device]

    def run(
        self, clip: PreparedClip, conditions: Conditions, crf: float, *, extras: frozenset[str]
    ) -> RatePoint:
        """Return one rate point; its size is that of the whole `.kin` file.

        Raises:
            VideoError: a command failed, or gave another number of frames.
        """
        with tempfile.TemporaryDirectory(dir=clip.y4m.parent) as folder:
            coded, raw = Path(folder) / "coded.kin", Path(folder) / "decoded.yuv"
            encode = run_measured(
                self.encode_command(clip.y4m, coded, conditions, crf),
                what=f"{self.name} encoder on {clip.info.name}",
            )
            decode = run_measured(
                self.decode_command(coded, raw, conditions),
                what=f"{self.name} decoder on {clip.info.name}",
            )
            decoded = DecodedFile(path=raw, width=clip.info.width, height=clip.info.height)
            scores = score_decoded(clip, decoded, extras)
            return rate_point(clip.info, crf, coded.stat().st_size, scores, (encode, decode))
