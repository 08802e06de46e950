import runpy
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings

from kinema.bitstream.headers import (
    QUALITY_MAX,
    AudioTrackHeader,
    FrameHeader,
    FrameType,
    SequenceHeader,
)
from kinema.bitstream.limits import DEFAULT_LIMITS, Limits
from kinema.errors import BitstreamError, ConfigError, LimitError, TruncatedError

STRATEGIES = runpy.run_path(str(Path(__file__).with_name("strategies.py")))
TRACK = AudioTrackHeader(
    codec="aac", layout="stereo", time_base=Fraction(1, 48000), sample_rate=48000, extradata=b"\x12"
)
SEQUENCE = SequenceHeader(
    width=416,
    height=240,
    frame_rate=Fraction(30000, 1001),
    time_base=Fraction(1, 1000),
    model_number=1,
    weights_fingerprint=bytes(8),
    audio_tracks=(TRACK,),
)
FRAME = FrameHeader(frame_type=FrameType.P, display_index=5, pts=0, quality=0, references=(-1,))


@settings(max_examples=60)
@given(STRATEGIES["sequence_headers"])
def test_sequence_header_comes_back(header):
    assert SequenceHeader.from_bytes(header.to_bytes(), DEFAULT_LIMITS) == header


@settings(max_examples=20)
@given(STRATEGIES["sequence_headers"])
def test_sequence_header_notices_missing_and_extra_bytes(header):
    data = header.to_bytes()
    for length in range(len(data)):
        with pytest.raises(TruncatedError):
            SequenceHeader.from_bytes(data[:length], DEFAULT_LIMITS)
    with pytest.raises(BitstreamError, match="after the last field"):
        SequenceHeader.from_bytes(data + b"\0", DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("width", 65536),
        ("height", 0),
        ("height", 65536),
        ("pixel_format", 1),
        ("rotation", 45),
        ("rotation", 360),
        ("matrix", 256),
        ("primaries", -1),
        ("transfer", 256),
        ("chroma_location", 7),
        ("model_number", 65536),
        ("weights_fingerprint", b"short"),
        ("numeric_profile", 256),
        ("structure", 3),
        ("intra_period", 0),
        ("intra_period", -2),
        ("intra_period", 2**32),
        ("start_pts", 2**62),
        ("usual_duration", -1),
        ("usual_quality", QUALITY_MAX + 1),
        ("audio_tracks", (TRACK,) * 256),
    ],
)
def test_sequence_header_refuses_a_field_outside_its_range(name, value):
    with pytest.raises(BitstreamError, match=r"expected|not 8 bytes"):
        replace(SEQUENCE, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("sample_rate", 0), ("bit_rate", 2**32)])
def test_audio_track_refuses_a_field_outside_its_range(name, value):
    with pytest.raises(BitstreamError, match="expected"):
        replace(TRACK, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("display_index", -1),
        ("display_index", 2**32),
        ("pts", 2**62),
        ("pts", -(2**62) - 1),
        ("duration", -1),
        ("duration", 2**63),
        ("quality", -1),
        ("quality", QUALITY_MAX + 1),
        ("flags", 256),
        ("references", ()),
        ("references", (-1,) * 16),
        ("references", (0,)),
        ("references", (-6,)),  # before the first picture
        ("references", (2**32,)),
        ("frame_type", FrameType.I),  # with a reference
    ],
)
def test_frame_header_refuses_a_field_outside_its_range(name, value):
    with pytest.raises(BitstreamError):
        replace(FRAME, **{name: value})


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_width=415),
        Limits(max_height=239),
        Limits(max_samples=416 * 240 - 1),
        Limits(max_audio_tracks=1),
        Limits(max_text_bytes=5),
        Limits(max_extradata_bytes=1),
    ],
)
def test_sequence_header_over_a_limit_is_refused(limits):
    header = replace(SEQUENCE, audio_tracks=(TRACK, replace(TRACK, extradata=b"\x12\x10")))
    with pytest.raises(LimitError, match="the limit is"):
        SequenceHeader.from_bytes(header.to_bytes(), limits)


@pytest.mark.parametrize("bound", [bound.name for bound in fields(Limits)])
def test_limits_are_positive(bound):
    with pytest.raises(ConfigError, match=bound):
        Limits(**{bound: 0})


def test_usual_pts_rounds_half_up():
    header = replace(SEQUENCE, frame_rate=Fraction(2), time_base=Fraction(1), start_pts=10)
    assert [header.usual_pts(i) for i in range(5)] == [10, 11, 11, 12, 12]
    assert [SEQUENCE.usual_pts(i) for i in range(4)] == [0, 33, 67, 100]
