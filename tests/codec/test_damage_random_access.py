"""Damage to random access costs what was hit and what refers to it; hostile orders cost no memory.

`KINEMA_FUZZ_COUNT` raises the number of damaged files.
"""

import os
import random
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.codec.arrivals import Arrivals
from kinema.codec.decoder import Decoder
from kinema.codec.reader import KinReader
from kinema.codec.structure import MAX_KEPT, REACH, STRUCTURES
from kinema.errors import BitstreamError, KinemaError, MissingReferenceError

FUZZ_COUNT = int(os.environ.get("KINEMA_FUZZ_COUNT", "30"))
SEED = 20251124
FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
DAMAGE = runpy.run_path(str(FOLDER / "test_damage.py"))
Sample, read, some = DAMAGE["Sample"], DAMAGE["read"], DAMAGE["some"]
flip, blank, drop, mutate = (DAMAGE[name] for name in ("flip", "blank", "drop", "mutate"))
SIZE = (32, 16)
COUNT = 27


@pytest.fixture(scope="module")
def toy():
    torch.set_num_threads(1)
    return TOY["load_access"]()


@pytest.fixture(scope="module")
def samples(tmp_path_factory, toy):
    folder, made = tmp_path_factory.mktemp("samples"), []
    clip = KIT["write_clip"](folder / "clip.mkv", KIT["draw"](COUNT, SIZE))
    for i, period in enumerate((8, -1, 5)):
        path = KIT["encoded"](
            folder / f"{i}.kin", clip, model=toy, structure="random-access", intra_period=period
        )
        packets = KIT["packets_of"](path)
        with KinReader(path, model=toy) as reader:
            frames = list(reader)
        data, last = path.read_bytes(), packets[-1]
        ends = [packet.offset for packet in packets[1:]]
        ends.append(data.index(last.payload, last.offset) + len(last.payload) + 4)
        made.append(Sample(data, packets, ends, frames))
    return made


def survivors(sample, hit):
    """Display indices of what must decode when packets at some places are hit."""
    alive = set()
    for place, packet in enumerate(sample.packets):
        index = packet.header.display_index
        if place not in hit and all(index + d in alive for d in packet.header.references):
            alive.add(index)
    return sorted(alive)


def check_frames(sample, indices, frames):
    assert [frame.pts for frame in frames] == [sample.frames[i].pts for i in indices]
    assert KIT["same_planes"](frames, [sample.frames[i] for i in indices])


def named(lines):
    """Display indices that some lines tell about, or that lie among those they tell about."""
    found = set()
    for line in lines:
        match = re.match(r"(?:\d+ frames from|frames?) (\d+)(?: to (\d+))? lost: ", line)
        if match:
            found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
        root = re.search(r"refers? to frame (\d+), which", line)
        found |= {int(root[1])} if root else set()
    return found


@pytest.mark.parametrize("harm", [flip, blank, drop])
def test_damage_costs_exactly_what_needs_it(samples, toy, harm):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        hit = some(rng, len(sample.packets))
        alive = survivors(sample, hit)
        frames, lines = read(harm(sample, hit, rng), toy)
        check_frames(sample, alive, frames)
        lost = set(range(COUNT)) - set(alive)
        if harm is drop:  # nothing tells of what the last packets held
            came = {p.header.display_index for i, p in enumerate(sample.packets) if i not in hit}
            lost &= set(range(max(came, default=-1) + 1))
        assert lost <= named(lines), (case, lines)


def test_files_without_an_index_tell_the_same(samples, toy):
    for case in range(FUZZ_COUNT // 2):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        place = rng.randrange(1, len(sample.packets) - 1)
        data = blank(sample, {place}, rng)[: sample.ends[-1]]
        alive = survivors(sample, {place})
        frames, lines = read(data, toy)
        check_frames(sample, alive, frames)
        assert set(range(COUNT)) - set(alive) <= named(lines), (case, lines)


def test_ranges_of_damaged_files_hold_what_can_be_decoded(samples, toy):
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        hit = some(rng, len(sample.packets))
        first, count = rng.randrange(COUNT), rng.randrange(1, 9)
        wanted = [i for i in survivors(sample, hit) if first <= i < first + count]
        frames, _ = read(flip(sample, hit, rng), toy, start_s=first / 25, num_frames=count)
        check_frames(sample, wanted, frames)


def test_any_packets_in_any_order_give_the_right_picture_or_a_named_error(samples, toy):
    num_frames = num_refused = 0
    for case in range(FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample, decoder = rng.choice(samples), Decoder(toy, *SIZE, structure="random-access")
        packets = rng.choices(sample.packets, k=40)
        if case % 2:
            packets.sort(key=lambda packet: packet.offset)
        for packet in packets:
            try:
                frame = decoder.decode(packet)
            except MissingReferenceError:
                num_refused += 1
                continue
            num_frames += 1
            assert len(decoder._memories.kept) <= MAX_KEPT
            check_frames(sample, [packet.header.display_index], [frame])
    assert num_frames > FUZZ_COUNT
    assert num_refused > FUZZ_COUNT


def forged(sample, rng):
    """A file whose headers lie, with sound checksums: indices, references, types, times."""
    packets = list(sample.packets)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(packets))
        packet = packets[place]
        index = rng.choice((packet.header.display_index, rng.randrange(40), 2**32 - 1, 5000))
        references = rng.choice(((), (-1,), (-1, 1), (-4, 4), (-16, 16), (1, -1), (-3, 1)))
        kinds = {0: FrameType.I, 1: FrameType.P, 2: FrameType.B}
        fields = {"display_index": index, "frame_type": kinds[len(references)]}
        if rng.random() < 0.3:
            fields = {"pts": rng.randrange(-100, 3000)}
            references = packet.header.references
        try:
            header = replace(packet.header, references=references, **fields)
        except BitstreamError:
            continue
        packets[place] = replace(packet, header=header)
    if rng.random() < 0.5:
        packets.insert(rng.randrange(len(packets)), rng.choice(packets))
    return packets


def test_forged_headers_give_frames_in_order_or_named_errors(samples, toy, tmp_path):
    path, num_frames = tmp_path / "forged.kin", 0
    (tmp_path / "sound.kin").write_bytes(samples[0].data)
    with ContainerReader(tmp_path / "sound.kin") as reader:
        header = reader.header
    for case in range(2 * FUZZ_COUNT):
        packets = forged(samples[0], random.Random(SEED + case))
        with ContainerWriter(path, header, overwrite=True) as writer:
            for packet in packets:
                writer.write_frame(packet.header, packet.payload)
        try:
            frames, lines = read(path.read_bytes(), toy)
        except KinemaError:
            continue
        times = [frame.pts for frame in frames]
        assert times == sorted(set(times)), case
        assert not any("\n" in line for line in lines)
        num_frames += len(frames)
    assert num_frames > FUZZ_COUNT


def test_a_frame_that_comes_twice_is_left_out(samples, toy, tmp_path):
    path, sample = tmp_path / "twice.kin", samples[0]
    path.write_bytes(sample.data)
    with ContainerReader(path) as reader:
        header = reader.header
    packets = [*sample.packets[:5], sample.packets[3], *sample.packets[5:]]
    with ContainerWriter(path, header, overwrite=True) as writer:
        for packet in packets:
            writer.write_frame(packet.header, packet.payload)
    frames, lines = read(path.read_bytes(), toy)
    check_frames(sample, range(COUNT), frames)
    index = sample.packets[3].header.display_index
    assert [line.partition(":")[0] for line in lines] == [f"frame {index} left out"]


def test_arrivals_are_counted_in_bounded_memory():
    structure = STRUCTURES["random-access"]
    for case in range(20):
        rng = random.Random(case)
        arrivals = Arrivals(structure, rng.choice((0, None)))
        for _ in range(400):
            index = rng.choice((rng.randrange(80), rng.randrange(10**6), 2**32 - 40))
            references = rng.choice(
                ((), (-1,), (-REACH,), (-1, 1), (-16, 16), (-4, 5), (7,), (-5000, 1), (-1, -2, -3))
            )
            if index + min(references, default=0) < 0:
                continue
            arrivals.take(forged_header(index, references))
            assert len(arrivals._came) <= REACH + 1


def forged_header(index, references):
    return FrameHeader(
        frame_type=FrameType(min(len(references), 2)),
        display_index=index,
        pts=index,
        quality=0,
        references=references,
    )


def test_whatever_bytes_come_nothing_crashes(samples, toy):
    for case in range(2 * FUZZ_COUNT):
        rng = random.Random(SEED + case)
        sample = rng.choice(samples)
        name, data = mutate(sample.data, rng)
        settings = {"start_s": rng.choice((0, 0, 0.2)), "num_frames": rng.choice((None, None, 3))}
        try:
            frames, lines = read(data, toy, **settings)
        except KinemaError:
            continue
        except Exception as error:
            raise AssertionError(f"case {case}, {name}: {error!r}") from error
        assert not any("\n" in line for line in lines)
        if "hostile" not in name and "forged" not in name:
            pictures = {frame.y.tobytes() for frame in sample.frames}
            assert all(frame.y.tobytes() in pictures for frame in frames), f"case {case}, {name}"
