"""One pass holds a bitrate with real files: packets never overflow the buffer, live or not."""

import math
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import kinema
from kinema.bitstream.container import ContainerReader
from kinema.bitstream.framing import seal_packet
from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.bitstream.limits import DEFAULT_LIMITS
from kinema.bitstream.packets import pack_frame
from kinema.codec.decoding import verify_file
from kinema.codec.encoder import CodedPicture, EncoderState
from kinema.codec.encoding import EncodeSettings
from kinema.codec.leaky_bucket import LeakyBucket
from kinema.codec.look_ahead import SourceFrame, foresee
from kinema.codec.one_pass import OnePass, Pace
from kinema.codec.order import Order
from kinema.codec.rate_control import encode_to_target
from kinema.codec.sights import Sight, look
from kinema.codec.structure import make_plan
from kinema.codec.target import Target
from kinema.errors import ConfigError
from kinema.parts.quality import crf_to_units
from kinema.video.frame import AudioPacket, Frame

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
SIZE = (64, 48)


def pictures(count, scene_length=40, strength=30.0):
    """Moving textures; now and then another one."""
    frames = []
    for index in range(count):
        chance = np.random.default_rng(index // scene_length)
        coarse = chance.normal(128, strength, (24, 48))
        y = np.kron(coarse, np.ones((4, 4)))[: SIZE[1], index % 40 :][:, : SIZE[0]]
        y = np.clip(y, 0, 255).astype(np.uint8)
        chroma = np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
        frames.append(Frame(y, chroma, chroma, index, 1))
    return frames


@pytest.fixture
def clip(tmp_path):
    return KIT["write_clip"](tmp_path / "clip.y4m", pictures(80))


def fullness_peak(path, rate_bps, buffer_s):
    """Of the bucket that the packets of a file fill, in bits."""
    bucket = LeakyBucket(rate_bps, buffer_s)
    with ContainerReader(path) as reader:
        header = reader.header
    for packet in KIT["packets_of"](path):
        code, fields = pack_frame(packet.header, header)
        size = len(seal_packet(code, fields + packet.payload, DEFAULT_LIMITS))
        bucket.pour(float(packet.header.pts * header.time_base), 8 * size)
    return bucket.peak


def hold(source, path, toy, rate_kbps, notes=None, structure="low-delay", **target):
    settings = EncodeSettings(model=toy, structure=structure)
    note = (lambda _: None) if notes is None else notes.append
    goal = Target(rate_kbps=rate_kbps, passes=1, **target)
    return encode_to_target(str(source), path, settings, goal, note=note)


class Simulated:
    """An encoder whose frames take what they are told to; remembers what it was asked."""

    def __init__(self, costs, **plan):
        self.plan = make_plan(("low-delay", "all-intra"), **plan)
        self.state, self.costs, self.calls = EncoderState(Order(self.plan)), costs, []

    def begin_scene(self):
        self.state = replace(self.state, order=self.state.order.begin_scene())

    def next_plan(self, offset=0):
        order = self.state.order
        start = order.next_index if order.is_cut else order.period_start
        return self.plan.frame(order.next_index + offset, start)

    def encode(self, frame, *, crf):
        return self.encode_batch([frame], crf=crf)[0]

    def encode_batch(self, frames, *, crf):
        coded = []
        for frame in frames:
            plan = self.next_plan()
            self.calls.append(plan.display_index)
            fields = {"frame_type": plan.frame_type, "references": plan.references}
            quality = crf_to_units(crf)
            index = plan.display_index
            header = FrameHeader(display_index=index, pts=frame.pts, quality=quality, **fields)
            bits = self.costs[index] * (1 if not plan.references else 0.5)
            payload = bytes(round(bits * math.exp(-quality / 256 / 15) / 8))
            coded.append(CodedPicture(header, payload, frame, quality / 256))
            self.state = replace(self.state, order=self.state.order.take(None)[0])
        return coded


def run(encoder, pace, batch=1, cuts=(), details=None):
    """Code everything with an encoder; give the one pass, and what it coded."""
    count = len(encoder.costs)
    plane = np.zeros((2, 2), np.uint8)
    sights = [
        Sight((details or encoder.costs)[i] / 1e4, None if i in (0, *cuts) else 3.0, i in cuts)
        for i in range(count)
    ]
    sources = []
    for i in reversed(range(count)):
        frame = Frame(plane, plane[:1, :1], plane[:1, :1], i, 1)
        seen = tuple(sights[i : i + pace.look_ahead + 1])
        after = sources[-1] if sources and pace.look_ahead else None
        sources.append(SourceFrame(frame, i in cuts, seen, after))
    sources.reverse()
    one_pass = OnePass(encoder, pace, KIT["video_format"](416, 240), lambda _, data: 18 + len(data))
    coded = [c for i in range(0, count, batch) for c in one_pass.code(sources[i : i + batch])]
    return one_pass, coded


def rate_of(coded):
    return sum(8 * (21 + len(picture.payload)) for picture in coded) * 25 / len(coded)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("look_ahead", [0, 8])
def test_rates_are_held_frame_by_frame_and_in_batches(batch, look_ahead):
    costs = [2e5] * 120 + [6e5] * 100 + [1e5] * 80
    structure = "low-delay" if batch == 1 else "all-intra"
    encoder = Simulated(costs, structure=structure)
    pace = Pace(rate_bps=500e3, look_ahead=look_ahead)
    one_pass, coded = run(encoder, pace, batch, cuts=(120, 220))
    assert rate_of(coded) == pytest.approx(500e3, rel=0.02)
    assert one_pass.bucket.peak <= one_pass.bucket.size
    assert [picture.header.display_index for picture in coded] == list(range(300))
    intra = [c.header.display_index for c in coded if c.header.frame_type == FrameType.I]
    assert batch == 4 or intra == [0, 32, 64, 96, 120, 152, 184, 216, 220, 252, 284]
    assert one_pass.overflows == []


def test_a_scene_is_tried_with_its_second_frame_before_it_begins():
    encoder = Simulated([4e5] * 40, intra_period=-1)
    _, coded = run(encoder, Pace(rate_bps=300e3))
    assert encoder.calls[:4] == [0, 1, 0, 1]
    assert encoder.calls[4:] == list(range(2, 40))
    qualities = [picture.header.quality / 256 for picture in coded]
    assert max(qualities) - min(qualities) < 3
    encoder = Simulated([4e5] * 40, intra_period=-1)
    run(encoder, Pace(rate_bps=300e3, look_ahead=0))
    assert encoder.calls[:3] in ([0, 0, 1], [0, 1, 2])


def test_a_frame_that_would_overflow_is_coded_again():
    """It takes twenty times as much as it seems to."""
    costs = [2e5] * 100
    costs[50] = 4e6
    encoder = Simulated(costs, intra_period=-1)
    pace = Pace(rate_bps=300e3, buffer_s=0.25)
    one_pass, coded = run(encoder, pace, details=[2e5] * 100)
    assert encoder.calls.count(50) > 1
    assert encoder.calls.count(49) == encoder.calls.count(51) == 1
    assert one_pass.bucket.peak <= one_pass.bucket.size
    assert one_pass.overflows == []
    assert len(coded) == 100


def test_a_batch_of_which_one_would_overflow_is_coded_one_by_one():
    costs = [2e5] * 40
    costs[22] = 4e6
    encoder = Simulated(costs, structure="all-intra")
    pace = Pace(rate_bps=600e3, buffer_s=0.2)
    one_pass, coded = run(encoder, pace, batch=4, details=[2e5] * 40)
    place = encoder.calls.index(20)
    assert encoder.calls[place : place + 8] == [20, 21, 22, 23, 20, 21, 22, 22]
    assert [picture.header.display_index for picture in coded] == list(range(40))
    assert one_pass.bucket.peak <= one_pass.bucket.size


def test_what_overflows_at_crf_63_is_counted():
    costs = [2e5] * 20
    costs[10] = 1e7
    one_pass, coded = run(Simulated(costs, intra_period=-1), Pace(rate_bps=300e3, buffer_s=0.2))
    assert one_pass.overflows[0] == 10
    assert coded[10].header.quality == 63 * 256


def test_a_file_of_intra_frames_is_held(tmp_path, tiny_model):
    clip = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](60, (64, 48)))
    path = tmp_path / "a.kin"
    report = hold(clip, path, tiny_model, 29.0, structure=None)
    assert report.rate_kbps == pytest.approx(29.0, rel=0.04)
    assert fullness_peak(path, 29_000, 1.0) <= 29_000
    assert 0 < report.buffer_peak_s <= 1
    packets = KIT["packets_of"](path)
    assert len({packet.header.quality for packet in packets}) > 3
    assert report.crf == pytest.approx(np.mean([p.header.quality / 256 for p in packets]))
    assert verify_file(path).num_frames == 60


@pytest.mark.parametrize("target", [{}, {"look_ahead": 0, "buffer_s": 0.4}])
def test_a_file_with_p_frames_stays_within_its_buffer(tmp_path, clip, toy, target):
    path, buffer_s = tmp_path / "a.kin", target.get("buffer_s", 1.0)
    report = hold(clip, path, toy, 16.0, **target)
    assert fullness_peak(path, 16_000, buffer_s) <= 16_000 * buffer_s
    assert report.rate_kbps == pytest.approx(16.0, rel=0.1)
    kinds = "".join(packet.header.frame_type.name for packet in KIT["packets_of"](path))
    assert [i for i, kind in enumerate(kinds) if kind == "I"] == [0, 32, 40, 72]
    assert verify_file(path, model=toy).num_frames == 80


def test_standard_input_is_held_in_one_pass(tmp_path, clip, toy, monkeypatch):
    with clip.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        settings = EncodeSettings(model=toy)
        report = encode_to_target("-", tmp_path / "a.kin", settings, Target(rate_kbps=16.0))
    assert report.rate_kbps == pytest.approx(16.0, rel=0.1)
    assert report.buffer_peak_s <= 1


def test_a_rate_that_no_crf_reaches_is_told_once(tmp_path, clip, toy):
    notes = []
    report = hold(clip, tmp_path / "a.kin", toy, 2.0, notes, buffer_s=0.5)
    assert report.num_frames == 80
    assert report.buffer_peak_s > 0.5
    (line,) = notes
    assert line.startswith("bitrate 2 kbit/s is too low for ")
    assert "overflow the buffer of 0.5 s" in line


def test_python_has_the_same_options(tmp_path, clip, toy):
    settings = {"rate_kbps": 20.0, "passes": 1, "buffer_s": 0.5, "look_ahead": 4}
    report = kinema.encode(clip, tmp_path / "a.kin", model=toy, **settings)
    assert report.figures()["buffer_peak_s"] <= 0.5
    constant = kinema.encode(clip, tmp_path / "b.kin", model=toy)
    assert "buffer_peak_s" not in constant.figures()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"psnr_db": 30.0, "passes": 1}, "go with a bitrate only"),
        ({"size_bytes": 3000, "buffer_s": 1.0}, "go with a bitrate only"),
        ({"rate_kbps": 45.0, "passes": 2, "buffer_s": 1.0}, "for one pass"),
        ({"rate_kbps": 45.0, "passes": 3}, "3 passes, expected 1 or 2"),
        ({"rate_kbps": 45.0, "buffer_s": 0.0}, "buffer 0, expected"),
        ({"rate_kbps": 45.0, "look_ahead": -1}, "look-ahead -1, expected 0 to"),
        ({"buffer_s": 1.0}, "one of bitrate, size and PSNR"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, clip, toy, target, message):
    with pytest.raises(ConfigError, match=message):
        encode_to_target(str(clip), tmp_path / "a.kin", EncodeSettings(model=toy), Target(**target))
    assert not (tmp_path / "a.kin").exists()


def test_files_are_searched_unless_a_buffer_is_asked_for():
    assert Target(rate_kbps=1.0).num_passes("a.mkv") == 2
    assert Target(rate_kbps=1.0).num_passes("-") == 1
    assert Target(rate_kbps=1.0, passes=2).num_passes("-") == 2
    assert Target(rate_kbps=1.0, buffer_s=1.0).num_passes("a.mkv") == 1
    assert Target(psnr_db=30.0).num_passes("-") == 2


def test_frames_are_seen_ahead_in_order():
    sound, frames = AudioPacket(0, 0, 0, 0, True, b""), pictures(12, 6)
    items = [frames[0], sound, *frames[1:]]
    for look_ahead in (0, 1, 5):
        seen = list(foresee(items, with_scenes=True, look_ahead=look_ahead))
        assert seen[1] is sound
        sources = [item for item in seen if isinstance(item, SourceFrame)]
        assert [source.frame.pts for source in sources] == list(range(12))
        assert [source.is_cut for source in sources] == [i == 6 for i in range(12)]
        assert all(source.sights[0].is_cut == source.is_cut for source in sources)
        assert max(len(source.sights) for source in sources) <= look_ahead + 1
    assert len(sources[2].sights) == 4
    assert sources[2].after.frame is frames[3]
    assert sources[2].after.sights == sources[2].sights[1:]
    assert sources[11].after is None


def test_a_sight_tells_detail_and_change():
    flat, other = pictures(1, strength=0.0)[0], pictures(1, strength=40.0)[0]
    assert look(flat, None, is_cut=False).detail == 0
    assert look(flat, None, is_cut=False).change is None
    assert look(other, flat, is_cut=False).detail > 5
    assert look(other, flat, is_cut=False).change == pytest.approx(
        np.abs(other.y[::2].astype(float) - flat.y[::2]).mean()
    )
    assert look(other, flat, is_cut=True).change is None
    single = Frame(*(np.zeros((1, 1), np.uint8) for _ in range(3)), 0)
    assert look(single, None, is_cut=False).detail == 0
