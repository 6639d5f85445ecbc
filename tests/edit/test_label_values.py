"""Labels of a dataset that is edited, in batches and in the order asked, compressed or not."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.label_values import BATCH, label_field, other_label_field, read_labels, read_values
from shardpack.errors import DecodeError, OptionError
from shardpack.runtime.progress import no_progress
from shardpack.storage.memory import MemoryStore


def base_of(samples):
    store = MemoryStore({})
    with shardpack.ShardWriter(store) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)
    return open_base(store)


def test_labels_come_in_the_order_asked():
    base = base_of({f"{n}": {"json": {"n": n}} if n % 2 else {"txt": "x"} for n in range(6)})
    assert list(read_labels(base, np.array([5, 0, 1]), no_progress)) == [{"n": 5}, None, {"n": 1}]
    assert list(read_values(base, np.array([3, 2]), "n", no_progress)) == [3, None]
    assert list(read_values(base, np.array([2, 3]), "txt", no_progress)) == ["x", None]


def test_compressed_labels_are_read():
    pytest.importorskip("zstandard")
    base = base_of({"a": {"json.zst": {"n": 1}}})
    assert label_field(base.manifest) == "json.zst"
    assert list(read_labels(base, np.array([0]), no_progress)) == [{"n": 1}]


def test_labels_compressed_by_gzip_are_read():
    base = base_of({"a": {"json.gz": gzip.compress(b'{"n": 1}')}})
    assert label_field(base.manifest) == "json.gz"
    assert list(read_values(base, np.array([0]), "n", no_progress)) == [1]


def test_labels_that_cannot_be_read_are_refused():
    base = base_of({"a": {"json.xz": b"x", "cls": 3}})
    with pytest.raises(OptionError, match=r"labels in 'json\.xz', expected one of 'json', 'json\.gz', 'json\.zst'"):
        label_field(base.manifest)
    assert list(read_values(base, np.array([0]), "cls", no_progress)) == [3]


def test_there_is_one_field_of_labels():
    assert label_field(base_of({"a": {"txt": "x"}}).manifest) == "json"
    with pytest.raises(OptionError, match=r"labels in 'json' and in 'json\.zst'"):
        label_field(base_of({"a": {"json": {}, "json.zst": b"x"}}).manifest)


def test_many_labels_are_read_in_batches():
    base = base_of({f"{n}": {"json": {"n": n}} for n in range(BATCH + 2)})
    steps = []
    found = list(read_values(base, np.arange(BATCH + 2), "n", lambda *step: steps.append(step)))
    assert found == list(range(BATCH + 2))
    assert steps == [("read", BATCH, BATCH + 2), ("read", BATCH + 2, BATCH + 2)]


def test_a_label_that_is_not_json_is_named():
    base = base_of({"a": {"json": b"nope"}})
    with pytest.raises(DecodeError, match=r"does not decode as json.*\(key='a'\)"):
        list(read_labels(base, np.array([0]), no_progress))


def test_another_field_of_labels_is_told():
    assert other_label_field(["jpg", "json"], ["json.gz", "txt"]) == ("json.gz", "json")
    assert other_label_field(["jpg", "json"], ["json"]) is None
    assert other_label_field(["jpg"], ["json.zst"]) is None
