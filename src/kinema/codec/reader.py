"""A `.kin` file as frames: iterate or seek; damage costs the damaged frames only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import Limits
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket, Packet
from kinema.codec.batches import in_batches
from kinema.codec.crews import check_division
from kinema.codec.decoder import Decoder, decode_each
from kinema.codec.excerpt import (
    WHOLE,
    Span,
    check_range,
    count_frames,
    find_offsets,
    find_shown,
    find_span,
)
from kinema.codec.headers import (
    CODEC_LIMITS,
    audio_tracks,
    check_decodable,
    check_profile,
    unpacked_audio,
    video_format,
)
from kinema.codec.losses import LossLog
from kinema.codec.reordering import Reordering
from kinema.codec.stretch import Stretch
from kinema.codec.structure import STRUCTURES, structure_name
from kinema.errors import ConfigError, FileError
from kinema.models.registry import LoadedModel, load_model, model_name
from kinema.video.frame import AudioPacket, AudioTrack, Frame, VideoFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """What a user decides about a decoding."""

    start_s: float = 0.0  # the first frame to give begins here or later; seconds after the first
    num_frames: int | None = None  # None: to the end
    device: str = "cpu"
    threads: int | None = None
    overwrite: bool = False
    workers: int | None = None  # processes that `decode_file` divides the work among; None: none
    ray: str | None = None  # address of a Ray cluster instead

    def check(self) -> None:
        """Refuse ranges that cannot be.

        Raises:
            ConfigError: with what was expected.
        """
        check_range(self.start_s, self.num_frames)
        check_division(self.workers, self.ray)


class KinReader:
    """A `.kin` file being read: iterate over frames, as often as you like, or seek.

    Attributes:
        header: the sequence header.
        format: how frames are to be shown.
        audio_tracks: what an audio packet's track number refers to.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        settings: DecodeSettings | None = None,
        model: LoadedModel | None = None,
        limits: Limits = CODEC_LIMITS,
    ) -> None:
        """Open a file and load the model that it names.

        Args:
            source: path, or a seekable binary file, which stays open.
            settings: device and threads; the range that iterating covers.
            model: instead of the shipped one, for files of own models.
            limits: what is refused.

        Raises:
            ConfigError: settings that cannot be.
            FileError: the file cannot be opened.
            BitstreamError: its header is damaged, or over a limit.
            WeightsMismatchError: the weights at hand are not those of the file.
            NumericProfileError: the file needs other arithmetic.
        """
        self._settings = settings or DecodeSettings()
        self._settings.check()
        self._container = ContainerReader(source, limits=limits)
        self.header: SequenceHeader = self._container.header
        try:
            check_profile(self.header)
            self._model = model or load_model(model_name(self.header.model_number))
            check_decodable(self.header, self._model)
        except BaseException:
            self._container.close()
            raise
        self.format: VideoFormat = video_format(self.header)
        self.audio_tracks: tuple[AudioTrack, ...] = audio_tracks(self.header)
        self._structure = STRUCTURES[structure_name(self.header.structure)]
        self._decoder: Decoder | None = None
        self._losses = LossLog(self._structure)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; doing so again does no harm."""
        self._is_closed = True
        self._container.close()

    @property
    def lost(self) -> list[str]:
        """One line per damaged place met so far."""
        return self._losses.lines

    @property
    def num_frames(self) -> int:
        """Frames in the file, by its index."""
        self._check_open()
        return len(self._container.index)

    @property
    def span(self) -> Span | None:
        """The range that the settings choose; None if no frame lies in it."""
        self._check_open()
        settings = self._settings
        if not settings.start_s and settings.num_frames is None:
            return WHOLE
        return find_span(self._container.index, self.header, settings.start_s, settings.num_frames)

    def count(self, span: Span) -> int:
        """How many frames of the file, by its index, lie in a range."""
        self._check_open()
        return count_frames(self._container.index, span)

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the chosen range, in display order; damaged ones are left out and noted.

        Raises:
            FileError: the reader is closed.
        """
        return (item for item in self.items(with_audio=False) if isinstance(item, Frame))

    def seek(self, time_s: float) -> Iterator[Frame]:
        """Frames from the one that is shown at `time_s`, seconds after the first frame, on.

        Raises:
            ConfigError: the time is negative.
            FileError: the reader is closed.
        """
        check_range(time_s, None)
        self._check_open()
        span = find_shown(self._container.index, self.header, time_s)
        return (i for i in self._items(span, with_audio=False) if isinstance(i, Frame))

    def seek_frame(self, number: int) -> Iterator[Frame]:
        """Frames from a frame on, given by its number in display order, from 0.

        Raises:
            ConfigError: the file has no such frame.
            FileError: the reader is closed.
        """
        self._check_open()
        pts = self._container.index.pts_of(number)
        if pts is None:
            raise ConfigError(f"frame {number}: the file has {self.num_frames} frames, from 0 on")
        return (i for i in self._items(Span(pts), with_audio=False) if isinstance(i, Frame))

    def items(
        self, *, with_audio: bool = True, in_bulk: bool = False
    ) -> Iterator[Frame | AudioPacket]:
        """Frames and audio packets of the chosen range, as interleaved in the file.

        Args:
            with_audio: whether audio packets come too.
            in_bulk: small pictures: decode runs of frames side by side, which takes less time for
                all of them; but they come in bursts of up to 256.
        """
        return self._items(self.span, with_audio=with_audio, in_bulk=in_bulk)

    def _items(
        self, span: Span | None, *, with_audio: bool, in_bulk: bool = False
    ) -> Iterator[Frame | AudioPacket]:
        if span is None:
            return
        decoder = self._ready_decoder()
        length = decoder.window if in_bulk or not self._structure.predicts else 1
        packets = self._packets(span, with_audio=with_audio)
        shown = self._reordering(span)
        for batch in in_batches(packets, FramePacket, length):
            decoded = self._decode(decoder, [p for p in batch if isinstance(p, FramePacket)])
            for packet in batch:
                if isinstance(packet, AudioPacketData):
                    yield unpacked_audio(packet)
                    continue
                is_wanted = span.has_frame(packet.header.pts)
                frame = decoded.get(packet.offset) if is_wanted else None
                yield from shown.take(packet.header, frame)
        yield from shown.rest()

    def _reordering(self, span: Span) -> Reordering:
        """Make what puts the frames of a pass into display order."""
        return Reordering(self._structure, 0 if span == WHOLE else None)

    def _packets(self, span: Span, *, with_audio: bool) -> Iterator[Packet]:
        """Sound packets that a range takes, in file order; what is missing is noted.

        Frames from the intra frame before the range on come too, if others may refer to them.
        """
        begin, first = self._offsets(span)
        self._losses.begin(None if first else 0)
        stretch = Stretch(span, self.header, self._losses, first)
        for packet in self._container.packets(begin):
            is_unheard = isinstance(packet, AudioPacketData) and not with_audio
            if stretch.needs(packet) and not is_unheard and not isinstance(packet, DamagedPacket):
                yield packet
            self._check_open()
            if stretch.is_over:
                self._losses.end(is_whole=False)
                return
        self._losses.end()

    def _offsets(self, span: Span) -> tuple[int | None, int]:
        """Where to start reading, and where the first frame is; None and 0 for a whole file."""
        if span == WHOLE:
            return None, 0
        return find_offsets(self._container, span)

    def _ready_decoder(self) -> Decoder:
        """The decoder, knowing nothing: an earlier pass may have ended anywhere."""
        if self._decoder is None:
            settings = self._settings
            self._decoder = Decoder(
                self._model,
                self.header.width,
                self.header.height,
                structure=self._structure.name,
                threads=settings.threads,
                device=settings.device,
            )
        self._decoder.reset()
        return self._decoder

    def _decode(self, decoder: Decoder, packets: list[FramePacket]) -> dict[int, Frame]:
        """Decode at once; if that fails, one by one, leaving out what is damaged.

        Returns:
            frames by the offsets of their packets.
        """
        frames = {}
        for packet, decoded in zip(packets, decode_each(decoder, packets), strict=True):
            if isinstance(decoded, Frame):
                frames[packet.offset] = decoded
            else:
                self._losses.cannot_decode(packet, decoded)
        return frames

    def _check_open(self) -> None:
        if self._is_closed:
            raise FileError("the reader is closed")
