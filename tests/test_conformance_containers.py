"""Tier A: `conformance/containers.toml` pins the container format, byte by byte."""

import io
import re
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from kinema import errors
from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import (
    AudioTrackHeader,
    CodingStructure,
    FrameHeader,
    FrameType,
    SequenceHeader,
)
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket

VECTORS = tomllib.loads((Path(__file__).parents[1] / "conformance/containers.toml").read_text())
NUM_VECTORS = {"file": 6, "damaged": 16, "negative": 21}  # may only grow
FRACTIONS = ("frame_rate", "time_base", "sample_aspect_ratio")


def each(kind):
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


def bytes_of(vector):
    return bytes.fromhex(re.sub(r"#.*", "", vector["bytes"]))


def reader_of(vector):
    return ContainerReader(io.BytesIO(bytes_of(vector)))


def header_of(vector):
    values = dict(VECTORS["headers"][vector["header"]])
    values |= {name: Fraction(values[name]) for name in FRACTIONS if name in values}
    values["weights_fingerprint"] = bytes.fromhex(values["weights_fingerprint"])
    values["structure"] = CodingStructure[values.get("structure", "ALL_INTRA")]
    tracks = (dict(track) for track in values.get("audio_tracks", ()))
    values["audio_tracks"] = tuple(
        AudioTrackHeader(
            **track
            | {"time_base": Fraction(track["time_base"])}
            | {"extradata": bytes.fromhex(track.get("extradata", ""))}
        )
        for track in tracks
    )
    return SequenceHeader(**values)


def packet_of(values):
    values = dict(values)
    offset = values.pop("offset")
    if "track" in values:
        return AudioPacketData(**values | {"data": bytes.fromhex(values["data"])})
    payload = bytes.fromhex(values.pop("payload"))
    frame_type, references = FrameType[values["frame_type"]], tuple(values["references"])
    header = FrameHeader(**values | {"frame_type": frame_type, "references": references})
    return FramePacket(header, payload, offset)


def report_of(report):
    values = {
        "offset": report.offset,
        "length_bytes": report.length_bytes,
        "error": type(report.error).__name__,
    }
    return values if report.lost_frames is None else values | {"lost_frames": [*report.lost_frames]}


def test_no_vector_was_lost():
    assert {kind: len(VECTORS[kind]) for kind in NUM_VECTORS} == NUM_VECTORS


@each("file")
def test_file_reads_as_written_down(vector):
    reader = reader_of(vector)
    assert reader.header == header_of(vector)
    assert list(reader.packets()) == [packet_of(values) for values in vector["packets"]]
    assert [entry.offset for entry in reader.index] == vector["index_offsets"]


@each("file")
def test_writing_gives_exactly_these_bytes(vector, tmp_path):
    path = tmp_path / "again.kin"
    with ContainerWriter(path, header_of(vector)) as writer:
        for packet in map(packet_of, vector["packets"]):
            if isinstance(packet, FramePacket):
                writer.write_frame(packet.header, packet.payload)
            else:
                writer.write_audio(packet)
    assert (path.read_bytes() == bytes_of(vector)) == vector["writes_back"]


@each("damaged")
def test_damaged_file_yields_the_rest_and_reports(vector):
    reader = reader_of(vector)
    packets = list(reader.packets())
    sound = [packet for packet in packets if not isinstance(packet, DamagedPacket)]
    reports = [packet for packet in packets if isinstance(packet, DamagedPacket)]
    assert sound == [packet_of(values) for values in vector["packets"]]
    assert [report_of(report) for report in reports] == vector["reports"]
    assert [entry.offset for entry in reader.index] == vector["index_offsets"]


@each("negative")
def test_negative_ends_in_its_error(vector):
    with pytest.raises(errors.KinemaError) as raised:
        reader_of(vector)
    assert type(raised.value).__name__ == vector["error"]
    assert "\n" not in str(raised.value)
