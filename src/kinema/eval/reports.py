"""Results as the text tables that people read."""

from collections.abc import Iterable, Sequence

from kinema.eval.bd_rate import BdResult
from kinema.eval.compare import average_gains
from kinema.eval.results import BenchResult


def format_report(result: BenchResult) -> str:
    """Return the tables that people read: gains per clip, their averages, speed and memory."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    parts = [f"Conditions: {result.conditions.description}\nVersions: {versions}"]
    if result.comparisons:
        rows = [_gain_row(c.clip, c.codec, c.bd, c.reason) for c in result.comparisons]
        rows += [
            [f"mean of {g.num_clips}", g.codec, _signed(g.bd_rate_percent, 1),
             _signed(g.bd_quality, 2), _percent(g.quality_overlap), ""]
            for g in average_gains(result)
        ]  # fmt: skip
        title = f"against {result.comparisons[0].reference} ({result.comparisons[0].metric})"
        header = ["clip", "codec", "BD-rate %", "BD-PSNR dB", "overlap", "note"]
        parts.append(f"Gains {title}\n{format_table([header, *rows])}")
    parts.append(f"Speed and memory\n{format_table(_speed_rows(result))}")
    if any(point.is_cached for curve in result.curves for point in curve.points):
        parts.append("* measured in an earlier run: no ratio to this run's speeds")
    return "\n\n".join(parts) + "\n"


def _gain_row(clip: str, codec: str, bd: BdResult | None, reason: str) -> list[str]:
    if bd is None:
        return [clip, codec, "-", "-", "-", reason]
    return [
        clip, codec, _signed(bd.bd_rate_percent, 1), _signed(bd.bd_quality, 2),
        _percent(bd.quality_overlap), reason,
    ]  # fmt: skip


def _speed_rows(result: BenchResult) -> list[list[str]]:
    """Return frames per second over all clips and points, and the ratio to the reference."""
    reference = result.comparisons[0].reference if result.comparisons else result.codecs[0]
    base = _frame_rates(result, reference)
    header = ["codec", "encode fps", "ratio", "decode fps", "ratio", "encode MB", "decode MB"]
    rows = [header]
    for codec in result.codecs:
        points = [point for curve in result.curves_of(codec) for point in curve.points]
        rates = _frame_rates(result, codec)
        is_cached = any(point.is_cached for point in points)
        row = [codec + ("*" if is_cached else "")]
        for rate, base_rate in zip(rates, base, strict=True):
            row += [f"{rate:.2f}", "-" if is_cached else f"{rate / base_rate:.2f}"]
        row += [_peak(point.encode.peak_bytes for point in points)]
        row += [_peak(point.decode.peak_bytes for point in points)]
        rows.append(row)
    if any(p.is_cached for c in result.curves_of(reference) for p in c.points):
        return [
            [*row[:2], "-", row[3], "-", *row[5:]] if row is not header else row for row in rows
        ]
    return rows


def _frame_rates(result: BenchResult, codec: str) -> tuple[float, float]:
    """Return all frames over all seconds, encoding and decoding."""
    frames, encode_s, decode_s = 0, 0.0, 0.0
    counts = {clip.name: clip.num_frames for clip in result.clips}
    for curve in result.curves_of(codec):
        for point in curve.points:
            frames += counts[curve.clip]
            encode_s += point.encode.seconds
            decode_s += point.decode.seconds
    return frames / encode_s, frames / decode_s


def _peak(values: Iterable[int | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known) / 1e6:.0f}" if known else "-"


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first two to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1] in "+-0123456789" else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
