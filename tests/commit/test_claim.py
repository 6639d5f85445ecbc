"""Of several runs, the one that took the folder last has the claim."""

from __future__ import annotations

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.claim import Claim
from shardpack.commit.edit_folder import CLAIM
from tests.commit.stores import WatchedStore

FOLDER = ".shardpack/tmp/append-01234567"


@pytest.fixture
def target():
    return BucketTarget(WatchedStore(), shared=True)


def test_the_last_one_has_it(target):
    one, two = Claim(target, is_needed=True), Claim(target, is_needed=True)
    assert one.take(FOLDER)
    assert one.is_held()
    assert two.take(FOLDER)
    assert (one.is_held(), two.is_held()) == (False, True)
    one.delete()
    assert not two.is_held()
    assert target.names() == []


def test_without_need_nothing_is_written(target):
    one = Claim(target, is_needed=False)
    assert not one.take(FOLDER)
    target.put(f"{FOLDER}/{CLAIM}", [b"of another"])
    assert one.is_held()
    one.delete()
    assert target.names() == [f"{FOLDER}/{CLAIM}"]
