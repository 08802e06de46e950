"""The buffer of decoded frames: what it gives, and when it forgets."""

import pickle

import pytest

from kinema.codec.memories import Memories
from kinema.errors import BitstreamError, MissingReferenceError
from kinema.models.frames import Reference


def kept(memories):
    return [memory.display_index for memory in memories.kept]


def test_a_frame_gets_what_it_refers_to_in_its_own_order():
    memories = Memories().after(4, "four", 9).after(8, "eight", 9)
    assert memories.references(6, ()) == ()
    assert memories.references(6, (2, -2)) == (Reference("eight", 2), Reference("four", -2))


def test_a_missing_reference_is_named():
    memories = Memories().after(4, "four", 1)
    with pytest.raises(MissingReferenceError) as caught:
        memories.references(12, (-8, -1))
    assert (caught.value.display_index, caught.value.missing) == (12, 11)
    assert str(caught.value) == "frame 12 refers to frame 11, which is lost"
    assert isinstance(caught.value, BitstreamError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_every_frame_is_kept_for_its_lifetime():
    memories = Memories().after(0, "a", 3).after(8, "b", 2).after(4, "c", 1)
    assert kept(memories) == [0, 8, 4]
    memories = memories.after(2, "d", 0)
    assert kept(memories) == []
    low_delay = Memories()
    for index in range(5):
        low_delay = low_delay.after(index, index, 1)
        assert kept(low_delay) == [index]


def test_it_is_a_value():
    before = Memories().after(0, "a", 1)
    after = before.after(1, "b", 1)
    assert (kept(before), kept(after)) == ([0], [1])


def test_a_frame_that_comes_again_replaces_itself():
    memories = Memories().after(0, "a", 9).after(0, "b", 9)
    assert memories.references(1, (-1,)) == (Reference("b", -1),)
    assert kept(memories) == [0]
