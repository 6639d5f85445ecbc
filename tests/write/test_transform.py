"""A step can be pickled, and returns the same for the same sample."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass

import pytest

from shardpack.format.naming import unescape_key
from shardpack.write.transform import Counts, Pipeline, RenameKeys, Step


@dataclass(frozen=True)
class Twice:
    """Makes two samples of one, and counts them."""

    def __call__(self, key, fields, counts):
        counts["twice.made"] += 2
        return [(f"{key}-{i}", fields) for i in range(2)]

    def describe(self):
        return {"step": "twice"}


@dataclass(frozen=True)
class DropFirst:
    def __call__(self, key, fields, counts):
        counts["dropped"] += key.startswith("a-0")
        return () if key.startswith("a-0") else ((key, fields),)

    def describe(self):
        return {"step": "drop first"}


@pytest.mark.parametrize("step", [RenameKeys(), Pipeline((Twice(), RenameKeys()))])
def test_a_step_travels_and_repeats(step: Step):
    fields = {"bin": b"x"}
    copy = pickle.loads(pickle.dumps(step))
    assert list(copy("a.b", fields, Counts())) == list(step("a.b", fields, Counts()))
    assert json.loads(json.dumps(copy.describe())) == step.describe()


def test_keys_are_renamed_reversibly():
    ((key, fields),) = RenameKeys()("a b.c", {"bin": b"x"}, Counts())
    assert unescape_key(key) == "a b.c"
    assert fields == {"bin": b"x"}


def test_a_pipeline_gives_each_step_what_the_one_before_returns():
    counts = Counts()
    pipeline = Pipeline((Twice(), DropFirst(), Twice()))
    found = pipeline("a", {"txt": "x"}, counts)
    assert list(found) == [("a-1-0", {"txt": "x"}), ("a-1-1", {"txt": "x"})]
    assert counts == {"twice.made": 4, "dropped": 1}
    assert pipeline.describe() == {"steps": [{"step": "twice"}, {"step": "drop first"}, {"step": "twice"}]}


def test_a_pipeline_without_steps_changes_nothing():
    assert list(Pipeline()("a", {"txt": "x"}, Counts())) == [("a", {"txt": "x"})]
