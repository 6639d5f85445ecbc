"""Mixing is that of batches counted by hand, whatever the classes are taken from."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest

import shardpack
from shardpack.errors import DecodeError, FieldNotFoundError
from shardpack.inspect.class_mixing import class_entropies, neighbour_distance, stretches
from shardpack.inspect.order_stats import order_stats
from shardpack.runtime.progress import no_progress
from tests.read.datasets import write


def test_entropies_counted_by_hand(tmp_path):
    samples = {f"{name}/{i}": {"txt": b""} for name in "abcd" for i in range(2)}
    shards = shardpack.open(write(tmp_path / "x", samples)).stream_input().cache
    alike, halves = np.array([0, 2, 4, 6, 1, 3, 5, 7]), np.arange(8)
    found, classes = class_entropies([alike, halves], 4, "key", shards, no_progress)
    assert classes == 4
    assert found == pytest.approx([1, math.log(2) / math.log(4)])


def test_neighbours_counted_by_hand():
    assert neighbour_distance(np.array([0, 5, 1, 1, 4, 8]), 3, 10) == pytest.approx(4 / (10 * (1 - math.sqrt(0.5))))
    assert neighbour_distance(np.arange(3), 1, 3) == 0


@pytest.mark.parametrize(("total", "length", "limit"), [(10, 3, 2), (10, 3, 9), (2, 2, 1), (1000, 10, 7), (1, 1, 5)])
def test_stretches_are_spread_and_do_not_overlap(total, length, limit):
    found = stretches(total, length, limit).reshape(-1, length)
    assert len(found) == min(limit, total // length)
    assert (np.diff(found, axis=1) == 1).all()
    assert (found[:, 0] % length == 0).all()
    assert len(np.unique(found)) == found.size
    assert found.max() < total


def test_classes_from_a_compressed_json_field(tmp_path):
    samples = {f"{i:03d}": {"json.gz": gzip.compress(b'{"label":%d}' % (i % 4))} for i in range(20)}
    ds = shardpack.open(write(tmp_path / "out", samples))
    assert order_stats(ds.stream(shuffle="global"), class_from="json").num_classes == 4


def test_labels_of_any_kind(tmp_path):
    labels = [b"3", b'"a"', b'{"label":[1,2]}', b'{"label":null}', b"{}", b'{"label":{"a":1}}']
    samples = {f"{i:03d}": {"json": labels[i % 6]} for i in range(60)} | {"x": {"txt": b"no json"}}
    ds = shardpack.open(write(tmp_path / "x", samples))
    assert order_stats(ds.stream(shuffle="global"), class_from="json").num_classes == 4
    assert order_stats(ds.stream(shuffle="global")).num_classes == 0, "keys without folders have no class"


def test_wrong_labels_are_named(tmp_path):
    with pytest.raises(FieldNotFoundError, match="--class-from key"):
        order_stats(shardpack.open(write(tmp_path / "x", {"a/b": {"txt": b"x"}})).stream(), class_from="json")
    with pytest.raises(DecodeError, match="does not decode as json"):
        order_stats(shardpack.open(write(tmp_path / "y", {"a/b": {"json": b"{"}})).stream(), class_from="json")
