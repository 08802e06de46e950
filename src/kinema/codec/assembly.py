"""Finished chunks of an encoding become one file, packet by packet, and one report."""

from pathlib import Path
from typing import cast

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.packets import AudioPacketData, FramePacket
from kinema.codec.chunk_store import ChunkStore
from kinema.codec.encode_report import EncodeReport
from kinema.codec.encoding import EncodeSettings
from kinema.codec.headers import CODEC_LIMITS
from kinema.errors import FileError


def assemble(
    target: Path, header: SequenceHeader, store: ChunkStore, count: int, settings: EncodeSettings
) -> EncodeReport:
    """Write the file; it appears complete or not at all.

    Args:
        target: the `.kin` file.
        header: of the sequence.
        store: holds the chunks.
        count: how many there are.
        settings: of the encoding.

    Raises:
        FileError: the target cannot be written, or a chunk is damaged.
    """
    joining = _Joining(header, settings.crf)
    with ContainerWriter(
        target, header, overwrite=settings.overwrite, limits=CODEC_LIMITS
    ) as writer:
        for number in range(count):
            facts = store.facts(number)
            if facts is None:
                raise FileError(f"{store.path(number)} was damaged or removed")
            joining.add(writer, store.path(number))
            joining.psnr += cast(list[list[float]], facts["psnr"])
    return joining.report(target.stat().st_size)


class _Joining:
    """What comes together while chunks are joined."""

    def __init__(self, header: SequenceHeader, crf: float) -> None:
        self._header, self._crf = header, crf
        self.psnr: list[list[float]] = []
        self._audio_bytes = 0
        self._end_pts = header.start_pts

    def add(self, writer: ContainerWriter, path: Path) -> None:
        with ContainerReader(path, limits=CODEC_LIMITS) as reader:
            for packet in reader.packets():
                if isinstance(packet, FramePacket):
                    writer.write_frame(packet.header, packet.payload)
                    end_pts = packet.header.pts + packet.header.duration
                    self._end_pts = max(self._end_pts, end_pts)
                elif isinstance(packet, AudioPacketData):
                    before = writer.size_bytes
                    writer.write_audio(packet)
                    self._audio_bytes += writer.size_bytes - before
                else:
                    raise FileError(f"{path} is damaged: {packet.error}")

    def report(self, size_bytes: int) -> EncodeReport:
        header, count = self._header, len(self.psnr)
        seconds = float((self._end_pts - header.start_pts) * header.time_base)
        sums = [0.0, 0.0, 0.0]  # frame by frame, so that the last digit is that of one process
        for values in self.psnr:
            sums = [total + value for total, value in zip(sums, values, strict=True)]
        y, u, v = (total / count for total in sums)
        return EncodeReport(
            num_frames=count,
            width=header.width,
            height=header.height,
            seconds=seconds if seconds > 0 else float(count / header.frame_rate),
            size_bytes=size_bytes,
            video_bytes=size_bytes - self._audio_bytes,
            psnr_y=y,
            psnr_u=u,
            psnr_v=v,
            crf=self._crf,
        )
