"""The buffer of decoded frames: what it gives, and when it forgets."""

import pickle

import pytest

from kinema.codec.memories import Memories
from kinema.codec.structure import STRUCTURES
from kinema.errors import BitstreamError, MissingReferenceError
from kinema.models.frames import Reference

ALL_INTRA, LOW_DELAY, RANDOM_ACCESS = STRUCTURES.values()


def kept(memories):
    return [memory.display_index for memory in memories.kept]


def buffer(*frames, structure=RANDOM_ACCESS):
    """What is kept after some frames: display index, references, content."""
    memories = Memories()
    for frame in frames:
        memories = memories.after(*frame, structure)
    return memories


def test_a_frame_gets_what_it_refers_to_in_its_own_order():
    memories = buffer((4, (), "four"), (8, (), "eight"))
    assert memories.references(6, ()) == ()
    assert memories.references(6, (2, -2)) == (Reference("eight", 2), Reference("four", -2))


def test_a_missing_reference_is_named():
    memories = buffer((4, (), "four"))
    with pytest.raises(MissingReferenceError) as caught:
        memories.references(12, (-8, -1))
    assert (caught.value.display_index, caught.value.missing) == (12, 11)
    assert str(caught.value) == "frame 12 refers to frame 11, which is lost"
    assert isinstance(caught.value, BitstreamError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_low_delay_keeps_one_frame_and_all_intra_none():
    low_delay = Memories()
    for index in range(5):
        low_delay = low_delay.after(index, (-1,) if index else (), index, LOW_DELAY)
        assert kept(low_delay) == [index]
    assert kept(buffer((0, (), "a"), structure=ALL_INTRA)) == []


def test_random_access_keeps_what_later_frames_may_refer_to():
    frames = [
        (0, (), "a"),
        (4, (-4,), "b"),
        (2, (-2, 2), "c"),
        (1, (-1, 1), "d"),
        (3, (-1, 1), "e"),
    ]
    expected = [[0], [0, 4], [0, 4, 2], [4, 2], [4]]
    assert [kept(buffer(*frames[: i + 1])) for i in range(5)] == expected


def test_it_is_a_value():
    before = buffer((0, (), "a"))
    after = before.after(1, (-1,), "b", LOW_DELAY)
    assert (kept(before), kept(after)) == ([0], [1])


def test_a_frame_that_comes_again_replaces_itself():
    for structure in (LOW_DELAY, RANDOM_ACCESS):
        memories = buffer((0, (), "a"), (0, (), "b"), structure=structure)
        assert memories.references(1, (-1,)) == (Reference("b", -1),)
        assert kept(memories) == [0]
