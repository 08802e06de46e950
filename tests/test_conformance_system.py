"""Tier C: `conformance/vectors.toml` pins the pictures that committed streams decode to."""

import hashlib
import runpy
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import kinema
from kinema import errors
from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.packets import FramePacket
from kinema.codec.decoder import Decoder
from kinema.codec.encoder import Encoder

FOLDER = Path(__file__).parents[1] / "conformance"
TINY = runpy.run_path(str(FOLDER / "tiny.py"))
VECTORS = tomllib.loads((FOLDER / "vectors.toml").read_text())
NUM_VECTORS = {"stream": 37, "negative": 13}  # may only grow
SIZE_SLACK = 1.02  # an encoder is free; it may not become worse unnoticed


@cache
def load(weights):
    return TINY["load_tiny"](weights)


@pytest.fixture
def tiny(vector):
    """The system that a vector was made with; a negative's is that of its stream."""
    streams = {stream["name"]: stream for stream in VECTORS["stream"]}
    return load((vector if "weights" in vector else streams[vector["stream"]])["weights"])


def named(kind):
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


def stream_of(name):
    return FOLDER / "streams" / f"{name}.kin"


def packets_of(path):
    with ContainerReader(path) as reader:
        packets = list(reader.packets())
        assert all(isinstance(packet, FramePacket) for packet in packets)
        return reader.header, packets


@named("stream")
def test_stream_decodes_to_the_pinned_pictures(vector, tiny):
    path = stream_of(vector["name"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == vector["sha256"]
    assert tiny.fingerprint.hex() == vector["weights_fingerprint"]
    with kinema.open(path, model=tiny) as reader:
        assert (reader.header.width, reader.header.height) == (vector["width"], vector["height"])
        assert reader.header.model_number == vector["model_number"]
        assert reader.header.numeric_profile == vector["numeric_profile"]
        frames = list(reader)
    assert reader.lost == []
    assert len(frames) == vector["num_frames"]
    assert TINY["digest_of"](frames) == vector["decoded_sha256"]


@named("stream")
def test_stream_decodes_alike_one_frame_at_a_time(vector, tiny):
    header, packets = packets_of(stream_of(vector["name"]))
    decoder = Decoder(tiny, header.width, header.height)
    frames = [decoder.decode(packet) for packet in packets]
    assert TINY["digest_of"](frames) == vector["decoded_sha256"]


@named("stream")
def test_encoding_anew_costs_no_more_and_decodes(vector, tiny):
    """An encoder's floats may choose other symbols elsewhere: bytes are not pinned, sizes are."""
    header, packets = packets_of(stream_of(vector["name"]))
    times = [(packet.header.pts, packet.header.duration) for packet in packets]
    size = (header.width, header.height)
    frames = TINY["draw_frames"](vector["content"], size, times)
    plan = {"intra_period": vector.get("intra_period"), "refresh": vector.get("refresh", 0)}
    crf = [vector["crf"] + vector.get("crf_step", 0) * i for i in range(len(frames))]
    coded = Encoder(tiny, **plan).encode_batch(frames, crf=crf)
    committed = sum(len(packet.payload) for packet in packets)
    assert sum(len(picture.payload) for picture in coded) <= committed * SIZE_SLACK + 8
    decoder = Decoder(tiny, *size)
    for picture in coded:
        decoded = decoder.decode(FramePacket(picture.header, picture.payload, 0))
        assert TINY["digest_of"]([decoded]) == TINY["digest_of"]([picture.frame])


def changed(vector, path):
    """Write the negative's stream: a field or payload is another, or a packet is missing."""
    header, packets = packets_of(stream_of(vector["stream"]))
    fields = vector.get("header", {})
    if "weights_fingerprint" in fields:
        fields = fields | {"weights_fingerprint": bytes.fromhex(fields["weights_fingerprint"])}
    with ContainerWriter(path, replace(header, **fields)) as writer:
        for index, packet in enumerate(packets):
            if index in vector.get("drop", []):
                continue
            payload = packet.payload + bytes.fromhex(vector.get("append", ""))
            writer.write_frame(replace(packet.header, **vector.get("frame", {})), payload)


def read_all(path, model):
    """Open a file, and decode every packet of it."""
    with kinema.open(path, model=model) as reader:
        _, packets = packets_of(path)
        Decoder(model, reader.header.width, reader.header.height).decode_batch(packets)


@named("negative")
def test_negative_stream_ends_in_its_named_error(vector, tiny, tmp_path):
    path = tmp_path / "changed.kin"
    changed(vector, path)
    error = getattr(errors, vector["error"])
    model = None if vector["name"] == "other-model" else tiny  # None: the one the file names
    with pytest.raises(error) as caught:
        read_all(path, model)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_no_vector_was_lost():
    assert {kind: len(VECTORS[kind]) for kind in NUM_VECTORS} == NUM_VECTORS
    streams = {path.stem for path in (FOLDER / "streams").glob("*.kin")}
    assert streams == {vector["name"] for vector in VECTORS["stream"]}
