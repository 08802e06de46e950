"""Audio streams: described, taken out of a container and put into another, never re-encoded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from kinema.errors import VideoError
from kinema.video.frame import AudioPacket, AudioTrack

USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class AudioReader:
    """Turns the packets of a container's audio streams into `AudioPacket`s.

    Args:
        streams: those to read; a packet's track is the index in this list.
    """

    def __init__(self, streams: Sequence[AudioStream]) -> None:
        self.streams = tuple(streams)
        self.tracks = tuple(_describe(stream) for stream in streams)
        self._track_of = {stream.index: track for track, stream in enumerate(streams)}
        self._end = [0] * len(self.tracks)  # of the last packet of each track

    def reads(self, packet: Packet[Stream]) -> bool:
        """Whether a packet belongs to one of the streams."""
        return packet.stream.index in self._track_of

    def to_packets(self, packet: Packet[Stream]) -> list[AudioPacket]:
        """Copy one packet: a list of one, or none for the marks at the end of a stream."""
        if not packet.size:
            return []
        track = self._track_of[packet.stream.index]
        dts = packet.dts if packet.dts is not None else packet.pts
        dts = self._end[track] if dts is None else dts  # a container without times: one follows on
        pts = packet.pts if packet.pts is not None else dts
        duration = packet.duration or 0
        self._end[track] = pts + duration
        return [AudioPacket(track, pts, dts, duration, packet.is_keyframe, bytes(packet))]


def add_track(container: OutputContainer, track: AudioTrack) -> Stream:
    """Create a stream that takes a track's packets as they are.

    PyAV fills in a stream's parameters from an open encoder only. One is opened, therefore, given
    the set-up bytes of the track's own encoder, and never used.

    Raises:
        VideoError: the container cannot hold this codec.
    """
    time_base = Fraction(1, track.sample_rate)
    try:
        av.Codec(track.codec, "w")
    except ValueError:  # FFmpeg only decodes it: nothing but the packets describes it
        try:
            return container.add_mux_stream(track.codec, track.sample_rate, time_base=time_base)
        except ValueError as error:
            raise VideoError(str(error)) from error
    try:
        stream = container.add_stream(track.codec, track.sample_rate, {"strict": "experimental"})
        if not isinstance(stream, AudioStream):
            raise VideoError(f"{track.codec} is no audio codec")
        context = stream.codec_context
        context.layout = track.layout
        if track.bit_rate:
            context.bit_rate = track.bit_rate
        context.open()
        context.extradata = track.extradata or None
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(str(error)) from error
    stream.time_base = time_base
    if track.language:
        stream.metadata["language"] = track.language
    return stream


def _describe(stream: AudioStream) -> AudioTrack:
    layout = stream.layout.name
    if layout.endswith("channels"):  # a container that tells no more than their number
        layout = USUAL_LAYOUTS.get(stream.channels, layout)
    language = stream.language or ""
    return AudioTrack(
        codec=stream.codec.canonical_name,
        time_base=stream.time_base or Fraction(1, stream.sample_rate),
        sample_rate=stream.sample_rate,
        layout=layout,
        extradata=stream.codec_context.extradata or b"",
        bit_rate=stream.bit_rate or 0,
        language="" if language == "und" else language,
    )
