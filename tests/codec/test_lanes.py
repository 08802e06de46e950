"""Runs of frames side by side give the pictures that one after the other gives."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinema.codec.batches import window_length
from kinema.codec.decoder import Decoder, decode_each
from kinema.codec.encoder import Encoder
from kinema.codec.reader import KinReader
from kinema.errors import BitstreamError, MissingReferenceError
from kinema.video.frame import Frame

TESTS = Path(__file__).parents[1]
KIT = runpy.run_path(str(Path(__file__).parent / "kit.py"))
TINY = runpy.run_path(str(TESTS.parent / "conformance" / "tiny.py"))
draw, same_planes = KIT["draw"], KIT["same_planes"]
SIZE = (48, 32)
SYSTEMS = ("tiny-dual-domain", "tiny-lstvc", "tiny-cama")


@pytest.fixture(params=SYSTEMS)
def model(request):
    torch.set_num_threads(1)
    return TINY["load_tiny"](request.param)


@pytest.fixture
def coded(model):
    """Eleven pictures of several qualities, an intra frame every third."""
    encoder = Encoder(model, structure="low-delay", intra_period=3)
    return [encoder.encode(f, crf=20 + 2 * i) for i, f in enumerate(draw(11, SIZE))]


@pytest.fixture
def batches(model, monkeypatch):
    """How many pictures the network decodes at once, call by call."""
    network, counts = model.frozen.network, []
    code_frame = network.code_frame

    def counted(x, crf, *arguments):
        counts.append(len(crf))
        return code_frame(x, crf, *arguments)

    monkeypatch.setattr(network, "code_frame", counted)
    return counts


def test_runs_side_by_side_give_the_same_pictures(model, coded, batches):
    frames = Decoder(model, *SIZE).decode_batch(coded)
    assert same_planes(frames, [p.frame for p in coded])
    assert [f.pts for f in frames] == [p.header.pts for p in coded]
    assert batches == [4, 4, 3]


def test_a_run_goes_on_where_the_batch_before_ended(model, coded, batches):
    """What it remembers then is of more frames than what the others do, and not stacked."""
    decoder = Decoder(model, *SIZE)
    frames = decoder.decode_batch(coded[:1]) + decoder.decode_batch(coded[1:])
    assert sorted(batches) == [1, 1, 1, 2, 3, 3]
    assert same_planes(frames, [p.frame for p in coded])


def test_few_runs_at_a_time(model, coded, batches):
    decoder = Decoder(model, 640, 360)
    assert decoder.window == 1
    decoder = Decoder(model, *SIZE)
    decoder._num_lanes = 2
    assert decoder.window == window_length(2) == 64
    assert same_planes(decoder.decode_batch(coded), [p.frame for p in coded])
    assert batches == [2, 2, 2, 2, 2, 1]


def test_a_failing_batch_changes_nothing(model, coded):
    decoder = Decoder(model, *SIZE)
    decoder.decode(coded[0])
    with pytest.raises(MissingReferenceError):
        decoder.decode_batch([*coded[1:4], *coded[5:]])
    assert same_planes([decoder.decode(coded[1])], [coded[1].frame])


def test_damage_costs_its_own_run_only(model, coded):
    payload = bytes(byte ^ 255 for byte in coded[4].payload)
    broken = [*coded[:4], replace(coded[4], payload=payload), *coded[5:]]
    results = decode_each(Decoder(model, *SIZE), broken)
    good = [i for i, result in enumerate(results) if isinstance(result, Frame)]
    assert good == [0, 1, 2, 3, 6, 7, 8, 9, 10]
    assert all(isinstance(results[i], BitstreamError) for i in (4, 5))
    assert same_planes([results[i] for i in good], [coded[i].frame for i in good])


def test_a_file_in_bulk_is_the_file_frame_by_frame(model, tmp_path, batches):
    source = KIT["write_clip"](tmp_path / "clip.mkv", draw(9, SIZE))
    settings = {"model": model, "intra_period": 3, "structure": "low-delay"}
    kin = KIT["encoded"](tmp_path / "clip.kin", source, scene_cuts=False, **settings)
    with KinReader(kin, model=model) as reader:
        singles = list(reader)
        batches.clear()
        assert same_planes(list(reader.items(in_bulk=True)), singles)
        assert batches == [3, 3, 3]
        assert len(singles) == 9
