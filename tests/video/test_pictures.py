import av
import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.video.frame import ColorDescription
from kinema.video.pictures import PictureReader, describe_color, to_picture


def to_frame(picture, note=lambda text: None):
    return PictureReader("clip", note).to_frame(picture, 7, 3)


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
def test_planes_survive_the_way_into_ffmpeg_and_back(kit, notes, size):
    frame = kit.frame(0, *size)
    picture = to_picture(frame.planes, "yuv420p", size[0])
    back = to_frame(picture, notes.append)
    assert kit.same_planes([frame], [back])
    assert (back.pts, back.duration, notes) == (7, 3, [])


@pytest.mark.parametrize(
    ("pixel_format", "tolerance"),
    [
        ("yuv420p10le", 1),
        ("yuv422p", 0),
        ("yuv444p", 0),
        ("yuv444p12le", 1),
        ("nv12", 0),
        ("p010le", 1),
        ("uyvy422", 0),
    ],
)
def test_luma_survives_a_conversion(kit, notes, pixel_format, tolerance):
    frame = kit.frame(0)
    picture = to_picture(frame.planes, "yuv420p", 64)
    converted = picture.reformat(
        format=pixel_format, dst_color_range="MPEG", src_color_range="MPEG"
    )
    back = to_frame(converted, notes.append)
    assert np.abs(back.y.astype(int) - frame.y).max() <= tolerance
    assert np.abs(back.u.astype(int) - frame.u).max() <= 2
    said = [f"clip: {pixel_format} converted to 8-bit 4:2:0"]
    assert notes == ([] if pixel_format == "nv12" else said)


@pytest.mark.parametrize("pixel_format", ["rgb24", "gbrp", "bgra", "rgb48le", "gray16le"])
def test_rgb_becomes_bt709(notes, pixel_format):
    white = np.full((4, 12), 255, np.uint8)
    picture = to_picture((white,), "rgb24", 4).reformat(format=pixel_format)
    frame = to_frame(picture, notes.append)
    assert [int(plane[0, 0]) for plane in frame.planes] == [235, 128, 128]
    assert notes == [f"clip: {pixel_format} converted to 8-bit 4:2:0 (BT.709, limited range)"]
    assert describe_color(picture) == ColorDescription(
        matrix=1, primaries=picture.color_primaries, transfer=picture.color_trc, chroma_location=1
    )


def test_palette_becomes_bt709():
    picture = av.VideoFrame(4, 4, "pal8")
    picture.planes[0].update(bytes(picture.planes[0].buffer_size))
    picture.planes[1].update(bytes([255]) * 1024)
    assert [int(plane[0, 0]) for plane in to_frame(picture).planes] == [235, 128, 128]


def test_full_range_stays_full_range_when_chroma_is_reduced(kit):
    y = kit.frame(0).y
    grey = np.full_like(y, 128)
    frame = to_frame(to_picture((y, grey, grey), "yuvj444p", 64))
    assert np.array_equal(frame.y, y)
    assert (frame.u == 128).all()


def test_tags_are_kept():
    picture = av.VideoFrame(4, 4, "yuv420p")
    picture.colorspace, picture.color_primaries, picture.color_trc = 9, 9, 16
    picture.color_range = 2
    assert describe_color(picture, 3) == ColorDescription(
        matrix=9, primaries=9, transfer=16, full_range=True, chroma_location=3
    )


def test_full_range_by_pixel_format_is_kept():
    assert describe_color(av.VideoFrame(4, 4, "yuvj420p")).full_range


def test_note_is_told_once(kit, notes):
    reader = PictureReader("clip", notes.append)
    picture = to_picture(kit.frame(0).planes, "yuv420p", 64).reformat(format="yuv444p")
    for pts in range(3):
        reader.to_frame(picture, pts, 1)
    assert len(notes) == 1


def test_change_of_size_is_refused():
    reader = PictureReader("clip", lambda text: None)
    reader.to_frame(av.VideoFrame(4, 4, "yuv420p"), 0, 1)
    with pytest.raises(VideoError, match="clip: frame 1 is 8x4, the video began as 4x4"):
        reader.to_frame(av.VideoFrame(8, 4, "yuv420p"), 1, 1)
