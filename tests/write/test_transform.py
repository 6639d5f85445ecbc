"""A transform can be pickled, and returns the same for the same sample."""

from __future__ import annotations

import pickle

import pytest

from shardpack.format.naming import unescape_key
from shardpack.write.transform import Pipeline, SampleTransform, rename_key


@pytest.mark.parametrize("transform", [rename_key])
def test_a_transform_travels_and_repeats(transform: SampleTransform):
    fields = {"bin": b"x"}
    copy = pickle.loads(pickle.dumps(transform))
    assert list(copy("a.b", fields)) == list(transform("a.b", fields))


def test_keys_are_renamed_reversibly():
    ((key, fields),) = rename_key("a b.c", {"bin": b"x"})
    assert unescape_key(key) == "a b.c"
    assert fields == {"bin": b"x"}


def test_a_pipeline_gives_each_step_what_the_one_before_returns():
    def twice(key, fields):
        return [(f"{key}-{i}", fields) for i in range(2)]

    def drop_first(key, fields):
        return () if key.startswith("a-0") else ((key, fields),)

    def upper(key, fields):
        return ((key.upper(), fields),)

    found = Pipeline((twice, drop_first, twice, upper))("a", {"txt": "x"})
    assert list(found) == [("A-1-0", {"txt": "x"}), ("A-1-1", {"txt": "x"})]
