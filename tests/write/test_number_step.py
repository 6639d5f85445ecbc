"""The step that numbers classes changes labels alone, and says what it does."""

from __future__ import annotations

import json
import pickle
from collections import Counter

from shardpack.sources.class_numbers import ClassNumbers
from shardpack.write.number_step import NumberClasses

STEP = NumberClasses(ClassNumbers.of(("cat",), ("dog", "cat")))


def test_only_labels_change():
    fields = {"jpg": b"\xff", "json": b'{"label":1}', "cls": 0, "txt": b"1"}
    ((key, made),) = STEP("a", fields, Counter())
    assert (key, made) == ("a", {"jpg": b"\xff", "json": b'{"label":0}', "cls": 1, "txt": b"1"})
    assert made["jpg"] is fields["jpg"]


def test_it_says_what_it_does():
    described = STEP.describe()
    assert json.loads(json.dumps(described)) == described
    assert described != NumberClasses(ClassNumbers.of(("cat",), ("cat", "dog"))).describe()
    assert pickle.loads(pickle.dumps(STEP)) == STEP
