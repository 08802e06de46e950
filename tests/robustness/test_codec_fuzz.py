"""No bytes whatever make the codec show a wrong picture, crash or hang.

Damaged files end in a named error or in frames that the encoder saw. `KINEMA_FUZZ_COUNT` raises
the number of damaged files.
"""

import io
import os
import random
import runpy
import time
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.bitstream.packets import FramePacket
from kinema.codec import encoder as encoder_module
from kinema.codec.decoder import Decoder
from kinema.codec.encoder import Encoder
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import BitstreamError, KinemaError
from kinema.parts.coding import Write
from kinema.parts.laplace import NUM_FRACTIONS, NUM_SCALES
from kinema.video.frame import Frame

FUZZ_COUNT = int(os.environ.get("KINEMA_FUZZ_COUNT", "300"))
SEED = 20251122
HERE = Path(__file__)
mutate = runpy.run_path(str(HERE.with_name("mutations.py")))["mutate"]
KIT = runpy.run_path(str(HERE.parents[1] / "codec" / "kit.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


def hash_of(frame):
    value = 0
    for plane in frame.planes:
        value = zlib.crc32(plane.tobytes(), value)
    return value


@pytest.fixture
def samples(tmp_path):
    """Whole files, each with the picture hashes that its frames may have."""
    made = []
    for i, (size, count, audio) in enumerate(
        [((32, 32), 4, "aac"), ((17, 9), 5, None), ((48, 16), 3, None), ((16, 16), 1, None)]
    ):
        path = tmp_path / f"{i}.mkv"
        if audio:
            KIT["make_file"](path, count=count, size=size, audio=audio)
        else:
            KIT["write_clip"](path, KIT["draw"](count, size))
        kin = KIT["encoded"](tmp_path / f"{i}.kin", path, crf=10 + 10 * i)
        with KinReader(kin) as reader:
            made.append((kin.read_bytes(), {hash_of(frame) for frame in reader}))
    return made


def read_everything(data, model, rng):
    """Use all that a reader offers; give every frame, and every loss."""
    with KinReader(io.BytesIO(data), model=model) as reader:
        items = list(reader.items())
        frames = [item for item in items if isinstance(item, Frame)]
        assert all(a.pts < b.pts for a, b in pairwise(frames)) or reader.lost
        frames += list(reader.seek(rng.choice((0, 0.05, 1e9))))
    settings = DecodeSettings(
        start_s=rng.choice((0.0, 0.04, 0.1, 1e6)), num_frames=rng.choice((1, 2, 100, None))
    )
    with KinReader(io.BytesIO(data), model=model, settings=settings) as reader:
        list(reader.items())
    assert all("\n" not in line for line in reader.lost)
    return frames, reader.lost


def test_damaged_files_end_in_good_frames_or_a_named_error(samples, tiny_model):
    num_refused = num_whole = num_frames = 0
    slowest_s, messages = 0.0, set()
    for i in range(FUZZ_COUNT):
        rng = random.Random(SEED + i)
        data, hashes = rng.choice(samples)
        name, damaged = mutate(data, rng)
        started = time.process_time()
        try:
            frames, lost = read_everything(damaged, tiny_model, rng)
        except KinemaError as error:
            num_refused += 1
            messages.add(str(error))
        except Exception as error:
            raise AssertionError(f"case {i}, {name}: {error!r}") from error
        else:
            num_frames += len(frames)
            num_whole += not lost
            wrong = [f.pts for f in frames if hash_of(f) not in hashes]
            # a header forged with a sound checksum may ask for another size or leave out the hash
            assert not wrong or "hostile" in name or "forged" in name, f"case {i}, {name}: {wrong}"
        slowest_s = max(slowest_s, time.process_time() - started)
    assert num_refused > FUZZ_COUNT // 50
    assert num_whole < FUZZ_COUNT
    assert num_frames > FUZZ_COUNT
    assert slowest_s < 10
    assert not any("\n" in message for message in messages)


def packet(payload, picture_hash=None, quality=5000):
    header = FrameHeader(
        frame_type=FrameType.I, display_index=0, pts=0, quality=quality, picture_hash=picture_hash
    )
    return FramePacket(header, payload, 0)


def test_random_payloads_give_a_picture_or_a_named_error(tiny_model):
    decoder = Decoder(tiny_model, 40, 24)
    num_pictures = 0
    for i in range(FUZZ_COUNT):
        rng = random.Random(SEED + i)
        length = rng.choice((0, 1, 3, 4, 5, 8, 40, 400, 4000))
        payload = rng.choice((rng.randbytes(length), bytes([rng.choice((0, 1, 255))]) * length))
        coded = packet(payload, rng.choice((None, None, 7)), rng.choice((0, 7000, 63 * 256)))
        try:
            frame = decoder.decode(coded)
        except BitstreamError:
            continue
        except Exception as error:
            raise AssertionError(f"case {i}: {payload[:20].hex()}: {error!r}") from error
        assert frame.y.shape == (24, 40)
        num_pictures += 1
    assert num_pictures  # some are long enough


def test_damaged_payloads_of_real_pictures_are_found(tiny_model):
    encoder, decoder = Encoder(tiny_model), Decoder(tiny_model, 48, 32)
    coded = encoder.encode(KIT["draw"](1)[0], crf=15)
    for i in range(FUZZ_COUNT // 3):
        rng = random.Random(SEED + i)
        payload = bytearray(coded.payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        with pytest.raises(BitstreamError):
            decoder.decode(packet(bytes(payload), coded.header.picture_hash, coded.header.quality))


class Huge(Write):
    """Writes one symbol everywhere, whatever the picture is."""

    symbol = 0

    def carry(self, s, distribution):
        s = torch.full_like(distribution.mean, self.symbol, dtype=torch.float64)
        return super().carry(s, replace(distribution, weight=None))


@pytest.mark.parametrize("symbol", [2**19, -(2**19), 40000])
@pytest.mark.parametrize("crf", [0, 63])
def test_symbols_as_large_as_escapes_go_give_a_picture(tiny_model, symbol, crf, monkeypatch):
    """The encoder and the decoder agree even where every sum meets its limits."""
    monkeypatch.setattr(Huge, "symbol", symbol)
    monkeypatch.setattr(encoder_module, "Write", Huge)
    coded = Encoder(tiny_model).encode(KIT["draw"](1)[0], crf=crf)
    frame = Decoder(tiny_model, 48, 32).decode(coded)
    assert hash_of(frame) == coded.header.picture_hash


def test_the_tables_have_every_index_a_channel_may_ask_for(tiny_model):
    assert tiny_model.frozen.tables.num_indices == NUM_SCALES * NUM_FRACTIONS
