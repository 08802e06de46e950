"""What the benchmark measured, as plain values that are written to JSON and read back."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from kinema.errors import ConfigError, FileError
from kinema.eval.bd_rate import BdResult, RdCurve
from kinema.eval.conditions import Conditions
from kinema.eval.metrics import Scores
from kinema.eval.processes import ProcessCost

SCHEMA, SCHEMA_VERSION = "kinema-bench", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """A clip as it was coded: the frames' md5 says which pictures the numbers belong to."""

    name: str
    width: int
    height: int
    frame_rate: Fraction
    num_frames: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """One clip coded at one setting and decoded again.

    Attributes:
        quality: the setting: QP or crf, lower is better.
        size_bytes: whole `.kin` file, or the coded packets of an anchor.
        bpp: bits per luma sample of the original size.
        rate_kbps: 1000 bits per second of video.
        scores: of the decoded pictures against the source.
        encode, decode: cost of the two programs, file to file.
        is_cached: sizes, scores and costs were measured in an earlier run.
    """

    quality: float
    size_bytes: int
    bpp: float
    rate_kbps: float
    scores: Scores
    encode: ProcessCost
    decode: ProcessCost
    is_cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """All points of one codec on one clip; `is_anchor` tells conventional codecs from ours."""

    clip: str
    codec: str
    is_anchor: bool
    points: tuple[RatePoint, ...]

    def to_rd_curve(self, metric: str) -> RdCurve:
        """Return (bpp, score) for BD-rate.

        Raises:
            ConfigError: the score is missing, or the points do not form a curve.
        """
        try:
            return RdCurve.from_points([(p.bpp, p.scores.value(metric)) for p in self.points])
        except ConfigError as error:
            raise ConfigError(f"{self.codec} on {self.clip}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A codec against the reference anchor on one clip; clip "class mean" = the averaged curve."""

    clip: str
    codec: str
    reference: str
    metric: str
    bd: BdResult | None
    reason: str = ""
    """Why there is no `bd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Everything one run of the benchmark found, with its conditions."""

    conditions: Conditions
    versions: Mapping[str, str]
    clips: tuple[ClipInfo, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def codecs(self) -> tuple[str, ...]:
        """Codec names in the order they were run."""
        return tuple(dict.fromkeys(curve.codec for curve in self.curves))

    def curves_of(self, codec: str) -> tuple[Curve, ...]:
        """Return the curves of one codec in the order of the clips."""
        return tuple(curve for curve in self.curves if curve.codec == codec)


def save_result(result: BenchResult, path: Path) -> None:
    """Write `result` as JSON (schema "kinema-bench", version 1).

    Raises:
        FileError: the path cannot be written.
    """
    write_json(result_document(result), path)


def result_document(result: BenchResult) -> dict[str, Any]:
    """Give what `save_result` writes."""
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION} | asdict(result)


def load_result(path: Path) -> BenchResult:
    """Read what `save_result` wrote.

    Raises:
        FileError: the file cannot be read.
        ConfigError: it is not such a file, or of another schema version.
    """
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    found = document.get("schema_version") if isinstance(document, dict) else None
    if found != SCHEMA_VERSION or document.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: found no {SCHEMA} file of version {SCHEMA_VERSION}")
    try:
        return _result_from(document)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: a field is missing or wrong: {error}") from error


def _result_from(document: Mapping[str, Any]) -> BenchResult:
    return BenchResult(
        conditions=Conditions(**document["conditions"]),
        versions=document["versions"],
        clips=tuple(
            ClipInfo(**(clip | {"frame_rate": Fraction(clip["frame_rate"])}))
            for clip in document["clips"]
        ),
        curves=tuple(_curve_from(entry) for entry in document["curves"]),
        comparisons=tuple(_comparison_from(entry) for entry in document["comparisons"]),
    )


def point_from(entry: Mapping[str, Any]) -> RatePoint:
    """Build a point from its JSON form."""
    parts = {
        "scores": Scores(**entry["scores"]),
        "encode": ProcessCost(**entry["encode"]),
        "decode": ProcessCost(**entry["decode"]),
    }
    return RatePoint(**(dict(entry) | parts))


def _curve_from(entry: Mapping[str, Any]) -> Curve:
    points = tuple(point_from(point) for point in entry["points"])
    return Curve(**(dict(entry) | {"points": points}))


def _comparison_from(entry: Mapping[str, Any]) -> Comparison:
    bd = entry["bd"]
    if bd is not None:
        bd = BdResult(**(bd | {"quality_range": tuple(bd["quality_range"])}))
    return Comparison(**(dict(entry) | {"bd": bd}))


def write_table(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write a CSV file of one row or more, headed by the keys of the first.

    Raises:
        FileError: the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error


def write_json(document: Mapping[str, Any] | Sequence[Any], path: Path) -> None:
    """Write a JSON file; fractions become "30000/1001".

    Raises:
        FileError: the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, default=str) + "\n")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
