"""The table of queued messages beside a dict, and what it costs a message."""

import gc
import sys
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.queue._index import Index, live_objects
from reference import index_reference

# numbers that share their low bits or their high ones, as those of a burst into one shard do
NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 40).map(lambda n: n << 58), st.integers(0, 2**64 - 1))
STEPS = st.lists(st.tuples(st.sampled_from(["set", "set", "pop", "get"]), NUMBERS), max_size=400)


@given(STEPS)
def test_index_equals_its_reference(steps):
    index, reference = Index(), index_reference.Index()
    for position, (what, key) in enumerate(steps):
        if what == "set":
            index[key] = reference[key] = f"value {position}"
        elif what == "pop":
            assert index.pop(key, position) == reference.pop(key, position)
        assert index.get(key) == reference.get(key)
        assert (key in index, len(index)) == (key in reference, len(reference))
    assert list(index) == list(reference)
    assert index.values() == reference.values()
    assert dict(index.items()) == reference
    copy = Index()
    copy.update(index)
    assert copy.keys() == index.keys() == set(reference)


def test_index_finds_what_is_left_while_it_grows_and_shrinks():
    first = time.time_ns() // 1000 << 8
    keys = [first + (n * 37 << 8) for n in range(20_000)]
    index = Index()
    for key in keys:
        index[key] = key
    for key in keys[::3] + keys[1::3]:
        assert index.pop(key) == key
    assert index.values() == keys[2::3]
    for key in keys[2::3]:
        assert index.pop(key) == key and key not in index
    assert not index and list(index) == []


class Thing:
    pass


def test_index_holds_and_lets_go():
    before, index = live_objects(), Index()
    thing = Thing()
    watch = weakref.ref(thing)
    index[5] = Thing()
    index[5] = thing
    del thing
    assert watch() is index[5] is index.get(5) is index.values()[0]
    count = sys.getrefcount(watch())
    for _ in range(10):
        index.values()
    after = sys.getrefcount(watch())  # an assertion holds what it compares
    assert after == count
    index.pop(5)
    assert watch() is None
    index[6] = Thing()
    watch = weakref.ref(index[6])
    del index
    gc.collect()
    assert watch() is None and live_objects() <= before


def test_index_refuses_what_is_no_number_of_a_message():
    index = Index()
    with pytest.raises(KeyError):
        index[1]
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            index[wrong] = 1
    with pytest.raises(TypeError):
        index[1] = None
