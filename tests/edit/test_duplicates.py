"""Keys that a dataset has: named, or the samples that are replaced."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.duplicates import DuplicateKeys
from shardpack.errors import DuplicateKeyError


@pytest.fixture
def base(tmp_path):
    shardpack.pack([(f"k{i}", {"txt": "x"}) for i in range(5)], tmp_path, max_shard_samples=2)
    return open_base(tmp_path)


def test_new_keys_are_no_problem(base):
    duplicates = DuplicateKeys(base, "raise")
    duplicates.check([b"k5", b"k"])
    assert duplicates.replaced.tolist() == []


def test_known_keys_are_named(base):
    with pytest.raises(DuplicateKeyError, match=r"these keys already: 'k0', 'k1', 'k2' and 2 more; replace them"):
        DuplicateKeys(base, "raise").check([b"new", *(b"k%d" % i for i in range(5))])


def test_known_keys_are_replaced(base):
    duplicates = DuplicateKeys(base, "replace")
    duplicates.check([b"k4", b"new", b"k0"])
    assert duplicates.replaced.tolist() == [0, 4]
    assert duplicates.replaced_of([b"k4", b"new", b"k0"]).tolist() == [4, -1, 0]


@pytest.mark.usefixtures("base")
def test_a_deleted_sample_is_not_replaced(tmp_path):
    shardpack.delete(tmp_path, ["k1"])
    duplicates = DuplicateKeys(open_base(tmp_path), "replace")
    duplicates.check([b"k1", b"k2"])
    assert duplicates.replaced.tolist() == [2]
    DuplicateKeys(open_base(tmp_path), "raise").check([b"k1"])


def test_a_deleted_sample_may_be_one_of_two_with_its_key(tmp_path):
    shardpack.pack([("a", {"txt": "1"})], tmp_path)
    for _ in range(2):
        shardpack.append([("a", {"txt": "2"})], tmp_path, on_duplicate="replace")
    duplicates = DuplicateKeys(open_base(tmp_path), "replace")
    duplicates.check([b"a"])
    assert duplicates.replaced.tolist() == [2]
