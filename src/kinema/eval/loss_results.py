"""What the loss benchmark measured: plain values, written to JSON and CSV, shown as tables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from kinema.eval.reports import format_table
from kinema.eval.results import ClipInfo, write_json, write_table

SCHEMA, SCHEMA_VERSION = "kinema-loss", 1
RIGHT, WRONG, MISSING = ".", "!", "x"  # a frame that arrived as sent, otherwise, not at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A clip coded once, nothing lost.

    Attributes:
        clip, codec: names.
        is_anchor: conventional.
        refresh: frames from one intra frame to the next.
        quality: crf or QP.
        rate_kbps: 1000 bits per second of video.
        psnr: (6Y + U + V) / 8 of every frame in dB.
    """

    clip: str
    codec: str
    is_anchor: bool
    refresh: int
    quality: float
    rate_kbps: float
    psnr: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A clip sent once, with losses.

    Attributes:
        lost: packets.
        states: one letter per frame: `RIGHT`, `WRONG` or `MISSING`.
        psnr: in dB of every picture shown: the decoder's, or the last one that it gave.
        psnr_frozen: the same where wrong pictures are not shown either, but the last right one.
    """

    lost: tuple[int, ...]
    states: str
    psnr: tuple[float, ...]
    psnr_frozen: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRun:
    """A coded clip sent several times at one rate of loss."""

    sent: Sent
    kind: str
    percent: float
    journeys: tuple[Journey, ...]

    @property
    def num_lost(self) -> int:
        """Packets lost."""
        return sum(len(journey.lost) for journey in self.journeys)

    @property
    def num_missing(self) -> int:
        """Frames of which the decoder gave no picture."""
        return sum(journey.states.count(MISSING) for journey in self.journeys)

    @property
    def num_wrong(self) -> int:
        """Frames of which the decoder gave another picture than without losses."""
        return sum(journey.states.count(WRONG) for journey in self.journeys)

    @property
    def frames_per_packet(self) -> float:
        """Frames missing or wrong per packet lost."""
        return (self.num_missing + self.num_wrong) / self.num_lost

    @property
    def psnr(self) -> float:
        """Mean over frames and journeys in dB, of what is shown."""
        return fmean(value for journey in self.journeys for value in journey.psnr)

    @property
    def psnr_frozen(self) -> float:
        """Mean over frames and journeys in dB, if wrong pictures are not shown."""
        return fmean(value for journey in self.journeys for value in journey.psnr_frozen)

    def figures(self) -> dict[str, object]:
        """Everything of interest but single frames."""
        return {
            "clip": self.sent.clip,
            "codec": self.sent.codec,
            "refresh": self.sent.refresh,
            "quality": self.sent.quality,
            "rate_kbps": self.sent.rate_kbps,
            "psnr_sent": fmean(self.sent.psnr),
            "kind": self.kind,
            "percent": self.percent,
            "packets": sum(len(journey.states) for journey in self.journeys),
            "packets_lost": self.num_lost,
            "frames_missing": self.num_missing,
            "frames_wrong": self.num_wrong,
            "frames_per_packet": self.frames_per_packet,
            "psnr": self.psnr,
            "psnr_frozen": self.psnr_frozen,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LossResult:
    """Everything one run of the loss benchmark found, with its conditions in words."""

    description: str
    seed: int
    versions: Mapping[str, str]
    clips: tuple[ClipInfo, ...]
    runs: tuple[LossRun, ...]

    @property
    def sent(self) -> tuple[Sent, ...]:
        """Every coded clip once, in the order they were made."""
        return tuple({(s.clip, s.codec, s.refresh): s for r in self.runs if (s := r.sent)}.values())

    @property
    def refreshes(self) -> tuple[int, ...]:
        """The intervals of refresh that were run; all-intra (1) only if there is nothing else."""
        found = sorted({sent.refresh for sent in self.sent})
        return tuple(refresh for refresh in found if refresh > 1) or tuple(found)

    def runs_of(self, clip: str, kind: str, refresh: int) -> tuple[LossRun, ...]:
        """Return the runs of one clip; those without references belong to every refresh."""
        return tuple(
            run
            for run in self.runs
            if (run.sent.clip, run.kind) == (clip, kind) and run.sent.refresh in (1, refresh)
        )


def save_losses(result: LossResult, path: Path) -> None:
    """Write `result` as JSON (schema "kinema-loss", version 1): sums and every single frame.

    Raises:
        FileError: the path cannot be written.
    """
    runs = [r.figures() | {"journeys": [asdict(j) for j in r.journeys]} for r in result.runs]
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "description": result.description,
        "seed": result.seed,
        "versions": dict(result.versions),
        "clips": [asdict(clip) for clip in result.clips],
        "sent": [asdict(sent) for sent in result.sent],
        "runs": runs,
    }
    write_json(document, path)


def export_losses(result: LossResult, folder: Path) -> None:
    """Write `losses.csv`, a line per run, and `loss_frames.csv`, a line per frame.

    Raises:
        FileError: a file cannot be written.
    """
    write_table([run.figures() for run in result.runs], folder / "losses.csv")
    write_table(
        [row for run in result.runs for row in _frame_rows(run)], folder / "loss_frames.csv"
    )


def _frame_rows(run: LossRun) -> list[dict[str, object]]:
    names = {RIGHT: "right", WRONG: "wrong", MISSING: "missing"}
    whose = dict(list(run.figures().items())[:3]) | {"kind": run.kind, "percent": run.percent}
    return [
        whose
        | {
            "journey": number,
            "frame": frame,
            "is_lost": frame in journey.lost,
            "state": names[journey.states[frame]],
            "psnr_sent": run.sent.psnr[frame],
            "psnr": journey.psnr[frame],
            "psnr_frozen": journey.psnr_frozen[frame],
        }
        for number, journey in enumerate(run.journeys)
        for frame in range(len(journey.states))
    ]


def format_losses(result: LossResult) -> str:
    """Return the tables that people read: what was sent, and what became of it."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    sent = [["clip", "codec", "refresh", "quality", "kbit/s", "PSNR dB"]]
    sent += [
        [s.clip, s.codec, str(s.refresh), f"{s.quality:g}", f"{s.rate_kbps:.1f}",
         f"{fmean(s.psnr):.2f}"]
        for s in result.sent
    ]  # fmt: skip
    parts = [f"Conditions: {result.description}\nVersions: {versions}"]
    parts.append(f"Nothing lost\n{format_table(sent)}")
    for title, name in (
        ("Frames missing or wrong per packet lost", "frames_per_packet"),
        ("Mean PSNR, dB", "psnr"),
        ("Mean PSNR if wrong pictures are not shown, dB", "psnr_frozen"),
    ):
        parts.append(f"{title}\n{format_table(_rows(result, name))}")
    return "\n\n".join(parts) + "\n"


def _rows(result: LossResult, name: str) -> list[list[str]]:
    """Return a table of one figure: a column per rate of loss."""
    percents = list(dict.fromkeys(run.percent for run in result.runs))
    rows: dict[tuple[str, ...], dict[float, str]] = {}
    for run in result.runs:
        key = (run.sent.clip, run.sent.codec, str(run.sent.refresh), run.kind)
        rows.setdefault(key, {})[run.percent] = f"{run.figures()[name]:.2f}"
    header = ["clip", "codec", "refresh", "losses", *(f"{p:g} %" for p in percents)]
    return [header, *([*key, *(cells[p] for p in percents)] for key, cells in rows.items())]
