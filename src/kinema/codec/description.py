"""What is in a `.kin` file, from its headers and index alone; quick, and without torch."""

from pathlib import Path

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.framing import PacketType, seal_packet
from kinema.bitstream.headers import FrameType, SequenceHeader
from kinema.bitstream.limits import DEFAULT_LIMITS
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket, pack_audio
from kinema.codec.structure import structure_name
from kinema.errors import WeightsMismatchError
from kinema.models.registry import model_name


def describe(source: Path) -> dict[str, object]:
    """Read headers and packets.

    Returns:
        facts by name, ready for JSON.

    Raises:
        FileError, BitstreamError: the file cannot be opened, or its header is damaged.
    """
    with ContainerReader(source) as reader:
        header = reader.header
        frames, intra_frames, audio_bytes, damaged = 0, 0, 0, 0
        qualities: list[int] = []
        duration = 0
        for packet in reader.packets():
            if isinstance(packet, FramePacket):
                frames += 1
                intra_frames += packet.header.frame_type == FrameType.I
                qualities.append(packet.header.quality)
                duration += packet.header.duration
            elif isinstance(packet, AudioPacketData):
                audio_bytes += _size_bytes(packet, header)
            elif isinstance(packet, DamagedPacket):
                damaged += 1
        seconds = float(duration * header.time_base) or frames / float(header.frame_rate)
        video_bytes = reader.size_bytes - audio_bytes
        return {
            "file": str(source),
            **_picture_facts(header),
            "model": model_of(header),
            "weights": header.weights_fingerprint.hex(),
            "structure": structure_name(header.structure),
            "intra_period": header.intra_period,
            "frames": frames,
            "intra_frames": intra_frames,
            "seconds": round(seconds, 3),
            "crf": _range(qualities),
            "size_bytes": reader.size_bytes,
            "audio_bytes": audio_bytes,
            "audio": ", ".join(
                f"{t.codec} {t.sample_rate} Hz {t.layout}" for t in header.audio_tracks
            )
            or "none",
            "rate_kbps": round(8 * video_bytes / max(seconds, 1e-9) / 1000, 3),
            "bpp": round(8 * video_bytes / max(frames * header.width * header.height, 1), 6),
            "damaged_places": damaged,
        }


def _size_bytes(packet: AudioPacketData, header: SequenceHeader) -> int:
    """What an audio packet takes in the file."""
    return len(seal_packet(PacketType.AUDIO, pack_audio(packet, header), DEFAULT_LIMITS))


def _picture_facts(header: SequenceHeader) -> dict[str, object]:
    return {
        "width": header.width,
        "height": header.height,
        "frame_rate": str(header.frame_rate),
        "sample_aspect_ratio": str(header.sample_aspect_ratio).replace("/", ":"),
        "rotation": header.rotation,
        "color": f"matrix {header.matrix}, primaries {header.primaries}, "
        f"transfer {header.transfer}, {'full' if header.full_range else 'limited'} range",
    }


def model_of(header: SequenceHeader) -> str:
    """Name the model that a file was made with."""
    try:
        return model_name(header.model_number)
    except WeightsMismatchError:
        return f"unknown ({header.model_number})"


def _range(qualities: list[int]) -> str:
    if not qualities:
        return "none"
    low, high = min(qualities) / 256, max(qualities) / 256
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
