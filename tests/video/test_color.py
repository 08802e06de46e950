import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.video.color import converted_from_rgb, frame_to_rgb, rgb_to_frame
from kinema.video.frame import ColorDescription, Frame

PRIMARIES = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]
# 8-bit codes that follow from the equations of BT.601 and BT.709 (E'Y, E'CB, E'CR quantised once)
BT601 = [
    (235, 128, 128),
    (16, 128, 128),
    (81, 90, 240),
    (145, 54, 34),
    (41, 240, 110),
    (126, 128, 128),
]
BT709 = [
    (235, 128, 128),
    (16, 128, 128),
    (63, 102, 240),
    (173, 42, 26),
    (32, 240, 118),
    (126, 128, 128),
]
BT601_FULL = [
    (255, 128, 128),
    (0, 128, 128),
    (76, 85, 255),
    (150, 44, 21),
    (29, 255, 107),
    (128, 128, 128),
]


def flat(rgb, height=4, width=6):
    return np.full((height, width, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("matrix", "full_range", "table"), [(6, False, BT601), (1, False, BT709), (5, True, BT601_FULL)]
)
def test_colours_have_the_values_of_the_standard(matrix, full_range, table):
    color = ColorDescription(matrix=matrix, full_range=full_range)
    for rgb, expected in zip(PRIMARIES, table, strict=True):
        frame = rgb_to_frame(flat(rgb), color)
        assert tuple(int(plane[0, 0]) for plane in frame.planes) == expected
        assert all((plane == plane[0, 0]).all() for plane in frame.planes)


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("full_range", [False, True])
def test_flat_colours_come_back(matrix, full_range):
    color = ColorDescription(matrix=matrix, full_range=full_range)
    for rgb in [*PRIMARIES, (200, 30, 90), (17, 180, 240)]:
        back = frame_to_rgb(rgb_to_frame(flat(rgb), color), color)
        assert np.abs(back.astype(int) - rgb).max() <= 2  # quantised once, as 8 bits allow


def test_unspecified_matrix_is_guessed_from_the_height():
    unspecified = ColorDescription()
    small, large = (
        rgb_to_frame(flat((255, 0, 0), rows), unspecified).y[0, 0] for rows in (576, 720)
    )
    assert (small, large) == (81, 63)


def test_grey_ramp_keeps_its_levels_in_full_range():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    frame = rgb_to_frame(ramp, ColorDescription(matrix=1, full_range=True))
    assert np.array_equal(frame.y, ramp[..., 0])
    assert (frame.u == 128).all()


@pytest.mark.parametrize("location", range(7))
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 8)])
def test_every_chroma_location_and_size_comes_back_smoothly(location, size):
    color = ColorDescription(matrix=1, full_range=True, chroma_location=location)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    rgb = np.stack((100 + 4 * rows, 90 + 4 * columns, 120 + 0 * rows), axis=-1).astype(np.uint8)
    frame = rgb_to_frame(rgb, color)
    assert frame.u.shape == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    back = frame_to_rgb(frame, color).astype(int)
    assert np.abs(back - rgb)[1:-2, 1:-2].max(initial=0) <= 3  # a linear ramp survives inside


def test_chroma_sample_lies_where_the_location_says():
    rgb = np.zeros((4, 8, 3), np.uint8)
    rgb[:, 4:] = (0, 0, 255)  # an edge between columns 3 and 4
    values = {}
    for location in (1, 2):
        color = ColorDescription(matrix=1, full_range=True, chroma_location=location)
        values[location] = rgb_to_frame(rgb, color).u[0].tolist()
    assert values[2] == [128, 128, 255, 255]  # centred: pairs do not straddle the edge
    assert values[1] == [128, 128, 224, 255]  # left: column 4 weighs 3/4 with its neighbours


def test_matrix_without_coefficients_is_refused():
    with pytest.raises(VideoError, match="matrix 8"):
        frame_to_rgb(Frame(*[np.zeros((1, 1), np.uint8)] * 3, pts=0), ColorDescription(matrix=8))


def test_description_of_converted_pictures_keeps_primaries():
    color = converted_from_rgb(ColorDescription(matrix=0, primaries=12, transfer=13))
    assert (color.matrix, color.primaries, color.transfer, color.full_range) == (1, 12, 13, False)
