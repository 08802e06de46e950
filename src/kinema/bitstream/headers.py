"""What a file says about itself (sequence header) and about each picture (frame header)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Self

from kinema.bitstream.bits import SIGNED_MAX, U32_MAX, VARINT_MAX, ByteReader, ByteWriter
from kinema.bitstream.limits import Limits, check_limit, check_range
from kinema.errors import BitstreamError

QUALITY_MAX = 63 * 256  # crf 63
FINGERPRINT_BYTES = 8
MAX_REFERENCES = 15  # the format's, four bits


class CodingStructure(IntEnum):
    """How frames lean on each other."""

    ALL_INTRA = 0
    LOW_DELAY = 1
    RANDOM_ACCESS = 2


class FrameType(IntEnum):
    """What a frame may predict from: nothing, the past, past and future."""

    I = 0  # noqa: E741  the field's own name
    P = 1
    B = 2


_I, _P, _B = FrameType
USUAL_REFERENCES: Mapping[FrameType, tuple[int, ...]] = {_I: (), _P: (-1,), _B: (-1, 1)}
_SEQUENCE_RANGES = {
    **dict.fromkeys(("width", "height"), (1, 0xFFFF)),
    **dict.fromkeys(("matrix", "primaries", "transfer", "numeric_profile"), (0, 255)),
    "pixel_format": (0, 0),
    "chroma_location": (0, 6),
    "model_number": (0, 0xFFFF),
    "structure": (0, max(CodingStructure)),
    "start_pts": (-SIGNED_MAX - 1, SIGNED_MAX),
    "usual_duration": (0, VARINT_MAX),
    "usual_quality": (0, QUALITY_MAX),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrackHeader:
    """One audio track, copied packet by packet; fields as in FFmpeg.

    Raises:
        BitstreamError: a number is outside its range.
    """

    codec: str  # printable ASCII, up to 255 characters, as the two other names
    time_base: Fraction  # seconds per unit of pts; both parts 1..2**32 - 1
    sample_rate: int  # samples per second and channel, 1..2**32 - 1
    layout: str  # of the channels: "stereo", "5.1(side)", ...
    extradata: bytes = b""  # the codec's set-up bytes
    bit_rate: int = 0  # bits per second, 0..2**32 - 1; 0 unknown
    language: str = ""  # ISO 639-2; "" unknown

    def __post_init__(self) -> None:
        check_range("sample_rate", self.sample_rate, 1, U32_MAX)
        check_range("bit_rate", self.bit_rate, 0, U32_MAX)

    def write(self, writer: ByteWriter) -> None:
        """Append the fields to the sequence header."""
        for text in (self.codec, self.layout, self.language):
            writer.write_text(text)
        writer.write_fraction(self.time_base)
        writer.write_uint(self.sample_rate, 4)
        writer.write_uint(self.bit_rate, 4)
        writer.write_block(self.extradata)

    @classmethod
    def read(cls, reader: ByteReader, limits: Limits) -> Self:
        """Invert `write`; errors as in ByteReader."""
        codec, layout, language = (reader.read_text(limits.max_text_bytes) for _ in range(3))
        return cls(
            codec=codec,
            layout=layout,
            language=language,
            time_base=reader.read_fraction(),
            sample_rate=reader.read_uint(4),
            bit_rate=reader.read_uint(4),
            extradata=reader.read_block(limits.max_extradata_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeader:
    """What all pictures of a file have in common, and what it takes to decode them.

    The three `usual` fields save bytes: a frame that has these values need not spell them out.

    Raises:
        BitstreamError: a field is outside its range.
    """

    width: int  # luma samples, 1..65535
    height: int  # luma samples, 1..65535
    pixel_format: int = 0  # 0: 8-bit 4:2:0, the only one so far
    frame_rate: Fraction  # frames per second; both parts 1..2**32 - 1, as in all fractions
    time_base: Fraction  # seconds per unit of pts and duration
    sample_aspect_ratio: Fraction = Fraction(1)  # width : height of one sample
    rotation: int = 0  # degrees clockwise that a player turns the picture: 0, 90, 180, 270
    matrix: int = 2  # ITU-T H.273 code points, 0..255; 2 unspecified
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False
    chroma_location: int = 0  # 0..6: unspecified, left, centre, top left, top, bottom left, bottom
    model_number: int  # from the model registry, 0..65535
    weights_fingerprint: bytes  # 8 bytes
    numeric_profile: int = 1  # arithmetic a decoder must use, 0..255; 1: exact integers
    structure: CodingStructure = CodingStructure.ALL_INTRA
    intra_period: int = (
        -1
    )  # frames from one intra frame to the next, 1..2**32 - 1; -1: only the first
    start_pts: int = 0  # usual pts of display index 0
    usual_duration: int = 0  # units of time_base; 0 unknown
    usual_quality: int = 0  # in 1/256 crf, 0..QUALITY_MAX
    audio_tracks: tuple[AudioTrackHeader, ...] = ()  # up to 255

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _SEQUENCE_RANGES.items():
            check_range(name, getattr(self, name), lowest, highest)
        check_range("number of audio tracks", len(self.audio_tracks), 0, 255)
        if self.rotation not in (0, 90, 180, 270):
            raise BitstreamError(f"rotation is {self.rotation}, expected 0, 90, 180 or 270 degrees")
        if len(self.weights_fingerprint) != FINGERPRINT_BYTES:
            raise BitstreamError(
                f"weights_fingerprint is {self.weights_fingerprint!r}, not 8 bytes"
            )
        if self.intra_period != -1:
            check_range("intra_period", self.intra_period, 1, U32_MAX)

    def usual_pts(self, display_index: int) -> int:
        """Give the pts of a frame in a steady cadence, rounded half up, in units of `time_base`."""
        return self.cadence()(display_index)

    def cadence(self) -> Callable[[int], int]:
        """Give `usual_pts` as a function that is quick to call for many frames."""
        ticks = 1 / (self.frame_rate * self.time_base)
        start, twice, divisor = self.start_pts, 2 * ticks.numerator, 2 * ticks.denominator
        half = ticks.denominator
        return lambda display_index: start + (twice * display_index + half) // divisor

    def check_limits(self, limits: Limits) -> None:
        """Refuse pictures and tracks that are too large or too many.

        Raises:
            LimitError: they are.
        """
        check_limit("width", self.width, limits.max_width)
        check_limit("height", self.height, limits.max_height)
        check_limit("samples per picture", self.width * self.height, limits.max_samples)
        check_limit("number of audio tracks", len(self.audio_tracks), limits.max_audio_tracks)

    def to_bytes(self) -> bytes:
        """Pack all fields, in the order of docs/BITSTREAM.md."""
        writer = ByteWriter()
        writer.write_uint(self.width, 2)
        writer.write_uint(self.height, 2)
        writer.write_uint(self.pixel_format, 1)
        for fraction in (self.frame_rate, self.time_base, self.sample_aspect_ratio):
            writer.write_fraction(fraction)
        writer.write_uint(self.rotation // 90, 1)
        color = (self.matrix, self.primaries, self.transfer, self.full_range, self.chroma_location)
        for code in color:
            writer.write_uint(code, 1)
        writer.write_uint(self.model_number, 2)
        writer.write(self.weights_fingerprint)
        writer.write_uint(self.numeric_profile, 1)
        writer.write_uint(self.structure, 1)
        writer.write_uint(max(self.intra_period, 0), 4)
        writer.write_signed(self.start_pts)
        writer.write_varint(self.usual_duration)
        writer.write_uint(self.usual_quality, 2)
        writer.write_uint(len(self.audio_tracks), 1)
        for track in self.audio_tracks:
            track.write(writer)
        return writer.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits) -> Self:
        """Invert `to_bytes`.

        Raises:
            BitstreamError: a field is outside its range, cut off or followed by more bytes.
            LimitError: a field exceeds the limits.
        """
        reader = ByteReader(data)
        header = cls(
            width=reader.read_uint(2),
            height=reader.read_uint(2),
            pixel_format=reader.read_uint(1),
            frame_rate=reader.read_fraction(),
            time_base=reader.read_fraction(),
            sample_aspect_ratio=reader.read_fraction(),
            rotation=reader.read_uint(1) * 90,
            matrix=reader.read_uint(1),
            primaries=reader.read_uint(1),
            transfer=reader.read_uint(1),
            full_range=reader.read_choice(2) == 1,
            chroma_location=reader.read_uint(1),
            model_number=reader.read_uint(2),
            weights_fingerprint=reader.read(FINGERPRINT_BYTES),
            numeric_profile=reader.read_uint(1),
            structure=CodingStructure(reader.read_choice(len(CodingStructure))),
            intra_period=reader.read_uint(4) or -1,
            start_pts=reader.read_signed(),
            usual_duration=reader.read_varint(),
            usual_quality=reader.read_uint(2),
            audio_tracks=tuple(
                AudioTrackHeader.read(reader, limits) for _ in range(reader.read_uint(1))
            ),
        )
        reader.finish()
        header.check_limits(limits)
        return header


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What a decoder must know of one picture before its payload.

    Raises:
        BitstreamError: a field is outside its range.
    """

    frame_type: FrameType
    display_index: int  # place in presentation order, from 0, up to 2**32 - 1
    pts: int  # units of the sequence's time_base, -2**62..2**62 - 1
    duration: int = 0  # the same units, 0..2**63 - 1; 0 unknown
    quality: int  # in 1/256 crf, 0..QUALITY_MAX
    references: tuple[int, ...] = ()  # each: display index of the reference minus this one's
    flags: int = 0  # meaning belongs to the model, 0..255
    picture_hash: int | None = None  # CRC-32 of the decoded Y, U, V planes, row by row

    def __post_init__(self) -> None:
        check_range("display_index", self.display_index, 0, U32_MAX)
        check_range("pts", self.pts, -SIGNED_MAX - 1, SIGNED_MAX)
        check_range("duration", self.duration, 0, VARINT_MAX)
        check_range("quality", self.quality, 0, QUALITY_MAX)
        check_range("flags", self.flags, 0, 255)
        num_allowed = (0, 0) if self.frame_type == FrameType.I else (1, MAX_REFERENCES)
        check_range("number of references", len(self.references), *num_allowed)
        for distance in self.references:
            check_range("reference", self.display_index + distance, 0, U32_MAX)
            if distance == 0:
                raise BitstreamError(f"frame {self.display_index} refers to itself")
