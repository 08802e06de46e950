"""Damage to sequences with P frames costs what was hit and what refers to it, and nothing else.

`KINEMA_FUZZ_COUNT` raises the number of damaged files.
"""

import io
import os
import random
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from kinema.bitstream.packets import FramePacket
from kinema.codec.decoder import Decoder
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import KinemaError
from kinema.video.frame import Frame

FUZZ_COUNT = int(os.environ.get("KINEMA_FUZZ_COUNT", "75"))
SEED = 20251123
FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
mutate = runpy.run_path(str(FOLDER.parent / "robustness" / "mutations.py"))["mutate"]
SIZE = (32, 16)
PLANS = (
    {"intra_period": 8},
    {"intra_period": -1},
    {"intra_period": -1, "refresh": 4},
    {"intra_period": 6, "refresh": 5},
    {"intra_period": 1},
    {"structure": "all-intra"},
)


@dataclass(frozen=True)
class Sample:
    """A sound file, its frame packets, and the frames that they decode to."""

    data: bytes
    packets: list[FramePacket]
    ends: list[int]  # of the packets, in the file
    frames: list[Frame]


@pytest.fixture(scope="module")
def toy():
    torch.set_num_threads(1)
    return TOY["load_toy"]()


@pytest.fixture(scope="module")
def samples(tmp_path_factory, toy):
    folder, made = tmp_path_factory.mktemp("samples"), []
    clip = KIT["write_clip"](folder / "clip.mkv", KIT["draw"](24, SIZE))
    for i, plan in enumerate(PLANS):
        path = KIT["encoded"](folder / f"{i}.kin", clip, model=toy, crf=10 + 5 * i, **plan)
        packets = KIT["packets_of"](path)
        with KinReader(path, model=toy) as reader:
            frames = list(reader)
        data = path.read_bytes()
        last = packets[-1]
        ends = [packet.offset for packet in packets[1:]]
        ends.append(data.index(last.payload, last.offset) + len(last.payload) + 4)
        made.append(Sample(data, packets, ends, frames))
    return made


def survivors(packets, hit):
    """Frames that must decode when the packets of some others are hit."""
    alive: list[int] = []
    for packet in packets:
        index = packet.header.display_index
        if index not in hit and all(index + d in alive for d in packet.header.references):
            alive.append(index)
    return alive


def some(rng, count):
    """A few frames: one, scattered ones, or a burst."""
    first = rng.randrange(count)
    burst = range(first, min(count, first + rng.randrange(2, 9)))
    return set(rng.choice(([first], rng.sample(range(count), rng.randrange(2, 6)), burst)))


def read(data, toy, **settings):
    with KinReader(io.BytesIO(data), model=toy, settings=DecodeSettings(**settings)) as reader:
        return list(reader), reader.lost


def expect(sample, indices, frames):
    assert [frame.pts for frame in frames] == [sample.frames[i].pts for i in indices]
    assert KIT["same_planes"](frames, [sample.frames[i] for i in indices])


def named(lines):
    """The frames that some lines tell to be lost."""
    lost = []
    for line in lines:
        first, last = re.match(r"frames? (\d+)(?: to (\d+))? lost: ", line).groups()
        lost += range(int(first), int(last or first) + 1)
    return lost


def flip(sample, hit, rng):
    data = bytearray(sample.data)
    for i in hit:
        data[rng.randrange(sample.packets[i].offset, sample.ends[i])] ^= 1 << rng.randrange(8)
    return bytes(data)


def blank(sample, hit, rng):
    data = bytearray(sample.data)
    for i in hit:
        begin, end = sample.packets[i].offset, sample.ends[i]
        data[begin:end] = bytes([rng.choice((0, 0xD5, 0xFF))]) * (end - begin)
    return bytes(data)


def drop(sample, hit, rng):
    kept = [p.offset for i, p in enumerate(sample.packets) if i not in hit]
    ends = {p.offset: end for p, end in zip(sample.packets, sample.ends, strict=True)}
    middle = b"".join(sample.data[begin : ends[begin]] for begin in kept)
    return sample.data[: sample.packets[0].offset] + middle + sample.data[sample.ends[-1] :]


@pytest.mark.parametrize("harm", [flip, blank])
def test_damaged_packets_cost_exactly_what_needs_them(samples, toy, harm):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        hit = some(rng, len(sample.packets))
        alive = survivors(sample.packets, hit)
        frames, lines = read(harm(sample, hit, rng), toy)
        expect(sample, alive, frames)
        gone = named(lines)
        assert sorted(gone) == [i for i in range(len(sample.packets)) if i not in alive]
        assert len(lines) <= 2 * len(hit)


def test_dropped_packets_cost_exactly_what_needs_them(samples, toy):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        hit = some(rng, len(sample.packets))
        alive = survivors(sample.packets, hit)
        frames, lines = read(drop(sample, hit, rng), toy)
        expect(sample, alive, frames)
        last = max(
            set(range(len(sample.packets))) - hit, default=-1
        )  # no packet tells of later ones
        expected = [i for i in range(last + 1) if i not in alive]
        assert sorted(named(line for line in lines if "unknown" not in line)) == expected


def test_a_cut_off_file_gives_all_that_came_before(samples, toy):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        cut = rng.randrange(sample.packets[0].offset, len(sample.data))
        frames, lines = read(sample.data[:cut], toy)
        expect(sample, [i for i, end in enumerate(sample.ends) if end <= cut], frames)
        assert lines[-1].startswith("unknown frames lost")


def test_ranges_of_damaged_files_hold_what_can_be_decoded(samples, toy):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        hit = some(rng, len(sample.packets))
        data = flip(sample, hit, rng)
        first, count = rng.randrange(len(sample.frames)), rng.randrange(1, 9)
        wanted = [i for i in survivors(sample.packets, hit) if first <= i < first + count]
        frames, _ = read(data, toy, start_s=first / 25, num_frames=count)
        expect(sample, wanted, frames)


def test_any_packets_in_any_order_give_the_right_picture_or_a_named_error(samples, toy):
    num_frames = num_refused = 0
    for case in range(FUZZ_COUNT // 3):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        decoder = Decoder(toy, *SIZE)
        packets = rng.choices(sample.packets, k=30)
        if case % 2:
            packets.sort(key=lambda packet: packet.header.display_index)
        for packet in packets:
            try:
                frame = decoder.decode(packet)
            except KinemaError:
                num_refused += 1
            else:
                num_frames += 1
                assert KIT["same_planes"]([frame], [sample.frames[packet.header.display_index]])
    assert num_frames > FUZZ_COUNT
    assert num_refused > FUZZ_COUNT


def test_no_bytes_whatever_show_a_wrong_picture(samples, toy):
    num_refused = num_frames = 0
    for case in range(2 * FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        name, data = mutate(sample.data, rng)
        settings = {"start_s": rng.choice((0, 0, 0.2)), "num_frames": rng.choice((None, None, 3))}
        try:
            frames, lines = read(data, toy, **settings)
        except KinemaError:
            num_refused += 1
            continue
        except Exception as error:
            raise AssertionError(f"case {case}, {name}: {error!r}") from error
        num_frames += len(frames)
        assert not any("\n" in line for line in lines)
        # a header forged with a sound checksum may ask for another size or leave out the hash
        if "hostile" not in name and "forged" not in name:
            pictures = {frame.y.tobytes() for frame in sample.frames}
            assert all(frame.y.tobytes() in pictures for frame in frames), f"case {case}, {name}"
    assert num_refused > FUZZ_COUNT // 50
    assert num_frames > FUZZ_COUNT
