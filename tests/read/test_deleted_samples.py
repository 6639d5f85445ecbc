"""Files of deleted samples are read together, and damage is told."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.dataset import open_dataset
from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.read.deleted_samples import have_visible, load_visible
from shardpack.storage.memory import MemoryStore
from tests.edits import edited_files
from tests.read.datasets import CountingStore, numbered, packed

FILES = packed(numbered(9), max_shard_samples=4)
EDITED = edited_files(edited_files(FILES, delete=[7, 2]), delete=[3])
PATHS = [name for name in EDITED if "/deleted-" in name]


def load(files):
    store = CountingStore(files)
    return load_visible(store, open_dataset(store).manifest)


def test_nothing_deleted_is_none():
    assert load(FILES) is None


def test_the_files_of_all_edits_are_joined():
    visible = load(EDITED)
    assert visible is not None
    assert (visible.num_stored, visible.deleted.tolist()) == (9, [2, 3, 7])


@pytest.mark.parametrize("path", PATHS)
def test_damage_is_told(path):
    data = EDITED[path]
    for broken in (data[:-1] + bytes([data[-1] ^ 1]), data[:-8], data + b"x"):
        ds = open_dataset(MemoryStore(EDITED | {path: broken}))
        with pytest.raises(CorruptIndexError, match="restore it") as caught:
            ds[0]
        assert path in str(caught.value)
    with pytest.raises(ShardNotFoundError, match="file is missing"):
        load({name: data for name, data in EDITED.items() if name != path})


def test_shards_with_visible_samples():
    starts = np.array([0, 3, 5, 5, 6])
    assert have_visible(starts, np.zeros(0, np.int64)).tolist() == [True, True, False, True]
    assert have_visible(starts, np.array([0, 3, 4, 5])).tolist() == [True, False, False, False]
