"""One codec sends one clip through losses; its receiver shows the last good picture for others."""

import tempfile
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np

from kinema.errors import VideoError
from kinema.eval.clips import PreparedClip
from kinema.eval.loss_patterns import Losses
from kinema.eval.loss_results import MISSING, RIGHT, WRONG, Journey, LossRun, Sent
from kinema.eval.loss_streams import Stream
from kinema.video.frame import Frame
from kinema.video.quality import psnr_planes

USUAL_QP, QPS = 30, range(8, 51)  # of anchors
DB_PER_QP = 0.6  # about


class Sender:
    """One codec that sends one clip with one refresh."""

    def __init__(self, stream: Stream, clip: PreparedClip, refresh: int) -> None:
        self._stream, self._clip, self._refresh = stream, clip, refresh
        self._source = list(clip.source_frames())

    def search(self, psnr: float | None) -> int:
        """Return a QP whose mean PSNR is close to `psnr` dB; `USUAL_QP` if None."""
        qp, misses = USUAL_QP, dict[int, float]()
        while psnr is not None and qp not in misses:
            with tempfile.TemporaryDirectory(dir=self._clip.y4m.parent) as folder:
                _, sent = self.code(qp, Path(folder) / f"coded{self._stream.suffix}")
            misses[qp] = fmean(sent.psnr) - psnr
            qp = min(max(qp + round(misses[qp] / DB_PER_QP), QPS[0]), QPS[-1])
        return min(misses, key=lambda tried: abs(misses[tried]), default=USUAL_QP)

    def run(self, quality: float, losses: list[Losses]) -> list[LossRun]:
        """Code once, lose packets, decode what is left.

        Raises:
            VideoError: encoder or decoder failed.
        """
        with tempfile.TemporaryDirectory(dir=self._clip.y4m.parent) as name:
            folder = Path(name)
            coded = folder / f"coded{self._stream.suffix}"
            frames, sent = self.code(quality, coded)

            @cache
            def travel(lost: tuple[int, ...]) -> Journey:
                with tempfile.TemporaryDirectory(dir=folder) as other:
                    damaged = Path(other) / coded.name
                    self._stream.drop(coded, damaged, lost)
                    received = self._stream.decode(damaged, self._clip, is_damaged=bool(lost))
                return conceal(self._source, frames, received, lost)

            return [
                LossRun(
                    sent=sent,
                    kind=item.kind,
                    percent=item.percent,
                    journeys=tuple(travel(lost) for lost in item.journeys),
                )
                for item in losses
            ]

    def code(self, quality: float, coded: Path) -> tuple[list[Frame], Sent]:
        """Code to a file; return what a receiver shows if nothing is lost.

        Raises:
            VideoError: encoder or decoder failed, or gave another number of pictures.
        """
        info, stream = self._clip.info, self._stream
        size_bytes = stream.encode(self._clip, coded, self._refresh, quality)
        decoded = stream.decode(coded, self._clip, is_damaged=False)
        if sorted(decoded) != list(range(info.num_frames)):
            raise VideoError(
                f"{stream.name} on {info.name}: found {len(decoded)} pictures of a sound file, "
                f"expected {info.num_frames}"
            )
        frames = [decoded[index] for index in range(info.num_frames)]
        pairs = zip(self._source, frames, strict=True)
        sent = Sent(
            clip=info.name,
            codec=stream.name,
            is_anchor=stream.is_anchor,
            refresh=self._refresh,
            quality=quality,
            rate_kbps=float(8 * size_bytes * info.frame_rate / info.num_frames / 1000),
            psnr=tuple(psnr_planes(a, b).yuv_611 for a, b in pairs),
        )
        return frames, sent


def conceal(
    source: list[Frame], sound: list[Frame], received: dict[int, Frame], lost: tuple[int, ...]
) -> Journey:
    """Show a picture at every frame: the received one, else the last one that was.

    Args:
        source: the clip.
        sound: what a receiver gets if nothing is lost.
        received: what it got, by place in the clip; the first one at least.
        lost: packets, for the record.
    """
    states, shown_psnr, frozen_psnr = "", [], []
    shown = frozen = received[0]
    for index, (wanted, right) in enumerate(zip(source, sound, strict=True)):
        picture = received.get(index)
        if picture is None:
            states += MISSING
        elif all(np.array_equal(a, b) for a, b in zip(picture.planes, right.planes, strict=True)):
            states, shown, frozen = states + RIGHT, picture, picture
        else:
            states, shown = states + WRONG, picture
        shown_psnr.append(psnr_planes(wanted, shown).yuv_611)
        frozen_psnr.append(psnr_planes(wanted, frozen).yuv_611)
    return Journey(lost=lost, states=states, psnr=tuple(shown_psnr), psnr_frozen=tuple(frozen_psnr))
