"""What the video room knows of a file, as the bitstream room stores it, and back."""

from kinema.bitstream.headers import AudioTrackHeader, SequenceHeader
from kinema.bitstream.limits import Limits
from kinema.bitstream.packets import AudioPacketData
from kinema.codec.runtime import EXACT_INTEGERS
from kinema.codec.structure import STRUCTURES, SequencePlan, make_plan, structure_name
from kinema.errors import BitstreamError, NumericProfileError, WeightsMismatchError
from kinema.models.registry import LoadedModel
from kinema.video.frame import AudioPacket, AudioTrack, ColorDescription, Frame, VideoFormat

EVERY_FRAME_INTRA = make_plan(("all-intra",))
CODEC_LIMITS = Limits(max_samples=1 << 24)  # 16 Mpixel: nets need about 200 bytes per sample


def sequence_header(
    video: VideoFormat,
    tracks: tuple[AudioTrack, ...],
    model: LoadedModel,
    first: Frame,
    quality: int,
    plan: SequencePlan = EVERY_FRAME_INTRA,
) -> SequenceHeader:
    """Describe a sequence about to be coded; `quality` in units of 1/256 crf."""
    color = video.color
    return SequenceHeader(
        width=video.width,
        height=video.height,
        frame_rate=video.frame_rate,
        time_base=video.time_base,
        sample_aspect_ratio=video.sample_aspect_ratio,
        rotation=video.rotation,
        matrix=color.matrix,
        primaries=color.primaries,
        transfer=color.transfer,
        full_range=color.full_range,
        chroma_location=color.chroma_location,
        model_number=model.number,
        weights_fingerprint=model.fingerprint,
        numeric_profile=EXACT_INTEGERS,
        structure=plan.structure.code,
        intra_period=plan.intra_period,
        start_pts=first.pts,
        usual_duration=first.duration,
        usual_quality=quality,
        audio_tracks=tuple(
            AudioTrackHeader(
                codec=track.codec,
                time_base=track.time_base,
                sample_rate=track.sample_rate,
                layout=track.layout,
                extradata=track.extradata,
                bit_rate=track.bit_rate,
                language=track.language,
            )
            for track in tracks
        ),
    )


def video_format(header: SequenceHeader) -> VideoFormat:
    """How decoded frames are to be shown."""
    return VideoFormat(
        width=header.width,
        height=header.height,
        frame_rate=header.frame_rate,
        time_base=header.time_base,
        sample_aspect_ratio=header.sample_aspect_ratio,
        rotation=header.rotation,
        color=ColorDescription(
            matrix=header.matrix,
            primaries=header.primaries,
            transfer=header.transfer,
            full_range=header.full_range,
            chroma_location=header.chroma_location,
        ),
    )


def audio_tracks(header: SequenceHeader) -> tuple[AudioTrack, ...]:
    """The audio that a file carries."""
    return tuple(
        AudioTrack(
            codec=track.codec,
            time_base=track.time_base,
            sample_rate=track.sample_rate,
            layout=track.layout,
            extradata=track.extradata,
            bit_rate=track.bit_rate,
            language=track.language,
        )
        for track in header.audio_tracks
    )


def packed_audio(packet: AudioPacket) -> AudioPacketData:
    """An audio packet for the container."""
    return AudioPacketData(
        track=packet.track,
        pts=packet.pts,
        dts=packet.dts,
        duration=packet.duration,
        is_keyframe=packet.is_keyframe,
        data=packet.data,
    )


def unpacked_audio(packet: AudioPacketData) -> AudioPacket:
    """An audio packet from the container."""
    return AudioPacket(
        packet.track, packet.pts, packet.dts, packet.duration, packet.is_keyframe, packet.data
    )


def check_profile(header: SequenceHeader) -> None:
    """Refuse files made for other arithmetic.

    Raises:
        NumericProfileError: this version cannot decode them exactly.
    """
    if header.numeric_profile != EXACT_INTEGERS:
        raise NumericProfileError(
            f"file needs numeric profile {header.numeric_profile}, this version has "
            f"{EXACT_INTEGERS} (exact integers)"
        )


def check_decodable(header: SequenceHeader, model: LoadedModel) -> None:
    """Refuse files that a model at hand did not make.

    Raises:
        WeightsMismatchError: other weights made it.
        BitstreamError: the model knows no such coding structure.
    """
    if (header.model_number, header.weights_fingerprint) != (model.number, model.fingerprint):
        raise WeightsMismatchError(
            f"file was made by weights {header.weights_fingerprint.hex()} of model "
            f"{header.model_number}; at hand are {model.fingerprint.hex()} of model "
            f"{model.number} ({model.name})"
        )
    name = structure_name(header.structure)
    if name not in model.structures or name not in STRUCTURES:
        known = ", ".join(model.structures)
        raise BitstreamError(f"structure {name}; model {model.name} can do {known}")
