"""One frame at a time: the same bytes and pictures as in batches, on both sides."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from kinema.bitstream.headers import FrameType
from kinema.codec.decoder import Decoder
from kinema.codec.encoder import Encoder
from kinema.errors import BitstreamError, ChecksumError, ConfigError, ShapeError

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


@pytest.mark.parametrize("size", [(48, 32), (37, 21), (1, 1), (16, 17)])
def test_a_batch_gives_the_bytes_and_pictures_of_one_by_one(tiny_model, size):
    frames = KIT["draw"](3, size)
    batch = Encoder(tiny_model).encode_batch(frames, crf=20)
    encoder = Encoder(tiny_model)
    singles = [encoder.encode(frame, crf=20) for frame in frames]
    assert [p.payload for p in batch] == [p.payload for p in singles]
    assert [p.header for p in batch] == [p.header for p in singles]
    decoder = Decoder(tiny_model, *size)
    for decoded in (decoder.decode_batch(batch), [decoder.decode(p) for p in singles]):
        assert KIT["same_planes"](decoded, [p.frame for p in batch])
        assert KIT["times"](decoded) == KIT["times"](frames)


def test_a_live_encoder_numbers_its_frames_and_keeps_their_times(tiny_model):
    encoder = Encoder(tiny_model)
    coded = [encoder.encode(frame, crf=30 + i) for i, frame in enumerate(KIT["draw"](3, step=7))]
    assert [p.header.display_index for p in coded] == [0, 1, 2]
    assert [p.header.pts for p in coded] == [0, 7, 14]
    assert [p.header.quality / 256 for p in coded] == [30, 31, 32]


def test_frames_of_different_qualities_decode_in_one_batch(tiny_model):
    encoder = Encoder(tiny_model)
    qualities = zip(KIT["draw"](3), (0, 31.5, 63), strict=True)
    coded = [encoder.encode(frame, crf=crf) for frame, crf in qualities]
    decoded = Decoder(tiny_model, 48, 32).decode_batch(coded)
    assert KIT["same_planes"](decoded, [p.frame for p in coded])


def test_quality_follows_crf(tiny_model):
    frame = KIT["draw"](1)[0]
    sizes = [len(Encoder(tiny_model).encode(frame, crf=crf).payload) for crf in (4, 28, 60)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]


def test_empty_batches_are_nothing(tiny_model):
    assert Encoder(tiny_model).encode_batch([], crf=28) == []
    assert Decoder(tiny_model, 8, 8).decode_batch([]) == []


@pytest.mark.parametrize("crf", [-0.1, 63.5, float("nan"), float("inf")])
def test_a_quality_out_of_range_is_refused(tiny_model, crf):
    with pytest.raises(ConfigError, match="crf"):
        Encoder(tiny_model).encode(KIT["draw"](1)[0], crf=crf)


def test_a_batch_of_several_sizes_is_refused(tiny_model):
    frames = KIT["draw"](1) + KIT["draw"](1, (32, 32))
    with pytest.raises(ShapeError, match="one batch"):
        Encoder(tiny_model).encode_batch(frames, crf=28)


@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_frames_that_refer_to_others_are_refused(tiny_model, frame_type):
    coded = Encoder(tiny_model).encode(KIT["draw"](1)[0], crf=28)
    header = replace(coded.header, frame_type=frame_type, references=(1,))
    with pytest.raises(
        BitstreamError, match=f"{frame_type.name} frame.*all-intra has I frames only"
    ):
        Decoder(tiny_model, 48, 32).decode(replace(coded, header=header))


def test_a_picture_other_than_the_encoders_is_refused(tiny_model):
    coded = Encoder(tiny_model).encode(KIT["draw"](1)[0], crf=28)
    header = replace(coded.header, picture_hash=coded.header.picture_hash ^ 1)
    with pytest.raises(ChecksumError, match="differs"):
        Decoder(tiny_model, 48, 32).decode(replace(coded, header=header))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"threads": 0}, "threads"), ({"device": "tpu"}, "known: cpu, cuda")],
)
def test_arithmetic_that_is_not_there_is_refused(tiny_model, settings, message):
    with pytest.raises(ConfigError, match=message):
        Encoder(tiny_model, **settings)


def test_effort_outside_its_range_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="effort 101, expected 0 to 100"):
        Encoder(tiny_model, effort=101)


def test_effort_gives_other_bytes_that_decode_as_written(tiny_model):
    frames = KIT["draw"](2)
    quick = Encoder(tiny_model).encode_batch(frames, crf=20)
    coded = Encoder(tiny_model, effort=3).encode_batch(frames, crf=20)
    assert [p.payload for p in coded] != [p.payload for p in quick]
    decoded = Decoder(tiny_model, 48, 32).decode_batch(coded)
    assert KIT["same_planes"](decoded, [p.frame for p in coded])
