"""P frames one at a time: what the network is given, what a lost packet costs, what is refused."""

import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kinema.codec.decoder import Decoder
from kinema.codec.encoder import Encoder
from kinema.errors import (
    BitstreamError,
    ChecksumError,
    ConfigError,
    MissingReferenceError,
    ShapeError,
)

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
draw, same_planes = KIT["draw"], KIT["same_planes"]
SIZE = (48, 32)
INTRA, INTER = (1, ()), (1, (-1,))  # calls of the network: pictures, references


def types(packets):
    return "".join(packet.header.frame_type.name for packet in packets)


def test_p_frames_are_coded_one_by_one_given_the_frame_before(toy, calls):
    encoder = Encoder(toy, intra_period=3, refresh=2)
    pictures = encoder.encode_batch(draw(5, SIZE), crf=20)
    assert calls == [INTRA, INTER, INTRA, INTRA, INTER]
    assert types(pictures) == "IPIIP"
    assert [p.header.display_index for p in pictures] == [0, 1, 2, 3, 4]
    assert [p.header.references for p in pictures] == [(), (-1,), (), (), (-1,)]


@pytest.mark.parametrize(
    ("crf", "finer"), [(20.0, 12.0), (3.0, 0.0), (60.0, 57.0), (63.0, 63.0), (0.0, 0.0)]
)
def test_intra_frames_that_others_keep_are_finer(crf, finer, toy):
    keeping = replace(toy, intra_gain=8.0)
    pictures = Encoder(keeping, intra_period=2).encode_batch(draw(3, SIZE), crf=crf)
    assert [p.header.quality / 256 for p in pictures] == [finer, crf, finer]
    assert [p.crf for p in pictures] == [crf] * 3
    alone = Encoder(keeping, structure="all-intra").encode(draw(1, SIZE)[0], crf=crf)
    assert alone.header.quality / 256 == crf


def test_live_frames_give_the_bytes_of_batches(toy, coded):
    encoder = Encoder(toy, intra_period=4)
    singles = [encoder.encode(frame, crf=20) for frame in draw(10, SIZE)]
    assert [p.payload for p in singles] == [p.payload for p in coded]
    assert [p.header for p in singles] == [p.header for p in coded]


def test_the_decoder_shows_what_the_encoder_saw(toy, coded):
    expected = [p.frame for p in coded]
    assert same_planes(Decoder(toy, *SIZE).decode_batch(coded), expected)
    decoder = Decoder(toy, *SIZE)
    assert same_planes([decoder.decode(p) for p in coded], expected)


def test_still_pictures_cost_less_as_p_frames(toy):
    frames = draw(1, SIZE) * 4
    first, *others = Encoder(toy).encode_batch(frames, crf=10)
    assert all(len(p.payload) < len(first.payload) / 2 for p in others)


def test_the_usual_structure_is_the_models_first(toy):
    both = draw(40, (16, 16))
    assert types(Encoder(toy).encode_batch(both, crf=40)) == "I" + "P" * 31 + "I" + "P" * 7
    intra_first = TOY["load_toy"](("all-intra", "low-delay"))
    assert types(Encoder(intra_first).encode_batch(both, crf=40)) == "I" * 40
    live = Encoder(intra_first, structure="low-delay", intra_period=-1)
    assert types(live.encode_batch(both, crf=40)) == "I" + "P" * 39


def test_all_intra_is_coded_at_once_on_both_sides(toy, calls):
    pictures = Encoder(toy, structure="all-intra").encode_batch(draw(3, SIZE), crf=20)
    frames = Decoder(toy, *SIZE, structure="all-intra").decode_batch(pictures)
    assert calls == [(3, ()), (3, ())]
    assert same_planes(frames, [p.frame for p in pictures])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"structure": "random-access"}, "can do low-delay, all-intra"),
        ({"structure": "all-intra", "refresh": 4}, "refresh 4"),
        ({"intra_period": 0}, "intra period 0"),
    ],
)
def test_an_encoder_refuses_what_the_model_cannot_do(toy, settings, message):
    with pytest.raises(ConfigError, match=message):
        Encoder(toy, **settings)


def test_a_p_frame_must_have_the_size_of_the_frame_before(toy):
    encoder = Encoder(toy, intra_period=2)
    encoder.encode(draw(1, SIZE)[0], crf=20)
    other = draw(2, (16, 16))
    with pytest.raises(ShapeError, match=r"\(16, 16\) refers to one of \(32, 48\)"):
        encoder.encode(other[0], crf=20)
    encoder.encode(draw(1, SIZE)[0], crf=20)
    assert types([encoder.encode(frame, crf=20) for frame in other]) == "IP"


def test_a_failed_frame_leaves_the_encoder_as_it_was(toy, coded, monkeypatch):
    encoder, (first, *frames) = Encoder(toy, intra_period=4), draw(10, SIZE)
    encoder.encode(first, crf=20)
    network = toy.frozen.network
    code_frame, fail = network.code_frame, Counter()

    def fails_once(*arguments):
        fail["calls"] += 1
        if fail["calls"] == 3:
            raise ConfigError("out of luck")
        return code_frame(*arguments)

    monkeypatch.setattr(network, "code_frame", fails_once)
    with pytest.raises(ConfigError, match="luck"):
        encoder.encode_batch(frames, crf=20)
    again = encoder.encode_batch(frames, crf=20)
    assert [p.payload for p in again] == [p.payload for p in coded[1:]]


def test_a_lost_packet_costs_what_refers_to_it(toy, coded):
    decoder = Decoder(toy, *SIZE)
    for packet in coded[:2]:
        decoder.decode(packet)
    for packet in coded[3:4]:
        with pytest.raises(MissingReferenceError, match="frame 3 refers to frame 2") as caught:
            decoder.decode(packet)
        assert caught.value.missing == 2
    rest = [decoder.decode(packet) for packet in coded[4:]]
    assert same_planes(rest, [p.frame for p in coded[4:]])


def test_a_late_packet_is_still_good(toy, coded):
    """What could not be decoded changes nothing: the right packet may come after a wrong one."""
    decoder = Decoder(toy, *SIZE)
    decoder.decode(coded[0])
    wrong = replace(coded[1], header=replace(coded[1].header, picture_hash=1))
    with pytest.raises(ChecksumError):
        decoder.decode(wrong)
    with pytest.raises(MissingReferenceError):
        decoder.decode(coded[2])
    assert same_planes(decoder.decode_batch(coded[1:3]), [p.frame for p in coded[1:3]])


def test_a_failing_batch_changes_nothing(toy, coded):
    decoder = Decoder(toy, *SIZE)
    decoder.decode(coded[0])
    with pytest.raises(MissingReferenceError):
        decoder.decode_batch([coded[1], coded[3]])
    assert same_planes([decoder.decode(coded[1])], [coded[1].frame])


def test_a_decoder_that_forgot_waits_for_an_intra_frame(toy, coded):
    decoder = Decoder(toy, *SIZE)
    decoder.decode(coded[0])
    decoder.reset()
    with pytest.raises(MissingReferenceError):
        decoder.decode(coded[1])
    assert same_planes([decoder.decode(coded[4])], [coded[4].frame])


def test_references_that_low_delay_does_not_know_are_refused(toy, coded):
    decoder = Decoder(toy, *SIZE)
    decoder.decode(coded[0])
    for references in ((-1, -1), (-1, 1)):
        header = replace(coded[1].header, references=references)
        with pytest.raises(BitstreamError, match="low-delay has I frames and P frames"):
            decoder.decode(replace(coded[1], header=header))
    with pytest.raises(BitstreamError, match="all-intra has I frames only"):
        Decoder(toy, *SIZE, structure="all-intra").decode(coded[1])
