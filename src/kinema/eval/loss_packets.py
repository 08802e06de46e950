"""Coded files with packets missing: real bytes taken out, each kind of file in its own way."""

from collections.abc import Collection
from pathlib import Path

import av
from av.video.stream import VideoStream

from kinema.bitstream.framing import PacketType, Source, read_opening, read_packet
from kinema.bitstream.limits import DEFAULT_LIMITS
from kinema.errors import FileError, VideoError


def drop_from_kin(coded: Path, target: Path, lost: Collection[int]) -> None:
    """Write a `.kin` file without some of its frame packets.

    Everything else stays as it is, the index too: it no longer fits, and readers find that out.

    Args:
        coded: a sound file.
        target: the file to write.
        lost: places of the frame packets in the file, from 0.

    Raises:
        FileError: a file cannot be read or written.
        BitstreamError: `coded` is damaged.
    """
    try:
        with coded.open("rb") as file, target.open("wb") as rest:
            source = Source(file)
            _, offset = read_opening(source, DEFAULT_LIMITS)
            rest.write(source.read(0, offset))
            place = 0
            while offset < source.size_bytes:
                packet = read_packet(source, offset, DEFAULT_LIMITS)
                is_frame = packet.type_code < PacketType.AUDIO
                if not (is_frame and place in lost):
                    rest.write(source.read(offset, packet.length_bytes))
                place += is_frame
                offset += packet.length_bytes
    except OSError as error:
        raise FileError(f"cannot copy {coded} to {target}: {error}") from error


def drop_from_container(coded: Path, target: Path, lost: Collection[int]) -> None:
    """Write a file of FFmpeg's without some of its packets: whole access units, as muxed.

    Args:
        coded: a file with one video stream, a packet per picture; parameter sets kept apart.
        target: the file to write, of the same kind.
        lost: places of the packets in the file, from 0.

    Raises:
        VideoError: FFmpeg cannot read or write one of the files.
    """
    try:
        with av.open(str(coded)) as source, av.open(str(target), "w") as rest:
            stream = source.streams.video[0]
            copy: VideoStream = rest.add_stream_from_template(stream)
            place = 0
            for packet in source.demux(stream):
                if packet.size == 0:
                    continue  # PyAV's sign that the file is over
                if place not in lost:
                    packet.stream = copy
                    rest.mux(packet)
                place += 1
    except av.FFmpegError as error:
        raise VideoError(f"cannot copy {coded} to {target}: {error.strerror}") from error
