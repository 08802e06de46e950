"""No bytes whatever crash, hang or bloat the reader: each ends in packets, reports or an error.

`KINEMA_FUZZ_COUNT` raises the number of damaged files.
"""

import io
import os
import random
import runpy
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import AudioTrackHeader, FrameHeader, FrameType, SequenceHeader
from kinema.bitstream.limits import Limits
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket
from kinema.errors import BitstreamError

FUZZ_COUNT = int(os.environ.get("KINEMA_FUZZ_COUNT", "2000"))
SEED = 20251121
LIMITS = Limits(max_packet_bytes=1 << 20, max_index_entries=1000)
MUTATIONS = runpy.run_path(str(Path(__file__).with_name("mutations.py")))
mutate = MUTATIONS["mutate"]


def make_sample(path, *, num_frames, payload_bytes, seed):
    """Write a file of every kind of packet; its payloads are random."""
    rng = random.Random(seed)
    track = AudioTrackHeader(
        codec="aac",
        layout="5.1",
        time_base=Fraction(1, 48000),
        sample_rate=48000,
        extradata=b"\x12\x10",
    )
    sequence = SequenceHeader(
        width=640,
        height=360,
        frame_rate=Fraction(30000, 1001),
        time_base=Fraction(1, 1000),
        model_number=3,
        weights_fingerprint=rng.randbytes(8),
        usual_duration=33,
        audio_tracks=(track, track),
    )
    with ContainerWriter(path, sequence) as writer:
        for i in range(num_frames):
            frame_type = FrameType(i % 3)
            header = FrameHeader(
                frame_type=frame_type,
                display_index=i,
                pts=sequence.usual_pts(i) + rng.choice((0, 0, 5)),
                duration=rng.choice((33, 34)),
                quality=rng.choice((0, 7000)),
                references=((), (-i,), (-1, 2))[frame_type],
                flags=rng.choice((0, 1)),
                picture_hash=rng.choice((None, rng.getrandbits(32))),
            )
            writer.write_frame(header, rng.randbytes(rng.randrange(payload_bytes)))
            writer.write_audio(
                AudioPacketData(i % 2, 1024 * i, 1024 * i, 1024, True, rng.randbytes(9))
            )
    return path.read_bytes()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    shapes = ((0, 1), (1, 10), (12, 60), (12, 1500))
    return [
        make_sample(folder / f"{i}.kin", num_frames=num_frames, payload_bytes=size, seed=i)
        for i, (num_frames, size) in enumerate(shapes)
    ]


def read_everything(data):
    """Use all that a reader offers; give every packet."""
    reader = ContainerReader(io.BytesIO(data), limits=LIMITS)
    packets = list(reader.packets())
    reports = [packet for packet in packets if isinstance(packet, DamagedPacket)]
    offset = reader.first_packet_offset
    for report in reports:
        assert isinstance(report.error, BitstreamError)
        assert "\n" not in str(report.error)
        assert offset <= report.offset <= report.offset + report.length_bytes <= len(data)
        offset = report.offset + report.length_bytes
    for audio in packets:
        if isinstance(audio, AudioPacketData):
            assert audio.track < len(reader.header.audio_tracks)
            assert max(abs(audio.pts), abs(audio.dts)) <= 1 << 62
    assert all(track.codec.isascii() for track in reader.header.audio_tracks)
    frames = [packet for packet in packets if isinstance(packet, FramePacket)]
    if reader.stored_index is None:
        assert [entry.offset for entry in reader.index] == [frame.offset for frame in frames]
    for pts in (-(10**30), 0, 150, 10**30):
        start = reader.seek_offset(pts)
        assert reader.first_packet_offset <= start < len(data) or not frames
        next(reader.packets(start), None)
    return packets


def test_damaged_files_end_in_packets_reports_or_a_named_error(samples):
    num_refused = num_reports = 0
    for i in range(FUZZ_COUNT):
        rng = random.Random(SEED + i)
        name, damaged = mutate(rng.choice(samples), rng)
        try:
            packets = read_everything(damaged)
        except BitstreamError as error:
            message = str(error)
            num_refused += 1
            assert "\n" not in message
        except Exception as error:
            raise AssertionError(f"case {i}, {name}: {error!r}") from error
        else:
            num_reports += any(isinstance(packet, DamagedPacket) for packet in packets)
    assert num_refused > FUZZ_COUNT // 50  # the mutations reach both outcomes
    assert num_reports > FUZZ_COUNT // 4


def packets_by_payload(data):
    frames = (p for p in read_everything(data) if isinstance(p, FramePacket))
    return {(frame.header.display_index, frame.payload) for frame in frames}


def test_every_frame_that_the_damage_spared_is_read(samples):
    """Random damage behind the opening never costs a frame whose bytes are all still there."""
    data = samples[3]
    reader = ContainerReader(io.BytesIO(data))
    bounds = [entry.offset for entry in reader.index] + [len(data)]
    intact = {
        (p.header.display_index, p.payload): data[p.offset : bounds[i + 1]]
        for i, p in enumerate(p for p in reader.packets() if isinstance(p, FramePacket))
    }
    for i in range(FUZZ_COUNT // 8):
        rng = random.Random(SEED + i)
        name = rng.choice(("flip_bits", "set_bytes", "randomize", "truncate", "remove", "insert"))
        damaged = MUTATIONS["MUTATIONS"][name](data[bounds[0] :], rng)
        spared = {key for key, packet in intact.items() if packet in damaged}
        assert spared <= packets_by_payload(data[: bounds[0]] + damaged), f"case {i}, {name}"


@pytest.mark.parametrize(
    "filling",
    [
        b"\xd5\xa0\xd5\xa1",  # starts, each with an endless size
        b"\xd5\xa0\x01",  # one-byte packets with a wrong checksum
        b"\xd5\xa0\x80\x80\x08",  # each as long as 128 KiB
        b"\xd5\xa0\xff\xff\x3f",  # each as long as the limit
        b"\xd5\xae\x00\x00",
        b"\xd5",
        b"\0",
    ],
)
def test_hostile_searches_stay_fast_and_small(samples, filling):
    opening = samples[0][: ContainerReader(io.BytesIO(samples[0])).first_packet_offset]
    data = opening + filling * ((1 << 20) // len(filling))
    file = io.BytesIO(data)
    tracemalloc.start()
    start = time.process_time()
    reports = list(ContainerReader(file, limits=LIMITS).packets())
    seconds, peak_bytes = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(reports) == 1
    assert seconds < 10  # 0.2 typically
    assert peak_bytes < 4 * LIMITS.max_packet_bytes


def test_many_short_stretches_of_damage_stay_linear(samples):
    """Good and bad packets in turn: the search between them must not read far ahead."""
    data = samples[2]
    reader = ContainerReader(io.BytesIO(data))
    first, second = reader.index[0].offset, reader.index[1].offset
    pair = data[first:second] + b"\xd5"
    file = io.BytesIO(data[:first] + pair * 4000)
    reader = ContainerReader(file, limits=Limits())
    num_reports = sum(isinstance(packet, DamagedPacket) for packet in reader.packets())
    assert num_reports >= 4000
    assert reader._source.bytes_read < 20 * reader.size_bytes
