"""The memory of what was told: exact, small, and forgetful only about what a whole walk did not meet."""

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.told import Told

_KEYS = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "walk"]), st.sets(_KEYS, max_size=20)), max_size=12))
def test_it_behaves_like_a_set_that_is_renewed_by_every_walk(steps):
    told, known = Told(), set()
    for kind, keys in steps:
        if kind == "add":
            for key in keys:
                assert told.add(key) is (key not in known)
                known.add(key)
            continue
        told.begin()
        during = set(sorted(keys)[:3])
        for key in keys:
            assert told.walked(key) is (key not in known)
        for key in during:
            told.add(key)
            known.add(key)
        told.end()
        known = keys | during
    for key in known:
        assert not told.add(key)


def test_a_walk_that_was_cut_short_forgets_nothing():
    told = Told()
    told.add(1)
    told.begin()
    told.walked(2)
    told.add(3)
    told.give_up()
    assert [told.add(key) for key in (1, 2, 3)] == [False, True, False]


def test_a_hundred_thousand_files_cost_less_than_two_megabytes():
    told = Told()
    for _ in range(2):
        told.begin()
        for number in range(100_000):
            told.walked(hash(("x", number)))
        told.end()
    held = sum(sys.getsizeof(bucket) for bucket in told._known._buckets) + sys.getsizeof(told._since)
    assert len(told) == 100_000
    assert held < 2_000_000
