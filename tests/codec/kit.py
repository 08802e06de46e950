"""What tests of the codec share: the tiny system in place of the shipped one, and small videos.

Loaded by path; the fixtures become those of the module that takes them.
"""

import json
import runpy
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from kinema import cli
from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.packets import FramePacket
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.models import registry
from kinema.models.intra import IntraCodec
from kinema.video.frame import Frame
from kinema.video.writing import create_video

TESTS = Path(__file__).parents[1]
TINY = runpy.run_path(str(TESTS.parent / "conformance" / "tiny.py"))
VIDEO = runpy.run_path(str(TESTS / "video" / "conftest.py"))
load_tiny = TINY["load_tiny"]
make_file, read, same_planes = VIDEO["make_file"], VIDEO["read"], VIDEO["same_planes"]
video_format = VIDEO["video_format"]


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """One file that holds the tables and the networks of the tiny system."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    parts = ("tables.safetensors", "tiny-intra.safetensors")
    save_file({k: t for part in parts for k, t in load_file(TINY["WEIGHTS"] / part).items()}, path)
    card = {"fingerprint": load_tiny().fingerprint.hex(), "recipe": "none"}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


@pytest.fixture(autouse=True)
def tiny_model(tiny_weights, monkeypatch):
    """The tiny system stands in for the shipped one; gives it, loaded."""
    import torch

    torch.set_num_threads(1)
    entry = replace(
        registry.MODELS["intra"],
        build=lambda: IntraCodec(TINY["CONFIG"]),
        weights=str(tiny_weights),
    )
    monkeypatch.setitem(registry.MODELS, "intra", entry)
    return registry.load_model("intra")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: (exit status, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["kinema", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def refused(run):
    """Run a command that must fail; give its line."""

    def call(*arguments):
        status, out, err = run(*arguments)
        assert status == 2
        assert out == ""
        assert err.startswith("kinema: ")
        assert err.count("\n") == 1
        return err

    return call


def hear_ctrl_c():
    """In a process about to start: take Ctrl-C, though tests may run where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def draw(count=6, size=(48, 32), step=1) -> list[Frame]:
    """A clip with a moving square, in units of one frame."""
    return TINY["draw_frames"]("shapes", size, [(step * i, step) for i in range(count)])


def write_clip(path, frames, **settings):
    """Write frames to a lossless video file."""
    height, width = frames[0].y.shape
    with create_video(str(path), video_format(width, height, **settings)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def encoded(path, source, **settings):
    """Encode a file; give the path."""
    encode_file(str(source), path, EncodeSettings(**settings), note=lambda _: None)
    return path


def encode_tiny(path, source):
    """Encode with the tiny system as `tiny.load_tiny` gives it, for programs that load that."""
    return encoded(path, source, model=load_tiny())


def packets_of(path) -> list[FramePacket]:
    with ContainerReader(path) as reader:
        return [packet for packet in reader.packets() if isinstance(packet, FramePacket)]


def times(frames) -> list[tuple[int, int]]:
    return [(frame.pts, frame.duration) for frame in frames]


def rewritten(path, target, change=lambda packet: packet, **fields):
    """Copy the pictures of a file packet by packet, some of them or the header changed."""
    with ContainerReader(path) as reader:
        packets, header = list(reader.packets()), replace(reader.header, **fields)
    with ContainerWriter(target, header) as writer:
        for packet in packets:
            changed = change(packet)
            if changed is not None:
                writer.write_frame(changed.header, changed.payload)
    return target


def flipped(path, display_index, bit=3):
    """Flip one bit in the middle of a frame's payload, in place."""
    packet = packets_of(path)[display_index]
    data = bytearray(path.read_bytes())
    data[data.index(packet.payload, packet.offset) + len(packet.payload) // 2] ^= 1 << bit
    path.write_bytes(data)
    return packet


@pytest.fixture
def clip(tmp_path):
    """Five frames, in a file."""
    return write_clip(tmp_path / "clip.mkv", draw(5))


@pytest.fixture
def kin(tmp_path, clip):
    """The same, coded."""
    return encoded(tmp_path / "clip.kin", clip, crf=20)
