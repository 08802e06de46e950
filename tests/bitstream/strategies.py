"""Random headers and packets for the tests of this folder (loaded with runpy)."""

from fractions import Fraction

from hypothesis import strategies as st

from kinema.bitstream.bits import SIGNED_MAX, U32_MAX, VARINT_MAX
from kinema.bitstream.headers import (
    QUALITY_MAX,
    AudioTrackHeader,
    CodingStructure,
    FrameHeader,
    FrameType,
    SequenceHeader,
)
from kinema.bitstream.packets import AudioPacketData

u8, u16, u32 = (st.integers(0, 256**n - 1) for n in (1, 2, 4))
positive = st.integers(1, U32_MAX)
fractions = st.builds(Fraction, positive, positive)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)
times = st.integers(-(2**60), 2**60)
qualities = st.integers(0, QUALITY_MAX)

audio_tracks = st.builds(
    AudioTrackHeader,
    codec=names,
    layout=names,
    language=names,
    time_base=fractions,
    sample_rate=positive,
    bit_rate=u32,
    extradata=st.binary(max_size=300),
)
sequence_headers = st.builds(
    SequenceHeader,
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    frame_rate=fractions,
    time_base=fractions,
    sample_aspect_ratio=fractions,
    rotation=st.sampled_from([0, 90, 180, 270]),
    matrix=u8,
    primaries=u8,
    transfer=u8,
    full_range=st.booleans(),
    chroma_location=st.integers(0, 6),
    model_number=u16,
    weights_fingerprint=st.binary(min_size=8, max_size=8),
    numeric_profile=u8,
    structure=st.sampled_from(CodingStructure),
    intra_period=st.just(-1) | positive,
    start_pts=times,
    usual_duration=st.integers(0, VARINT_MAX),
    usual_quality=qualities,
    audio_tracks=st.lists(audio_tracks, max_size=4).map(tuple),
)
distances = st.integers(-1000, 1000).filter(bool)


@st.composite
def frame_headers(draw):
    frame_type = draw(st.sampled_from(FrameType))
    is_intra = frame_type is FrameType.I
    references = () if is_intra else tuple(draw(st.lists(distances, min_size=1, max_size=8)))
    return FrameHeader(
        frame_type=frame_type,
        display_index=draw(st.integers(1000, 2**20)),
        pts=draw(times),
        duration=draw(st.integers(0, VARINT_MAX)),
        quality=draw(qualities),
        references=references,
        flags=draw(u8),
        picture_hash=draw(st.none() | u32),
    )


audio_packets = st.builds(
    AudioPacketData,
    track=st.integers(0, 1),
    pts=times,
    dts=times,
    duration=st.integers(0, VARINT_MAX),
    is_keyframe=st.booleans(),
    data=st.binary(max_size=500),
)
signed = st.integers(-SIGNED_MAX - 1, SIGNED_MAX)
unsigned = st.integers(0, VARINT_MAX)
