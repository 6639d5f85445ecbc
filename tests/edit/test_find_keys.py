"""Keys that edits name: found all, or counted and named; what is deleted is not there."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.find_keys import KeyFinder, find_keys, visible_positions
from shardpack.errors import DuplicateKeyError, InvalidKeyError, UnknownKeyError
from shardpack.format.next_generation import next_generation
from shardpack.runtime.progress import no_progress


@pytest.fixture
def base(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", max_shard_samples=3) as writer:
        for number in range(8):
            writer.write(f"k{number}", {"txt": "x"})
    base = open_base(tmp_path / "ds")
    yield base
    base.close()


def without(base, *positions):
    """Return the dataset with some samples deleted."""
    with base.begin("delete", run_digest="x") as transaction:
        manifest, files = next_generation(
            base.manifest, base.text, base_chain=base.chain(), deleted=np.array(positions, np.int64)
        )
        transaction.commit(manifest, files)
    return open_base(base.location)


def test_all_keys_are_found(base):
    steps = []
    found = find_keys(base, ["k7", "k0", "k3"], what="keys", progress=lambda *step: steps.append(step))
    assert found.tolist() == [7, 0, 3]
    assert steps[-1] == ("find", 3, 3)
    assert find_keys(base, [], what="keys", progress=no_progress).tolist() == []


def test_unknown_keys_are_counted(base):
    with pytest.raises(UnknownKeyError, match=r"a\.csv: 4 of 5 keys are not in the dataset: 'a', 'b', 'c', and 1 mo"):
        find_keys(base, ["a", "b", "k1", "c", "d"], what="a.csv", progress=no_progress)


def test_many_keys_come_in_parts(base):
    finder = KeyFinder(base, what="keys", total=5, progress=no_progress)
    assert finder.find([b"k1", b"x"]).tolist() == [1, -1]
    assert finder.find([b"y", b"k0", b"z"]).tolist() == [-1, 0, -1]
    with pytest.raises(UnknownKeyError, match=r"3 of 5 keys .*: 'x', 'y', 'z';"):
        finder.finish()


def test_deleted_samples_are_not_there(base):
    edited = without(base, 1, 4)
    assert visible_positions(edited).tolist() == [0, 2, 3, 5, 6, 7]
    assert find_keys(edited, ["k5"], what="keys", progress=no_progress).tolist() == [5]
    with pytest.raises(UnknownKeyError, match="1 of 2 keys are not in the dataset: 'k4'"):
        find_keys(edited, ["k4", "k5"], what="keys", progress=no_progress)
    edited.close()


def test_a_key_of_several_samples_is_not_clear(tmp_path):
    for name in ("a", "b"):
        with shardpack.ShardWriter(tmp_path / name) as writer:
            writer.write("same", {"txt": name})
            writer.write(name, {"txt": name})
        (tmp_path / name / "shard-000000.tar").rename(tmp_path / f"{name}.tar")
    shardpack.index([tmp_path / "a.tar", tmp_path / "b.tar"], on_duplicate="keep")
    base = open_base(tmp_path)
    assert find_keys(base, ["b"], what="keys", progress=no_progress).tolist() == [3]
    with pytest.raises(DuplicateKeyError, match=r"several samples of the dataset have this key.*key='same'"):
        find_keys(base, ["a", "same"], what="keys", progress=no_progress)
    base.close()


def test_half_of_a_surrogate_pair(base):
    with pytest.raises(InvalidKeyError, match="half of a surrogate pair"):
        find_keys(base, ["\ud800"], what="keys", progress=no_progress)
